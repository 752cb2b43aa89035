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
