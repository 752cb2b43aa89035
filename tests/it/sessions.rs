//! Signing in over HTTP, and what stops working at once.

use serde_json::json;

use crate::common::browser::Browser;
use crate::common::harness::Scratch;

#[test]
fn a_person_signs_in_asks_and_signs_out() {
    let scratch = Scratch::new();
    scratch.run_with_input(&["user", "create", "ana", "--password-stdin"], "three words together").assert_ok();
    scratch.run(["group", "add", "legal", "ana"]).assert_ok();
    let key = scratch.key("ana", &[], "member");
    let server = scratch.serve();

    let unknown = server.get_unknown("/api/v1/session").expect(401);
    assert_eq!(unknown.json()["code"], "unauthorized");
    assert_eq!(unknown.header("www-authenticate"), Some("Bearer"));
    let by_key = server.get("/api/v1/session", &key).expect(200).json();
    assert_eq!(
        by_key,
        json!({ "user": "ana", "role": "member", "groups": ["legal"], "csrf_token": null, "expires_ms": null })
    );
    server.delete("/api/v1/session", &key).expect(400);

    let mut browser = Browser::new(&server.base);
    let wrong = browser.sign_in("ana", "three words apart").expect(401);
    let nobody = browser.sign_in("nobody", "three words apart").expect(401);
    assert_eq!(wrong.json()["message"], "the name or the password is wrong");
    assert_eq!(wrong.json()["message"], nobody.json()["message"]);

    let signed_in = browser.sign_in("ana", "three words together").expect(200);
    let cookie = signed_in.header("set-cookie").unwrap();
    for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(browser.who().expect(200).json(), signed_in.json());

    let conversation = json!({ "title": "Leases" });
    let path = "/api/v1/conversations";
    browser.post(path, &conversation, &[]).expect(403);
    browser.post(path, &conversation, &[("x-csrf-token", "guessed")]).expect(403);
    let token = browser.token.clone();
    let own = ("x-csrf-token", token.as_str());
    browser.post(path, &conversation, &[own, ("origin", "https://evil.example")]).expect(403);
    browser.post(path, &conversation, &[own, ("origin", &server.base)]).expect(201);

    // The command line reaches the running server, and what it takes away is gone at the next request.
    scratch.run(["group", "add", "hr", "ana"]).assert_ok();
    assert_eq!(browser.who().expect(200).json()["groups"], json!(["hr", "legal"]));
    let revoked = scratch.key("ana", &[], "member");
    server.get("/api/v1/session", &revoked).expect(200);
    let keys = scratch.run(["--json", "key", "list"]).assert_ok().json();
    let id = keys["keys"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    scratch.run(["key", "revoke", id]).assert_ok();
    server.get("/api/v1/session", &revoked).expect(401);

    let gone = browser.sign_out().expect(204);
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    browser.who().expect(401);
    browser.sign_out().expect(401);

    browser.sign_in("ana", "three words together").expect(200);
    scratch.run(["user", "delete", "ana"]).assert_ok();
    browser.who().expect(401);
    server.get("/api/v1/session", &key).expect(401);
    browser.sign_in("ana", "three words together").expect(401);
    assert!(server.stop(), "the server ended badly");
}

#[test]
fn guessing_waits() {
    let scratch = Scratch::new();
    scratch.run_with_input(&["user", "create", "ana", "--password-stdin"], "three words together").assert_ok();
    let server = scratch.serve();
    let mut browser = Browser::new(&server.base);
    for name in ["ana", "nobody"] {
        for _ in 0..5 {
            browser.sign_in(name, "a guess that is wrong").expect(401);
        }
        let throttled = browser.sign_in(name, "three words together").expect(429);
        let seconds: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&seconds), "{seconds}");
    }
    std::thread::sleep(std::time::Duration::from_millis(2100));
    browser.sign_in("ana", "three words together").expect(200);
}
