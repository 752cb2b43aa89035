//! What the server takes in has bounds, and who leaves or dawdles holds nobody up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::harness::Scratch;
use crate::common::serving::{Reply, Serving};

const QUESTION: &str = "How many days of annual leave does everybody have?";

fn filled() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nEverybody has 25 days of annual leave. Up to 5 days are carried over.\n");
    scratch.write("lease/.access.toml", "readers = [\"group:legal\"]\n");
    scratch.write("lease/quay.md", "# Quayside lease\n\nNotice for the break option is due on 30 June 2027.\n");
    scratch.ingest(&["--acl", "everyone"]);
    scratch
}

/// A request as bytes, for clients that are no good ones.
fn raw(server: &Serving, text: &str) -> TcpStream {
    let address = server.base.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(text.as_bytes()).expect("the request");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    stream
}

fn ask_head(key: &str, length: usize) -> String {
    format!(
        "POST /api/v1/ask HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn assert_error(reply: &Reply, code: &str) {
    let body = reply.json();
    assert_eq!(body["code"], code, "{body}");
    assert!(!body["message"].as_str().expect("a message").is_empty());
    assert_eq!(body["request_id"].as_str(), reply.header("x-request-id"));
}

#[test]
fn a_body_that_is_no_object_is_refused_on_every_route() {
    let scratch = filled();
    let (key, server) = (scratch.key("marta", &[], "admin"), scratch.serve());
    let routes = ["/api/v1/ask", "/api/v1/search", "/api/v1/conversations", "/api/v1/feedback", "/api/v1/session"];
    let sync = format!("/api/v1/sources/{}/sync", scratch.docs().display().to_string().replace('/', "%2F"));
    for route in routes.into_iter().chain([sync.as_str()]) {
        for body in [json!([]), json!([QUESTION]), json!(QUESTION), json!(7)] {
            let reply = server.post(route, &key, &body).expect(400);
            assert_error(&reply, "invalid_request");
        }
    }
    for route in ["/v1/chat/completions", "/v1/embeddings"] {
        let reply = server.post(route, &key, &json!([])).expect(400).json();
        assert_eq!(reply["error"]["code"], "invalid_request", "{reply}");
    }
    assert!(server.stop());
}

#[test]
fn what_is_too_long_is_refused_with_its_limit() {
    let scratch = filled();
    let (key, server) = (scratch.key("ana", &[], "member"), scratch.serve());
    let reply = server.post("/api/v1/ask", &key, &json!({ "question": "why ".repeat(600) })).expect(400);
    assert!(reply.body.contains("2000"), "{}", reply.body);
    let reply = server.post("/api/v1/ask", &key, &json!({ "question": "why ".repeat(100_000) })).expect(413);
    assert_error(&reply, "too_large");
    assert!(server.stop());
}

#[test]
fn who_finds_the_queue_full_is_told_when_to_come_again() {
    let scratch = filled();
    let key = scratch.key("ana", &[], "member");
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_SERVER__ANSWERS_AT_ONCE", "1").env("INTRAMUROS_SERVER__QUEUE", "1");
    });
    let replies: Vec<Reply> = thread::scope(|scope| {
        let ask = || server.post("/api/v1/ask", &key, &json!({ "question": QUESTION, "mode": "generate" }));
        let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().expect("a client")).collect()
    });
    let (served, refused): (Vec<Reply>, Vec<Reply>) = replies.into_iter().partition(|reply| reply.status == 200);
    // One is answered and one waits, whoever else comes then is refused; a quick answer makes room for more.
    assert!(served.len() >= 2 && !refused.is_empty(), "{} served, {} refused", served.len(), refused.len());
    for reply in refused {
        let reply = reply.expect(429);
        assert_error(&reply, "busy");
        assert!(reply.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()).is_some_and(|s| s > 0));
    }
    assert!(server.stop());
}

/// The count of a metric.
fn counted(server: &Serving, key: &str, line: &str) -> u64 {
    let metrics = server.get("/metrics", key).expect(200).body;
    let found = metrics.lines().find_map(|own| own.strip_prefix(line));
    found.map_or(0, |count| count.trim().parse().expect("a count"))
}

/// A question whose answer takes a while.
const LONG: &str = "What are all the steps of the harbour drill?";

/// A document with much to tell, answers of any length, and one at a time.
fn busy(scratch: &Scratch, command: &mut std::process::Command) {
    command.env("INTRAMUROS_ANSWER__MAX_TOKENS", "2000").env("INTRAMUROS_SERVER__ANSWERS_AT_ONCE", "1");
    let log = std::fs::File::create(scratch.path().join("log")).expect("a log");
    command.env("INTRAMUROS_LOG", "info").stderr(log);
}

fn write_drill(scratch: &Scratch) {
    let steps: String =
        (1..=40).map(|n| format!("Step {n} of the harbour drill is to ring bell number {n}.\n\n")).collect();
    scratch.write("drill.md", format!("# Harbour drill\n\n{steps}"));
}

/// Begins a long answer; the connection must be kept for as long as it should go on.
fn long_answer(server: &Serving, key: &str) -> TcpStream {
    let body = json!({ "question": LONG, "mode": "generate", "stream": true }).to_string();
    let mut stream = raw(server, &(ask_head(key, body.len()) + &body));
    let mut first = [0; 64];
    let read = stream.read(&mut first).expect("the begin of the answer");
    assert!(first[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
    stream
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_answer_that_nobody_waits_for_stops() {
    let scratch = Scratch::new();
    write_drill(&scratch);
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("ana", &[], "member");
    let server = scratch.serve_with(|command| busy(&scratch, command));
    drop(long_answer(&server, &key));
    wait_until("the answer is given up", || {
        counted(&server, &key, "intramuros_answers_total{outcome=\"abandoned\"}") == 1
    });
    for outcome in ["written", "quotes", "abstained", "late"] {
        assert_eq!(counted(&server, &key, &format!("intramuros_answers_total{{outcome=\"{outcome}\"}}")), 0);
    }
    assert!(counted(&server, &key, "intramuros_completion_tokens_total") < 500);
    // Nor does it disturb the end of the server.
    drop(long_answer(&server, &key));
    assert!(server.stop());
    let log = std::fs::read_to_string(scratch.path().join("log")).expect("the log");
    assert!(!log.contains("panicked"), "{log}");
}

/// A user with a key of theirs that has the groups that they have.
fn person(scratch: &Scratch, name: &str, group: &str) -> (String, String) {
    scratch.run(["user", "create", name, "--no-password"]).assert_ok();
    scratch.run(["group", "add", group, name]).assert_ok();
    let key = scratch.run(["--json", "key", "create", "--user", name, "--role", "admin"]).assert_ok().json();
    (key["key"].as_str().expect("the key").to_owned(), key["id"].as_str().expect("its id").to_owned())
}

#[test]
fn rights_that_are_taken_away_from_who_waits_are_gone_when_the_wait_is_over() {
    let scratch = filled();
    write_drill(&scratch);
    scratch.ingest(&[]);
    let ((ana, ana_id), other) = (person(&scratch, "ana", "legal"), scratch.key("luis", &[], "member"));
    let server = scratch.serve_with(|command| busy(&scratch, command));
    let question = json!({ "question": "When is notice for the break option of the lease due?", "mode": "extract" });
    let ask = || server.post("/api/v1/ask", &ana, &question);
    let waiting = || counted(&server, &other, "intramuros_waiting_requests{lane=\"answer\"}") == 1;
    assert!(ask().expect(200).body.contains("30 June 2027"));

    // Another answer takes the only place; meanwhile ana leaves the group.
    let held = long_answer(&server, &other);
    let without_group = thread::scope(|scope| {
        let asked = scope.spawn(ask);
        wait_until("ana waits", waiting);
        scratch.run(["group", "remove", "legal", "ana"]).assert_ok();
        drop(held);
        asked.join().expect("a client")
    });
    assert!(!without_group.expect(200).body.contains("30 June 2027"));

    // And then her key goes.
    let held = long_answer(&server, &other);
    let boundary = "----half";
    let part = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"readers\"\r\n\r\neveryone\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"late.md\"\r\n\r\n# Late\n"
    );
    let rest = format!("\r\n--{boundary}--\r\n");
    let mut upload = raw(
        &server,
        &format!(
            "POST /api/v1/documents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ana}\r\nConnection: close\r\n\
             Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {}\r\n\r\n{part}",
            part.len() + rest.len()
        ),
    );
    let without_key = thread::scope(|scope| {
        let asked = scope.spawn(ask);
        wait_until("ana waits", waiting);
        scratch.run(["key", "revoke", &ana_id]).assert_ok();
        drop(held);
        asked.join().expect("a client")
    });
    assert_eq!(without_key.status, 401, "{}", without_key.body);
    upload.write_all(rest.as_bytes()).expect("the rest");
    let mut refused = String::new();
    upload.read_to_string(&mut refused).expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(server.stop());
}

#[test]
fn a_server_without_a_free_connection_ends_when_it_is_asked_to() {
    let scratch = filled();
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_SERVER__CONNECTIONS", "2").env("INTRAMUROS_SERVER__SHUTDOWN_S", "2");
    });
    let held = [raw(&server, "GET /healthz HTTP/1.1\r\n"), raw(&server, "GET /healthz HTTP/1.1\r\n")];
    thread::sleep(Duration::from_millis(200));
    assert!(server.stop());
    drop(held);
}

#[test]
fn slow_clients_are_let_go() {
    let scratch = filled();
    let key = scratch.key("ana", &[], "member");
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_SERVER__SLOW_CLIENT_S", "1");
    });
    let whole = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    // Half a header, half a body, and somebody who does not read.
    let deaf: Vec<TcpStream> =
        (0..8).map(|_| raw(&server, &"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200))).collect();
    let begun = Instant::now();
    let header = raw(&server, "POST /api/v1/ask HTTP/1.1\r\nHost: local");
    let body = raw(&server, &(ask_head(&key, 60) + "{\"question\":"));
    let form = raw(
        &server,
        "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\nuser=",
    );
    assert!(whole(header).is_ok_and(|text| !text.contains("200 OK")));
    let refused = whole(body).expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 408") && refused.contains("request_timeout"), "{refused}");
    assert!(whole(form).expect("an answer").starts_with("HTTP/1.1 408"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    wait_until("who does not read is let go", || {
        deaf.iter().all(|mut stream| stream.write_all(b"GET / HTTP/1.1\r\n").is_err())
    });
    assert!(server.stop());
}

#[test]
fn time_is_up_for_long_work_too() {
    let scratch = filled();
    let key = scratch.key("ana", &[], "member");
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_SERVER__TIMEOUT_S", "1");
    });
    let texts: Vec<String> = (0..256).map(|n| format!("text {n} {}", "of many words ".repeat(60))).collect();
    let begun = Instant::now();
    let body = json!({ "model": "all-MiniLM-L6-v2", "input": texts });
    let late = server.post("/v1/embeddings", &key, &body).expect(504);
    assert_eq!(late.json()["error"]["code"], "timeout");
    // It is given up, so the next one does not wait for it.
    server.post("/v1/embeddings", &key, &json!({ "model": "all-MiniLM-L6-v2", "input": "one" }));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(server.stop());
}

#[test]
fn an_answer_is_withheld_once_its_documents_may_not_be_read_any_more() {
    let scratch = filled();
    let key = scratch.key("ana", &["legal"], "member");
    let server = scratch.serve();
    let conversation = server.post("/api/v1/conversations", &key, &json!({ "title": "the lease" })).expect(201).json();
    let id = conversation["conversation_id"].as_str().expect("its id");
    let question = "When is notice for the break option of the quayside lease due?";
    let body = json!({ "question": question, "mode": "extract", "conversation_id": id });
    let answer = server.post("/api/v1/ask", &key, &body).expect(200).json();
    assert!(answer["answer"].as_str().is_some_and(|text| text.contains("30 June 2027")), "{answer}");
    let kept =
        |server: &Serving| -> Value { server.get(&format!("/api/v1/conversations/{id}"), &key).expect(200).json() };
    assert!(kept(&server).to_string().contains("30 June 2027"));

    scratch.write("lease/.access.toml", "readers = [\"group:finance\"]\n");
    scratch.ingest(&[]);
    let after = kept(&server);
    assert!(!after.to_string().contains("30 June 2027"), "{after}");
    assert_eq!(after["messages"][0]["withheld"], true);
    assert_eq!(after["messages"][0]["question"], question);
    assert!(server.stop());
}
