//! `bench`: what it measures, and what it says where it cannot.

use serde_json::{Value, json};

use crate::common::harness::Scratch;

/// A figure of several rounds, in order.
fn assert_spread(figure: &Value) {
    let part = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("no `{name}` in {figure}"));
    assert!(part("min") > 0.0 && part("min") <= part("median") && part("median") <= part("max"), "{figure}");
}

#[test]
fn tokens_vectors_and_questions_a_second_are_measured() {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nEverybody has 25 days of annual leave.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let small =
        ["--prompt-tokens", "40", "--completion-tokens", "4", "--clients", "2", "--queries", "3", "--rounds", "2"];
    let measured = scratch.run(["--json", "bench"].iter().chain(&small)).assert_ok().json();
    let generator = &measured["generator"];
    assert!(generator["prompt_tokens"].as_u64().unwrap().abs_diff(40) <= 1, "{generator}");
    let figures = [
        &generator["prefill_tokens_per_s"],
        &generator["decode_tokens_per_s"],
        &generator["clients"]["tokens_per_s"],
        &generator["second_turn"]["first_token_ms"],
        &generator["second_turn"]["uncached_first_token_ms"],
        &measured["search"]["queries_per_s"],
    ];
    figures.into_iter().for_each(assert_spread);
    let sets = measured["embedder"]["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 3, "{measured}");
    for set in sets {
        assert_spread(&set["tokens_per_s"]);
        assert_spread(&set["vectors_per_s"]);
    }
    assert_eq!(measured["search"]["chunks"], 1);
    assert!(measured["machine"]["threads"].as_u64().unwrap() > 0);
}

#[test]
fn texts_of_ones_own_become_vectors_of_unit_length() {
    let scratch = Scratch::new();
    let (texts, vectors) = (scratch.path().join("texts.txt"), scratch.path().join("vectors.jsonl"));
    std::fs::write(&texts, "one\ntwo words\n").unwrap();
    let paths = [texts.to_str().unwrap(), vectors.to_str().unwrap()];
    let args = ["bench", "--only", "embedder", "--rounds", "1", "--texts", paths[0], "--vectors", paths[1]];
    let printed = scratch.run(args).assert_ok().stdout;
    assert!(printed.contains("passages texts") && printed.contains("vectors/s"), "{printed}");
    let lines = std::fs::read_to_string(&vectors).unwrap();
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let vector: Vec<f64> = serde_json::from_str(line).unwrap();
        assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-4);
    }
    std::fs::write(&texts, "").unwrap();
    scratch.run(args).assert_fails_with(&["texts.txt", "is empty"]);
}

#[test]
fn whole_answers_come_with_the_prompts_that_made_them() {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nEverybody has 25 days of annual leave.\n");
    let question = |id: &str, answerable: bool| {
        let text = "How many days of annual leave has everybody?";
        json!({ "id": id, "lang": "en", "question": text, "doc": "leave.md", "answerable": answerable }).to_string()
    };
    let lines = [question("a", true), question("b", false), question("c", true)].join("\n");
    std::fs::write(scratch.path().join("questions.jsonl"), lines).unwrap();
    let prompts = scratch.path().join("prompts.jsonl");
    let folder = scratch.path().to_str().unwrap();
    let args = ["--json", "bench", "--answers", folder, "--part", "2/2", "--prompts", prompts.to_str().unwrap()];
    let measured = scratch.run(args).assert_ok().json();
    assert_eq!(measured["answers"]["answers"], 1, "{measured}");
    assert!(measured.get("generator").is_none(), "{measured}");
    let line: Value = serde_json::from_str(&std::fs::read_to_string(prompts).unwrap()).unwrap();
    assert_eq!(line["id"], "c");
    assert!(line["prompt"].as_str().unwrap().contains("25 days of annual leave"), "{line}");
    assert_eq!(line["completion_tokens"], measured["answers"]["completion_tokens"]);
    assert!(line["completion_tokens"].as_u64().unwrap() > 0, "{line}");
}

#[test]
fn what_cannot_be_measured_is_named() {
    let scratch = Scratch::new();
    let file = scratch.path().join("model.gguf");
    std::fs::write(&file, "no model").unwrap();
    let args = ["bench", "--only", "generator", "--generator", file.to_str().unwrap()];
    scratch.run(args).assert_fails_with(&["model.gguf", "does not begin with GGUF"]);
    scratch
        .run(["bench", "--only", "generator", "--prompt-tokens", "9999999"])
        .assert_fails_with(&["--prompt-tokens and --completion-tokens", "together"]);
    scratch
        .run(["bench", "--only", "generator", "--threads", "1024"])
        .assert_fails_with(&["--threads 1024", "processors"]);
    let args = ["bench", "--only", "generator", "--generator", scratch.path().to_str().unwrap()];
    scratch.run(args).assert_fails_with(&["is a directory"]);
    scratch.run(["bench", "--part", "5/4", "--answers", "."]).assert_fails_with(&["1/4"]);
}
