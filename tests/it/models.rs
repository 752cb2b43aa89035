//! Getting models, as an administrator does it.

use std::path::Path;

use crate::common::harness::{Ran, Scratch};

const EMBEDDER: &str = "all-MiniLM-L6-v2";

fn copy_installed(name: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(intramuros_models::weights::default_models_dir().join(name)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != intramuros_models::weights::MANIFEST {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn the_list_tells_languages_and_what_is_here() {
    let listed = Scratch::new().run(["--json", "models", "list"]).assert_ok().json();
    let models = listed["models"].as_array().unwrap();
    let starter = models.iter().find(|model| model["name"] == EMBEDDER).unwrap();
    assert_eq!(starter["installation"]["state"], "installed", "{starter}");
    assert!(starter["languages"].as_array().unwrap().contains(&"en".into()), "{starter}");
    Scratch::new().run(["models", "pull", "no-such-model"]).assert_fails_with(&["no-such-model", "starter"]);
}

#[test]
fn a_carried_directory_is_imported_and_verified() {
    let scratch = Scratch::new();
    let (stick, target) = (scratch.path().join("stick"), scratch.path().join("models"));
    copy_installed(EMBEDDER, &stick.join("anything"));
    let run =
        |args: &[&str]| -> Ran { scratch.command(args).env("INTRAMUROS_MODELS_DIR", &target).output().unwrap().into() };
    let said = run(&["models", "import", stick.to_str().unwrap()]).assert_ok().stdout;
    assert!(said.contains(EMBEDDER), "{said}");
    let said = run(&["models", "verify"]).assert_ok().stdout;
    assert!(said.contains(EMBEDDER), "{said}");
    let empty = scratch.docs();
    run(&["models", "import", empty.to_str().unwrap()]).assert_fails_with(&["holds no file of a model"]);
}

#[test]
fn a_mirror_comes_before_any_network() {
    let scratch = Scratch::new();
    let (mirror, target) = (scratch.path().join("mirror"), scratch.path().join("models"));
    copy_installed(EMBEDDER, &mirror.join(EMBEDDER));
    let mut command = scratch.command(["models", "pull", EMBEDDER]);
    command.env("INTRAMUROS_MODELS_DIR", &target).env("INTRAMUROS_MODELS__MIRROR", &mirror).env("PATH", "");
    command.env("HF_ENDPOINT", "http://127.0.0.1:9");
    Ran::from(command.output().unwrap()).assert_ok();
    assert!(target.join(EMBEDDER).join("model.safetensors").exists());
}

#[test]
fn without_hub_and_index_the_error_says_how_to_import() {
    let scratch = Scratch::new();
    let target = scratch.path().join("models");
    let mut command = scratch.command(["models", "pull", EMBEDDER]);
    command.env("INTRAMUROS_MODELS_DIR", &target).env("PATH", "").env("HF_ENDPOINT", "http://127.0.0.1:9");
    Ran::from(command.output().unwrap()).assert_fails_with(&[
        "could not be fetched",
        "127.0.0.1:9",
        "models import DIR",
    ]);
    assert!(!target.join(EMBEDDER).exists());
}

#[test]
fn quotes_are_served_without_a_generator_and_what_is_missing_is_named() {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nEverybody has 25 days of annual leave.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("ana", &[], "member");
    let (stick, target) = (scratch.path().join("stick"), scratch.path().join("models"));
    copy_installed(EMBEDDER, &stick.join("anything"));
    let with_models = |command: &mut std::process::Command| {
        command.env("INTRAMUROS_MODELS_DIR", &target);
    };
    let mut import = scratch.command(["models", "import", stick.to_str().unwrap()]);
    with_models(&mut import);
    Ran::from(import.output().unwrap()).assert_ok();

    let mut serve = scratch.command(["serve", "--listen", "127.0.0.1:0"]);
    with_models(&mut serve);
    Ran::from(serve.output().unwrap()).assert_fails_with(&["SmolLM2", "is not installed", "models pull"]);

    let server = scratch.serve_with(|command| {
        with_models(command);
        command.env("INTRAMUROS_ANSWER__MODE", "extract");
    });
    let question = serde_json::json!({ "question": "How many days of annual leave does everybody have?" });
    assert!(server.post("/api/v1/ask", &key, &question).expect(200).body.contains("25 days"));
    let models = server.get("/v1/models", &key).expect(200).json();
    let names: Vec<&str> = models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["intramuros-extract", EMBEDDER]);
    let written = serde_json::json!({ "model": "intramuros", "messages": [{ "role": "user", "content": "Why?" }] });
    server.post("/v1/chat/completions", &key, &written).expect(503);
    server.get_unknown("/readyz").expect(200);
    assert!(server.stop());
}
