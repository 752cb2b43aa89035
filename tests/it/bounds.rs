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

#[test]
fn an_answer_that_nobody_waits_for_stops() {
    let scratch = Scratch::new();
    let steps: String =
        (1..=40).map(|n| format!("Step {n} of the harbour drill is to ring bell number {n}.\n\n")).collect();
    scratch.write("drill.md", format!("# Harbour drill\n\n{steps}"));
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("ana", &[], "member");
    let most = "2000";
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_ANSWER__MAX_TOKENS", most);
    });
    let body =
        json!({ "question": "What are all the steps of the harbour drill?", "mode": "generate", "stream": true });
    let body = body.to_string();
    let mut stream = raw(&server, &(ask_head(&key, body.len()) + &body));
    let mut first = [0; 64];
    let read = stream.read(&mut first).expect("the begin of the answer");
    assert!(first[..read].starts_with(b"HTTP/1.1 200"));
    drop(stream);

    let deadline = Instant::now() + Duration::from_secs(60);
    while counted(&server, &key, "intramuros_answers_total{outcome=\"abandoned\"}") == 0 {
        assert!(Instant::now() < deadline, "the answer goes on");
        thread::sleep(Duration::from_millis(100));
    }
    for outcome in ["written", "quotes", "abstained"] {
        assert_eq!(counted(&server, &key, &format!("intramuros_answers_total{{outcome=\"{outcome}\"}}")), 0);
    }
    assert!(counted(&server, &key, "intramuros_completion_tokens_total") < 500);
    assert!(server.stop());
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
    // Half a header, and half a body.
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
