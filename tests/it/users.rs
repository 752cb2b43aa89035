//! Users, groups and keys by the command line.

use std::io::Write;
use std::process::Stdio;

use crate::common::harness::{Ran, Scratch};

impl Scratch {
    /// Runs a command with something on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // A command that needs no input may have ended before it takes any.
        child.stdin.take().expect("its input").write_all(input.as_bytes()).ok();
        child.wait_with_output().expect("its end").into()
    }
}

#[test]
fn a_user_comes_changes_and_goes() {
    let scratch = Scratch::new();
    let created = scratch
        .run_with_input(&["--json", "user", "create", "ana", "--password-stdin"], "three words together\nmore\n")
        .assert_ok()
        .json();
    assert_eq!(
        (&created["user"], &created["role"], &created["signs_in"]),
        (&"ana".into(), &"member".into(), &true.into())
    );
    scratch.run(["user", "create", "iris", "--role", "admin", "--no-password"]).assert_ok();
    scratch.run(["group", "add", "legal", "ana", "iris"]).assert_ok();
    scratch.run(["group", "add", "hr", "iris"]).assert_ok();

    let users = scratch.run(["--json", "user", "list"]).assert_ok().json();
    assert_eq!(users["users"][1]["groups"], serde_json::json!(["hr", "legal"]));
    assert_eq!(users["users"][1]["signs_in"], false);
    let groups = scratch.run(["--json", "group", "list"]).assert_ok().json();
    let expected =
        serde_json::json!([{ "group": "hr", "members": ["iris"] }, { "group": "legal", "members": ["ana", "iris"] }]);
    assert_eq!(groups["groups"], expected);
    let table = scratch.run(["user", "list"]).assert_ok().stdout;
    assert!(table.contains("iris  admin   no        hr,legal"), "{table}");

    let role = scratch.run(["--json", "user", "role", "iris", "member"]).assert_ok().json();
    assert_eq!(role["role"], "member");
    let password = scratch
        .run_with_input(&["--json", "user", "password", "ana", "--password-stdin"], "another four words here")
        .assert_ok()
        .json();
    assert_eq!((&password["signs_in"], &password["sessions_ended"]), (&true.into(), &0.into()));
    let removed = scratch.run(["--json", "group", "remove", "legal", "ana"]).assert_ok().json();
    assert_eq!(removed["members"], serde_json::json!(["iris"]));
    scratch.run(["user", "delete", "iris"]).assert_ok();
    let groups = scratch.run(["--json", "group", "list"]).assert_ok().json();
    assert_eq!(groups["groups"], serde_json::json!([]));
}

#[test]
fn what_is_wrong_is_named_with_how_to_mend_it() {
    let scratch = Scratch::new();
    scratch.run(["user", "create", "ana", "--no-password"]).assert_ok();
    scratch.run(["user", "create", "ana", "--no-password"]).assert_fails_with(&["`ana`", "user password ana"]);
    scratch.run(["user", "create", "a b", "--no-password"]).assert_fails_with(&["`a b`", "without spaces"]);
    scratch.run(["user", "create", "luis"]).assert_fails_with(&["--password-stdin", "--no-password"]);
    let with_password = |password| scratch.run_with_input(&["user", "create", "luis", "--password-stdin"], password);
    with_password("short\n").assert_fails_with(&["5 characters", "needs 10"]);
    with_password("password123\n").assert_fails_with(&["guessed first"]);
    with_password("").assert_fails_with(&["no password came"]);
    scratch.run(["user", "password", "luis", "--no-password"]).assert_fails_with(&["`luis`", "user list"]);
    scratch.run(["user", "role", "luis", "admin"]).assert_fails_with(&["`luis`"]);
    scratch.run(["user", "role", "ana", "king"]).assert_fails_with(&["king", "member, admin"]);
    scratch.run(["user", "delete", "luis"]).assert_fails_with(&["`luis`"]);
    scratch.run(["group", "add", "legal", "ana", "luis"]).assert_fails_with(&["`luis`", "user create luis"]);
    scratch.run(["group", "remove", "legal", "ana"]).assert_fails_with(&["`ana` is not in", "group list"]);
    scratch.run(["key", "revoke", "nothing"]).assert_fails_with(&["`nothing`", "key list"]);
    scratch.run(["key", "create", "--user", "ana", "--group", "a,b"]).assert_fails_with(&["`a,b`", "group"]);
    scratch.run(["key", "create", "--user", "ana", "--expires-days", "0"]).assert_fails_with(&["expires-days"]);
    let groups = scratch.run(["--json", "group", "list"]).assert_ok().json();
    assert_eq!(groups["groups"], serde_json::json!([]), "a command that failed changed something");
}

#[test]
fn a_key_is_shown_once() {
    let scratch = Scratch::new();
    let created = scratch
        .run([
            "--json",
            "key",
            "create",
            "--user",
            "ana",
            "--group",
            "legal",
            "--label",
            "wiki",
            "--expires-days",
            "30",
        ])
        .assert_ok()
        .json();
    let key = created["key"].as_str().unwrap();
    assert!(key.starts_with("im_") && key.len() == 46, "{key}");
    assert_eq!(created["reads"], serde_json::json!(["everyone", "user:ana", "group:legal"]));
    let id = created["id"].as_str().unwrap();
    for json in [&["--json"][..], &[]] {
        let listed = scratch.run(json.iter().chain(&["key", "list"])).assert_ok().stdout;
        assert!(listed.contains(id) && listed.contains("wiki") && !listed.contains(key), "{listed}");
    }
    let told = scratch.run(["key", "create", "--user", "bot"]).assert_ok().stdout;
    for part in ["only time", "Authorization: Bearer", "no local user", "does not end by itself", "key revoke"] {
        assert!(told.contains(part), "`{part}` is not in:\n{told}");
    }
    let revoked = scratch.run(["--json", "key", "revoke", id]).assert_ok().json();
    assert_eq!(revoked["revoked"]["label"], "wiki");
    assert_eq!(scratch.run(["--json", "key", "list"]).assert_ok().json()["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_key_loses_the_group_that_its_user_loses() {
    let scratch = Scratch::new();
    scratch.run(["user", "create", "luis", "--no-password"]).assert_ok();
    scratch.run(["group", "add", "legal", "luis"]).assert_ok();
    scratch.write("garage.md", "# Garage\n\nThe code of the garage in Calle Sirio is 4417.\n");
    scratch.ingest(&["--acl", "group:legal"]);
    let (luis, bot) = (scratch.key("luis", &["legal"], "member"), scratch.key("bot", &["legal"], "member"));
    let outside = scratch.run(["--json", "key", "create", "--user", "luis", "--group", "hr"]).assert_ok().json();
    assert_eq!(outside["reads"], serde_json::json!(["everyone", "user:luis"]));
    let server = scratch.serve();
    let question = serde_json::json!({ "question": "What is the code of the garage?" });
    let finds = |key: &str| server.post("/api/v1/search", key, &question).expect(200).body.contains("4417");
    assert!(finds(&luis) && finds(&bot));
    scratch.run(["group", "remove", "legal", "luis"]).assert_ok();
    assert!(!finds(&luis) && finds(&bot));
    assert_eq!(server.get("/api/v1/session", &luis).expect(200).json()["groups"], serde_json::json!([]));
    assert!(server.stop());
}
