//! Over HTTP, nothing of a document that the caller may not read ever comes back: by no route, in no form.

use std::collections::BTreeMap;

use intramuros_ingest::access::{Acl, Caller, Principal};
use serde_json::{Value, json};

use crate::common::browser::Browser;
use crate::common::harness::{Scratch, samples};
use crate::common::serving::{Reply, Serving};

const PASSWORD: &str = "three words together";

/// Somebody of no group, somebody of one, somebody of two.
const PEOPLE: &[(&str, &[&str])] = &[("rosa", &[]), ("ana", &["legal"]), ("luis", &["finance", "hr"])];

/// What the administrator knows of a document.
struct Document {
    id: String,
    readers: Acl,
    path: String,
    title: String,
    text: String,
}

/// What must never reach one person.
struct Secrets {
    /// Ids, paths, titles and sentences that stand in no document of theirs.
    marks: Vec<String>,
}

fn documents(scratch: &Scratch) -> Vec<Document> {
    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    let mut documents = Vec::new();
    for record in listed["documents"].as_array().unwrap() {
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        let id = text("document_id");
        let content = scratch.run(["documents", "text", &id]).assert_ok().stdout;
        let readers = serde_json::from_value(record["readers"].clone()).unwrap();
        documents.push(Document { id, readers, path: text("path"), title: text("title"), text: content });
    }
    documents
}

impl Secrets {
    fn of(caller: &Caller, documents: &[Document]) -> Self {
        let (own, others): (Vec<_>, Vec<_>) = documents.iter().partition(|document| caller.may_read(&document.readers));
        let readable: String = own.iter().map(|document| format!("{}\n{}\n", document.title, document.text)).collect();
        let mut marks = Vec::new();
        for document in others {
            marks.push(document.id.clone());
            marks.push(document.path.clone());
            let lines = document.text.lines().filter(|line| line.chars().count() >= 40);
            let pieces = lines.map(|line| line.chars().take(60).collect::<String>());
            marks.extend(pieces.chain([document.title.clone()]).filter(|piece| !readable.contains(piece.as_str())));
        }
        assert!(marks.len() > 100, "{} marks", marks.len());
        Self { marks }
    }

    fn check(&self, reply: &Reply, what: &str) {
        let mut said = String::new();
        for piece in pieces(&reply.body) {
            all_texts(&piece, &mut said);
        }
        for (name, value) in &reply.headers {
            said.push_str(&format!("{name}: {value}\n"));
        }
        let leak = self.marks.iter().find(|mark| said.contains(mark.as_str()));
        assert!(leak.is_none(), "{what}: `{}` came back", leak.unwrap());
    }
}

/// The JSON of a reply: one document, or that of each event.
fn pieces(body: &str) -> Vec<Value> {
    match serde_json::from_str(body) {
        Ok(value) => vec![value],
        Err(_) => {
            let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
            data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).chain([json!(body)]).collect()
        }
    }
}

fn all_texts(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(values) => values.iter().for_each(|value| all_texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| all_texts(value, into)),
        _ => {}
    }
}

fn questions() -> Vec<String> {
    let lines = std::fs::read_to_string(samples().join("questions.jsonl")).unwrap();
    let question = |line| serde_json::from_str::<Value>(line).unwrap()["question"].as_str().unwrap().to_owned();
    lines.lines().map(question).collect()
}

#[test]
fn every_sample_question_as_every_person_over_every_route_stays_inside_the_rights() {
    let scratch = Scratch::new();
    scratch.run(["ingest", samples().join("docs").to_str().unwrap()]).assert_ok();
    let documents = documents(&scratch);
    let questions = questions();
    assert!(questions.len() >= 60 && documents.len() >= 45);
    for (user, groups) in PEOPLE {
        scratch.run_with_input(&["user", "create", user, "--password-stdin"], PASSWORD).assert_ok();
        for group in *groups {
            scratch.run(["group", "add", group, user]).assert_ok();
        }
    }
    let keys: Vec<String> = PEOPLE.iter().map(|(user, groups)| scratch.key(user, groups, "member")).collect();
    let server = scratch.serve();

    let mut own = BTreeMap::new();
    std::thread::scope(|threads| {
        let mut running = Vec::new();
        for ((user, groups), key) in PEOPLE.iter().zip(&keys) {
            let (server, documents, questions) = (&server, &documents, &questions);
            let groups = groups.iter().map(|group| Principal::Group((*group).to_owned()));
            let caller = Caller::new(groups.chain([Principal::User((*user).to_owned())]));
            running.push((user, threads.spawn(move || person(server, key, user, &caller, documents, questions))));
        }
        for (user, thread) in running {
            own.insert(*user, thread.join().unwrap());
        }
    });
    // Rights open as well as close: each group's members got at their restricted documents.
    assert_eq!(own["rosa"], 0);
    assert!(own["ana"] > 0 && own["luis"] > 0, "{own:?}");
}

/// Goes every way as one person; returns how many replies held something that not everyone may read.
fn person(
    server: &Serving,
    key: &str,
    user: &str,
    caller: &Caller,
    documents: &[Document],
    questions: &[String],
) -> usize {
    let secrets = Secrets::of(caller, documents);
    let everyone = Caller::new([]);
    let mine: Vec<&Document> =
        documents.iter().filter(|d| caller.may_read(&d.readers) && !everyone.may_read(&d.readers)).collect();
    let conversation = server.post("/api/v1/conversations", key, &json!({})).expect(201).json();
    let conversation = conversation["conversation_id"].as_str().unwrap();
    let mut restricted_but_own = 0;
    for (number, question) in questions.iter().enumerate() {
        // A model writes only now and then here: it reads what the same search found, and takes seconds.
        let mode = if number % 40 == 0 { "generate" } else { "extract" };
        let model = if number % 40 == 1 { "intramuros" } else { "intramuros-extract" };
        let chat =
            json!({ "model": model, "messages": [{ "role": "user", "content": question }], "stream": number % 2 == 0 });
        let kept = json!({ "question": question, "mode": mode, "conversation_id": conversation });
        let streamed = json!({ "question": question, "mode": "extract", "stream": true });
        for (path, body) in [
            ("/api/v1/search", json!({ "question": question, "k": 20 })),
            ("/api/v1/ask", kept),
            ("/api/v1/ask", streamed),
            ("/v1/chat/completions", chat),
        ] {
            let reply = server.post(path, key, &body).expect(200);
            secrets.check(&reply, &format!("{user}, {path}, question {number}"));
            restricted_but_own += usize::from(mine.iter().any(|document| reply.body.contains(&document.id)));
        }
    }
    let history = server.get(&format!("/api/v1/conversations/{conversation}"), key).expect(200);
    secrets.check(&history, &format!("{user}, the conversation"));
    assert_eq!(history.json()["messages"].as_array().unwrap().len(), questions.len());
    secrets.check(&server.get("/api/v1/conversations", key).expect(200), &format!("{user}, conversations"));
    let stranger = server.get("/metrics", key).expect(200);
    secrets.check(&stranger, &format!("{user}, metrics"));

    let listed = server.get("/api/v1/documents?limit=200", key).expect(200);
    secrets.check(&listed, &format!("{user}, the list"));
    let readable = documents.iter().filter(|document| caller.may_read(&document.readers)).count();
    assert_eq!(listed.json()["documents"].as_array().unwrap().len(), readable, "{user}");

    // A document of others answers exactly like one that does not exist.
    let nowhere = uuid::Uuid::new_v4().to_string();
    for document in documents {
        for part in ["", "/text", "/text?start=0&end=50", "/original"] {
            let reply = server.get(&format!("/api/v1/documents/{}{part}", document.id), key);
            if caller.may_read(&document.readers) {
                reply.expect(200);
                continue;
            }
            let none = server.get(&format!("/api/v1/documents/{nowhere}{part}"), key);
            assert_eq!(without_chance(&reply), without_chance(&none), "{user}, {part}");
        }
        if !caller.may_read(&document.readers) {
            let of = |id: &str| server.delete(&format!("/api/v1/documents/{id}"), key);
            assert_eq!(without_chance(&of(&document.id)), without_chance(&of(&nowhere)), "{user}, delete");
        }
    }
    pages(server, user, caller, documents, &secrets);
    restricted_but_own
}

/// The same in a browser: what a page shows, and that documents of others look like none.
fn pages(server: &Serving, user: &str, caller: &Caller, documents: &[Document], secrets: &Secrets) {
    let mut browser = Browser::new(&server.base);
    browser.sign_in(user, PASSWORD).expect(200);
    for path in ["/", "/documents", "/api", "/api/v1/conversations", "/api/v1/documents?limit=200"] {
        secrets.check(&browser.get(path).expect(200), &format!("{user}, {path} in a browser"));
    }
    for admins_only in ["/api/v1/sources", "/api/v1/jobs"] {
        secrets.check(&browser.get(admins_only).expect(403), &format!("{user}, {admins_only}"));
    }
    let nowhere = uuid::Uuid::new_v4().to_string();
    let page = |id: &str, place: &str| {
        let reply = browser.get(&format!("/documents/{id}{place}"));
        let number = reply.header("x-request-id").expect("its id").to_owned();
        (reply.status, reply.body.replace(&number, "").replace(id, ""))
    };
    for document in documents {
        for place in ["", "?start=0&end=20"] {
            let (status, shown) = page(&document.id, place);
            if caller.may_read(&document.readers) {
                assert_eq!(status, 200, "{user}, {}", document.path);
            } else {
                assert_eq!((status, shown), page(&nowhere, place), "{user}, {}", document.path);
            }
        }
    }
}

/// A reply without what differs between any two: its request id and the time.
fn without_chance(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut body = reply.json();
    body["request_id"] = Value::Null;
    let chance = ["x-request-id", "date"];
    let headers = reply.headers.iter().filter(|(name, _)| !chance.contains(&name.as_str())).cloned().collect();
    (reply.status, headers, body)
}

#[test]
fn nobody_known_gets_nothing() {
    let scratch = Scratch::new();
    scratch.write("open.md", "# Open\n\nThe canteen opens at noon every day of the week.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let server = scratch.serve();
    let id = first_document(&scratch);
    for path in ["/api/v1/documents".to_owned(), format!("/api/v1/documents/{id}/text"), "/v1/models".to_owned()] {
        let reply = server.get_unknown(&path).expect(401);
        assert!(!reply.body.contains("canteen") && reply.header("www-authenticate").is_some(), "{reply:?}");
        server.get(&path, "im_wrong").expect(401);
    }
    for path in ["/api/v1/search", "/api/v1/ask", "/v1/chat/completions", "/v1/embeddings", "/api/v1/feedback"] {
        server.post(path, "im_wrong", &json!({ "question": "When does the canteen open?" })).expect(401);
    }
}

fn first_document(scratch: &Scratch) -> String {
    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    listed["documents"][0]["document_id"].as_str().unwrap().to_owned()
}
