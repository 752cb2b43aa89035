//! Answers in a given form, over HTTP: valid, from the caller's documents, and each value told to be supported or not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::harness::Scratch;
use crate::common::serving::Serving;

fn filled() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nEverybody has 25 days of annual leave. Up to 5 days are carried over.\n");
    scratch.write("lease/.access.toml", "readers = [\"group:legal\"]\n");
    scratch.write(
        "lease/mill.md",
        "# Lease of the mill\n\nThe tenant of the mill is Torrubia Ltd. The rent of the mill is 1,250 pounds a month. \
         The lease of the mill ends on 31 March 2027.\n",
    );
    scratch.ingest(&["--acl", "everyone"]);
    scratch
}

fn lease() -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "lease", "schema": {
        "type": "object",
        "properties": { "tenant": { "type": ["string", "null"], "maxLength": 40 }, "rent": { "type": ["integer", "null"], "maximum": 99999 } },
        "required": ["tenant", "rent"],
    } } })
}

fn ask(server: &Serving, key: &str, format: Value) -> Value {
    let question = "Who is the tenant of the mill, and how much is the rent of the mill?";
    let body = json!({ "question": question, "response_format": format });
    server.post("/api/v1/ask", key, &body).expect(200).json()
}

/// Each value that is not `null` is told about, once, and rests on a quote if it is said to.
fn assert_told(answer: &Value) {
    let value: Value = serde_json::from_str(answer["answer"].as_str().unwrap()).unwrap();
    let none = Vec::new();
    let list = |name: &str| answer[name].as_array().unwrap_or(&none).clone();
    for (name, value) in value.as_object().unwrap() {
        let path = format!("/{name}");
        let told = |list: Vec<Value>| list.into_iter().filter(|one| one["path"] == path.as_str()).collect::<Vec<_>>();
        let (supported, unsupported) = (told(list("supported")), told(list("unsupported")));
        let expected = if value.is_null() { 0 } else { 1 };
        assert!(supported.len() <= expected && supported.len() + unsupported.len() >= expected, "{answer}");
        assert!(unsupported.iter().all(|one| one["kept"] == !value.is_null()), "{answer}");
        for one in supported {
            let quote = &answer["citations"][one["n"].as_u64().unwrap() as usize - 1]["quote"];
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let plain = |text: &str| text.replace(',', "").to_lowercase();
            assert!(plain(quote.as_str().unwrap()).contains(&plain(&text)), "{answer}");
        }
    }
}

#[test]
fn a_form_is_filled_from_what_the_caller_may_read() {
    let scratch = filled();
    let (legal, other) = (scratch.key("ana", &["legal"], "member"), scratch.key("rosa", &[], "member"));
    let server = scratch.serve();
    let answer = ask(&server, &legal, lease());
    assert_told(&answer);
    assert!(answer["provenance"]["form_sha256"].is_string(), "{answer}");
    let value: Value = serde_json::from_str(answer["answer"].as_str().unwrap()).unwrap();
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(names, ["tenant", "rent"]);
    assert!(answer["answer"].as_str().unwrap().contains("Torrubia") || value["rent"] == 1250, "{answer}");

    for format in [lease(), json!({ "type": "regex", "regex": "[A-Z][a-z]+ Ltd|unknown" })] {
        let answer = ask(&server, &other, format);
        for secret in ["Torrubia", "1250", "1,250", "Lease of the mill", "31 March"] {
            assert!(!answer.to_string().contains(secret), "{secret}: {answer}");
        }
        let citations = answer["citations"].as_array().unwrap();
        assert!(citations.iter().all(|citation| citation["title"] == "Leave"), "{answer}");
    }
    // The same form, the same answer; another one, another provenance.
    assert_eq!(ask(&server, &legal, lease())["answer"], answer["answer"]);
    let other_form = ask(&server, &legal, json!({ "type": "json_object" }));
    assert_ne!(other_form["provenance"]["form_sha256"], answer["provenance"]["form_sha256"]);
    assert!(server.stop());
}

#[test]
fn passages_without_room_beside_the_form_are_no_want_of_documents() {
    let scratch = filled();
    let key = scratch.key("ana", &["legal"], "member");
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_ANSWER__PASSAGE_TOKENS", "1");
    });
    let answer = ask(&server, &key, lease());
    assert_eq!((&answer["no_room"], &answer["abstained"]), (&json!(true), &json!(false)), "{answer}");
    assert!(answer["answer"].as_str().unwrap().contains("no room"), "{answer}");
    assert!(!answer["left_out"].as_array().unwrap().is_empty(), "{answer}");
    let body = json!({ "model": "intramuros", "messages": [{ "role": "user", "content": "Who is the tenant of the mill?" }],
        "response_format": lease() });
    let message = server.post("/v1/chat/completions", &key, &body).expect(200).json()["choices"][0]["message"].clone();
    assert!(message["content"].is_null() && message["refusal"].as_str().unwrap().contains("no room"), "{message}");
    assert!(server.stop());
}

#[test]
fn forms_that_cannot_be_followed_are_refused_before_anything_is_asked() {
    let scratch = filled();
    let (key, server) = (scratch.key("ana", &["legal"], "member"), scratch.serve());
    let refused = |format: Value, part: &str| {
        for stream in [false, true] {
            let body = json!({ "question": "Zxqv blorp?", "response_format": format, "stream": stream });
            let reply = server.post("/api/v1/ask", &key, &body).expect(400);
            assert!(reply.body.contains(part), "{}", reply.body);
        }
    };
    let by = |schema: Value| json!({ "type": "json_schema", "json_schema": { "schema": schema } });
    refused(by(json!({ "properties": { "a": { "format": "phone" } } })), "#/properties/a/format");
    refused(by(json!({ "type": "string", "const": 5 })), "schema");
    refused(json!({ "type": "regex", "regex": "a(b" }), "character 2");
    refused(json!({ "type": "yaml" }), "yaml");
    let body = json!({ "question": "Who?", "mode": "extract", "response_format": lease() });
    assert!(server.post("/api/v1/ask", &key, &body).expect(400).body.contains("quotes"));

    // Deep, wide and doubling schemas neither end the server nor hold it up.
    let chain: serde_json::Map<String, Value> = (0..900)
        .map(|i| (format!("{i}"), json!({ "allOf": [{ "$ref": format!("#/$defs/{}", (i + 1) % 900) }] })))
        .collect();
    let wide: Vec<Value> = (0..800).map(|i| json!({ "const": format!("{i}") })).collect();
    for schema in
        [json!({ "$ref": "#/$defs/0", "$defs": chain }), json!({ "allOf": [{ "oneOf": wide }, { "oneOf": wide }] })]
    {
        let started = Instant::now();
        let reply =
            server.post("/api/v1/ask", &key, &json!({ "question": "Zxqv blorp?", "response_format": by(schema) }));
        assert!([200, 400].contains(&reply.status), "{}", reply.body);
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    }
    assert!(server.stop());
}
