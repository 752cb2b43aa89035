//! What the generator's cache and speed do to answers, seen through the front door.

use serde_json::{Value, json};

use crate::common::harness::Scratch;
use crate::common::serving::Serving;

/// A policy of several chunks.
fn policy() -> String {
    let mut text = String::from("# Travel policy\n\n");
    for city in ["Madrid", "Sevilla", "Bilbao", "Valencia", "Zaragoza", "Oviedo"] {
        text.push_str(&format!(
            "## Hotels in {city}\n\nA hotel in {city} is booked through the travel desk at least ten working days before \
             departure. The desk answers within one day, keeps the receipts of {city} for six years and sends a copy of \
             each of them to the accounts department, which pays the hotel in {city} within thirty days.\n\n"
        ));
    }
    text
}

fn ask(server: &Serving, key: &str, question: &str) -> Value {
    server.post("/api/v1/ask", key, &json!({ "question": question, "mode": "generate" })).expect(200).json()
}

#[test]
fn what_one_caller_asked_shortens_the_answer_of_nobody_with_other_rights() {
    let scratch = Scratch::new();
    scratch.write("policy.md", policy());
    scratch.ingest(&["--acl", "everyone"]);
    let rosa = scratch.key("rosa", &[], "member");
    let luis = scratch.key("luis", &["finance"], "member");
    let server = scratch.serve();
    let question = "Who books a hotel in Bilbao?";
    let cached = |answer: &Value| answer["usage"]["cached_tokens"].as_u64().unwrap();

    let first = ask(&server, &rosa, question);
    let prompt = first["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(cached(&first), 0);
    assert_eq!(cached(&ask(&server, &luis, question)), 0, "luis can tell that somebody asked this before");
    let again = ask(&server, &rosa, question);
    assert_eq!(cached(&again), prompt - 1);
    assert_eq!(again["answer"], first["answer"]);
}

#[test]
fn a_machine_without_the_time_reads_fewer_passages_and_says_so() {
    let scratch = Scratch::new();
    scratch.write("policy.md", policy());
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("rosa", &[], "member");
    let question = "Who books a hotel in Bilbao?";
    let passages = |milliseconds: &str| {
        let server = scratch.serve_with(|command| {
            command.env("INTRAMUROS_ANSWER__FIRST_TOKEN_MS", milliseconds);
            command.env("INTRAMUROS_MODELS__CATALOG", scratch.catalog_of_readers());
        });
        // The generator tries its speed out as it is loaded, and the first question does not wait for that.
        ask(&server, &key, "Who pays the hotel in Sevilla?");
        let answer = ask(&server, &key, question);
        let read = answer["provenance"]["passages"].as_array().unwrap().len();
        let left_out = answer["left_out"].as_array().unwrap().len();
        assert!(read > 0, "{answer}");
        (left_out, answer["usage"]["prompt_tokens"].as_u64().unwrap())
    };
    let (all_left_out, all_tokens) = passages("0");
    let (left_out, tokens) = passages("1");
    assert!(left_out > all_left_out && tokens < all_tokens, "{left_out} of {tokens}, {all_left_out} of {all_tokens}");
}
