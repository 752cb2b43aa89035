//! Conversations over HTTP: what is kept of answers as documents, rights and versions change.

use serde_json::{Value, json};

use crate::common::harness::Scratch;
use crate::common::serving::{Reply, Serving};

const QUESTION: &str = "What is the code of the garage in Calle Sirio?";
const CODE: &str = "4417";

fn garage() -> String {
    format!("# Garage\n\nThe code of the garage in Calle Sirio is {CODE}.\n")
}

fn without_code() -> &'static str {
    "# Garage\n\nThe code of the garage in Calle Sirio is told at the desk.\n"
}

/// Uploads one file and waits until it can be found; its id.
fn brought_in(server: &Serving, key: &str, content: &str, readers: &str) -> String {
    let reply = server.upload(key, "garage.md", content.as_bytes(), readers).expect(202).json();
    let job = server.finished(reply["job"]["job_id"].as_str().expect("a job"), key);
    assert_eq!(job["state"], "done", "{job}");
    reply["documents"][0]["document_id"].as_str().expect("its id").to_owned()
}

/// Asks in a new conversation and checks that the answer tells the code; the conversation.
fn told(server: &Serving, key: &str) -> String {
    let conversation = server.post("/api/v1/conversations", key, &json!({})).expect(201).json();
    let id = conversation["conversation_id"].as_str().expect("its id").to_owned();
    let body = json!({ "question": QUESTION, "mode": "extract", "conversation_id": id });
    let answer = server.post("/api/v1/ask", key, &body).expect(200);
    assert!(answer.body.contains(CODE), "{}", answer.body);
    assert_eq!(shown(server, key, &id)["answer"]["answer"], answer.json()["answer"]);
    id
}

/// The first message of a conversation.
fn shown(server: &Serving, key: &str, conversation: &str) -> Value {
    let kept = server.get(&format!("/api/v1/conversations/{conversation}"), key).expect(200).json();
    let message = kept["messages"][0].clone();
    assert_eq!(message["question"], QUESTION);
    assert_eq!(message["withheld"], json!(message["answer"].is_null()));
    message
}

fn job_of(reply: &Reply) -> String {
    reply.json()["job"]["job_id"].as_str().expect("a job").to_owned()
}

#[test]
fn an_answer_from_a_deleted_document_does_not_come_back() {
    let scratch = Scratch::new();
    let (lea, rosa) = (scratch.key("lea", &[], "admin"), scratch.key("rosa", &[], "member"));
    let server = scratch.serve();
    let id = brought_in(&server, &lea, &garage(), "everyone");
    let conversation = told(&server, &rosa);
    server.delete(&format!("/api/v1/documents/{id}"), &lea).expect(204);
    assert_eq!(shown(&server, &rosa, &conversation)["answer"], Value::Null);
    assert_ne!(brought_in(&server, &lea, without_code(), "everyone"), id, "a document of its own");
    assert_eq!(shown(&server, &rosa, &conversation)["answer"], Value::Null);
    // Not even when the same text comes once more: what rested on the deleted one is gone for good.
    brought_in(&server, &lea, &garage(), "everyone");
    assert_eq!(shown(&server, &rosa, &conversation)["answer"], Value::Null);
    assert!(server.stop());
}

#[test]
fn a_version_for_everyone_does_not_open_the_answers_from_the_one_before() {
    let scratch = Scratch::new();
    let lea = scratch.key("lea", &["legal"], "admin");
    scratch.run(["user", "create", "rosa", "--no-password"]).assert_ok();
    scratch.run(["group", "add", "legal", "rosa"]).assert_ok();
    let rosa = scratch.key("rosa", &[], "member");
    let server = scratch.serve();
    brought_in(&server, &lea, &garage(), "group:legal");
    let conversation = told(&server, &rosa);
    scratch.run(["group", "remove", "legal", "rosa"]).assert_ok();
    assert_eq!(shown(&server, &rosa, &conversation)["answer"], Value::Null);
    let reply = server.upload(&lea, "garage.md", without_code().as_bytes(), "everyone").expect(202);
    server.finished(&job_of(&reply), &lea);
    assert_eq!(shown(&server, &rosa, &conversation)["answer"], Value::Null);
    assert!(server.stop());
}

#[test]
fn what_a_sync_finds_gone_and_what_is_forgotten_takes_its_answers_along() {
    let scratch = Scratch::new();
    let rosa = scratch.key("rosa", &[], "member");
    scratch.write("garage.md", garage());
    scratch.write("other.md", "# Lamps\n\nThe lamps are switched off at nine.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let server = scratch.serve();
    let before = told(&server, &rosa);
    // Read anew and the same: nothing is lost.
    scratch.write("garage.md", without_code());
    scratch.ingest(&[]);
    assert_eq!(shown(&server, &rosa, &before)["answer"], Value::Null);
    scratch.write("garage.md", garage());
    scratch.ingest(&[]);
    assert!(shown(&server, &rosa, &before).to_string().contains(CODE));

    scratch.remove("garage.md");
    scratch.ingest(&[]);
    scratch.write("garage.md", garage());
    scratch.ingest(&[]);
    assert_eq!(shown(&server, &rosa, &before)["answer"], Value::Null);

    let before = told(&server, &rosa);
    scratch.run(["documents".as_ref(), "forget".as_ref(), scratch.docs().as_os_str()]).assert_ok();
    scratch.ingest(&["--acl", "everyone"]);
    assert_eq!(shown(&server, &rosa, &before)["answer"], Value::Null);
    assert!(server.stop());
}

#[test]
fn the_list_of_conversations_comes_in_pages_and_ends_somewhere() {
    let scratch = Scratch::new();
    scratch.write("garage.md", garage());
    scratch.ingest(&["--acl", "everyone"]);
    let (rosa, ana) = (scratch.key("rosa", &[], "member"), scratch.key("ana", &[], "member"));
    let server = scratch.serve();
    let path = "/api/v1/conversations";
    let mut created = Vec::new();
    for number in 0..1000 {
        if number == 999 {
            // Of those of one millisecond none is the latest.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let made = server.post(path, &rosa, &json!({ "title": format!("{number}") })).expect(201).json();
        created.push(made["conversation_id"].as_str().expect("its id").to_owned());
    }
    let refused = server.post(path, &rosa, &json!({})).expect(409).json();
    assert!(refused["message"].as_str().expect("why").contains("delete some"), "{refused}");
    let question = json!({ "question": QUESTION, "mode": "extract", "new_conversation": true });
    server.post("/api/v1/ask", &rosa, &question).expect(409);
    server.post(path, &ana, &json!({})).expect(201);

    // The latest first, each once. What comes meanwhile does not disturb the pages.
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("{path}?limit=150{after}"), &rosa).expect(200).json();
        for record in page["conversations"].as_array().expect("a list") {
            listed.push(record["conversation_id"].as_str().expect("its id").to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let usual = server.get(path, &rosa).expect(200).json();
    assert_eq!((usual["conversations"].as_array().map(Vec::len), usual["next"].is_string()), (Some(200), true));
    assert_eq!(listed.len(), 1000);
    assert_eq!(listed[0], created[999]);
    listed.sort_unstable();
    created.sort_unstable();
    assert_eq!(listed, created);
    for bad in ["limit=0", "limit=201", "after=x", "after=1.x", "after="] {
        server.get(&format!("{path}?{bad}"), &rosa).expect(400);
    }

    server.delete(&format!("{path}/{}", created[0]), &rosa).expect(204);
    let answer = server.post("/api/v1/ask", &rosa, &question).expect(200).json();
    let latest = server.get(&format!("{path}?limit=1"), &rosa).expect(200).json();
    assert_eq!(latest["conversations"][0]["conversation_id"], answer["conversation_id"]);
    assert_eq!(latest["conversations"][0]["title"], QUESTION);
    assert!(answer["message_id"].is_string());
    server.post("/api/v1/ask", &rosa, &question).expect(409);

    let id = answer["conversation_id"].clone();
    let both = json!({ "question": QUESTION, "conversation_id": id, "new_conversation": true });
    server.post("/api/v1/ask", &rosa, &both).expect(400);
    let nowhere = json!({ "question": QUESTION, "mode": "extract" });
    let answer = server.post("/api/v1/ask", &rosa, &nowhere).expect(200).json();
    assert_eq!((&answer["message_id"], &answer["conversation_id"]), (&Value::Null, &Value::Null));
    assert!(server.stop());
}

#[test]
fn the_administrator_reads_what_people_thought_beside_the_server_and_without_it() {
    let scratch = Scratch::new();
    scratch.write("garage.md", garage());
    scratch.ingest(&["--acl", "everyone"]);
    let (rosa, ana) = (scratch.key("rosa", &[], "member"), scratch.key("ana", &[], "member"));
    let told = scratch.run(["feedback"]).assert_ok().stdout;
    assert!(told.contains("nobody has rated"), "{told}");
    let server = scratch.serve();
    let question = json!({ "question": QUESTION, "mode": "extract", "new_conversation": true });
    for (key, rating, comment) in [(&rosa, "up", ""), (&ana, "down", "It changed\nin May.")] {
        let message = server.post("/api/v1/ask", key, &question).expect(200).json()["message_id"].clone();
        let said = json!({ "message_id": message, "rating": rating, "comment": comment });
        server.post("/api/v1/feedback", key, &said).expect(204);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let beside = scratch.run(["--json", "feedback"]).assert_ok().json();
    let latest = &beside["feedback"][0];
    assert_eq!((&latest["user"], &latest["rating"]), (&json!("ana"), &json!("down")));
    assert_eq!((&latest["comment"], &latest["question"]), (&json!("It changed\nin May."), &json!(QUESTION)));
    assert!(latest["updated_ms"].as_i64().is_some_and(|ms| ms > 0));
    assert_eq!(beside["feedback"].as_array().map(Vec::len), Some(2));
    assert!(server.stop());
    assert_eq!(scratch.run(["--json", "feedback"]).assert_ok().json(), beside);
    let one = scratch.run(["--json", "feedback", "--limit", "1"]).assert_ok().json();
    assert_eq!(one["feedback"], json!([latest]));
    let table = scratch.run(["feedback"]).assert_ok().stdout;
    let line = table.lines().nth(1).expect("a row below the heading");
    for part in ["ana", "down", QUESTION, "It changed"] {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
}

#[test]
fn a_new_user_does_not_find_the_conversations_of_a_key_of_the_same_name() {
    let scratch = Scratch::new();
    scratch.write("garage.md", garage());
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("luis", &[], "member");
    let server = scratch.serve();
    told(&server, &key);
    let create = ["user", "create", "luis", "--no-password"];
    scratch.run(create).assert_fails_with(&["`luis`", "1 keys and 1 conversations", "user delete luis"]);
    let gone = scratch.run(["--json", "user", "delete", "luis"]).assert_ok().json();
    assert_eq!(gone["deleted"], json!({ "sessions": 0, "keys": 1, "conversations": 1 }));
    server.get("/api/v1/session", &key).expect(401);
    scratch.run(create).assert_ok();
    let key = scratch.key("luis", &[], "member");
    assert_eq!(server.get("/api/v1/conversations", &key).expect(200).json()["conversations"], json!([]));
    assert!(server.stop());
}

#[test]
fn a_follow_up_is_looked_for_with_the_question_before_it() {
    let scratch = Scratch::new();
    let rosa = scratch.key("rosa", &[], "member");
    scratch.write("spain.md", "# Leave in Spain\n\nStaff in Spain have 23 working days of annual leave a year.\n");
    scratch.write("uk.md", "# Leave in Harrowmouth\n\nStaff in Harrowmouth have 28 days of annual leave a year.\n");
    scratch.write("lamps.md", "# Lamps\n\nThe lamps of the office in Harrowmouth are switched off at nine.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let server = scratch.serve();
    let question = "How many days of annual leave do staff in Spain have?";
    let body = json!({ "question": question, "mode": "extract", "new_conversation": true });
    let first = server.post("/api/v1/ask", &rosa, &body).expect(200).json();
    assert!(first["citations"][0]["quote"].as_str().unwrap().contains("23 working days"), "{first}");
    assert!(first["asked"].is_null(), "{first}");
    let body =
        json!({ "question": "And in Harrowmouth?", "mode": "extract", "conversation_id": first["conversation_id"] });
    let second = server.post("/api/v1/ask", &rosa, &body).expect(200).json();
    assert!(second["citations"][0]["quote"].as_str().unwrap().contains("28 days"), "{second}");
    assert!(second["asked"].as_str().unwrap().contains("annual leave"), "{second}");
    // By itself it is about anything in Harrowmouth. A chat brings its earlier questions along.
    let said = |role, content| json!({ "role": role, "content": content });
    let messages = [said("user", question), said("assistant", "23"), said("user", "And in Harrowmouth?")];
    let body = json!({ "model": "intramuros-extract", "messages": messages });
    let chat = server.post("/v1/chat/completions", &rosa, &body).expect(200).json();
    assert!(chat["choices"][0]["message"]["content"].as_str().unwrap().contains("28 days"), "{chat}");
    assert!(server.stop());
}

#[test]
fn the_documents_that_come_nearest_are_named_only_to_who_may_read_them() {
    let scratch = Scratch::new();
    let (lea, rosa) = (scratch.key("lea", &[], "admin"), scratch.key("rosa", &[], "member"));
    let server = scratch.serve();
    let id = brought_in(&server, &lea, &garage(), "everyone");
    let chess = "# Chess club\n\nThe chess championship of the club takes place in May.\n";
    let reply = server.upload(&lea, "chess.md", chess.as_bytes(), "user:lea").expect(202);
    server.finished(&job_of(&reply), &lea);
    let conversation = server.post("/api/v1/conversations", &rosa, &json!({})).expect(201).json();
    let conversation = conversation["conversation_id"].as_str().expect("its id");
    let body = json!({ "question": "Who won the chess world championship in Reykjavik?", "mode": "extract",
        "conversation_id": conversation });
    let answer = server.post("/api/v1/ask", &rosa, &body).expect(200).json();
    assert_eq!(answer["abstained"], true, "{answer}");
    assert!(answer["relevance"].as_f64().unwrap() < 0.3, "{answer}");
    assert_eq!(answer["nearest"].as_array().map(Vec::len), Some(1), "the club's is not hers to read: {answer}");
    assert_eq!(answer["nearest"][0]["uri"], format!("/documents/{id}"), "{answer}");
    let path = format!("/api/v1/conversations/{conversation}");
    assert!(server.get(&path, &rosa).expect(200).body.contains(&id));
    server.delete(&format!("/api/v1/documents/{id}"), &lea).expect(204);
    let kept = server.get(&path, &rosa).expect(200);
    assert!(!kept.body.contains(&id) && kept.json()["messages"][0]["withheld"] == true, "{}", kept.body);
    assert!(server.stop());
}
