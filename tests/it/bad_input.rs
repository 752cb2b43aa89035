//! Bad input: a clear message that says what to do, an exit code other than 0, and nothing lost.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::json;

use crate::common::harness::{Ran, Scratch, samples};

fn one_document() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nFull-time staff have 23 working days of annual leave.\n");
    scratch.ingest(&["--acl", "everyone"]);
    scratch
}

#[test]
fn questions_that_are_none() {
    let scratch = one_document();
    for command in ["search", "ask"] {
        scratch.run([command, ""]).assert_fails_with(&["the question is empty"]);
        scratch.run([command, " \t "]).assert_fails_with(&["the question is empty"]);
        let long = "leave ".repeat(100_000 / 6);
        scratch.run([command, &long]).assert_fails_with(&["characters", "answer.max_question_chars"]);
        let bytes = OsStr::from_bytes(b"cu\xe1ntos d\xedas");
        scratch.run([OsStr::new(command), bytes]).assert_fails_with(&["not valid UTF-8", "byte 2"]);
        let mut child = scratch.command([command, "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"cu\xe1ntos").unwrap();
        Ran::from(child.wait_with_output().unwrap()).assert_fails_with(&["not valid UTF-8"]);
    }
}

#[test]
fn broken_files_are_listed_with_their_reasons_and_the_rest_goes_in() {
    let scratch = Scratch::new();
    scratch.write("leave.md", "# Leave\n\nFull-time staff have 23 working days of annual leave.\n");
    scratch.write("zero.pdf", b"");
    let pdf = sample_with_ending("pdf");
    scratch.write("truncated.pdf", &pdf[..pdf.len() / 3]);
    scratch.write("encrypted.pdf", include_bytes!("../../ingest/tests/data/password.pdf"));
    scratch.write("text.docx", b"this is no zip archive at all");
    let report = scratch.ingest(&["--acl", "everyone"]);
    assert_eq!(report["new"], json!(1), "{report}");
    assert_eq!(report["failed"], json!(4), "{report}");
    let reason = |path: &str| -> String {
        let failures = report["failures"].as_array().unwrap();
        let failure = failures.iter().find(|failure| failure["path"] == path);
        failure.unwrap_or_else(|| panic!("{path} is not listed: {report}"))["reason"].as_str().unwrap().to_lowercase()
    };
    assert!(reason("zero.pdf").contains("empty"), "{report}");
    assert!(reason("encrypted.pdf").contains("password"), "{report}");
    assert!(reason("text.docx").contains("zip"), "{report}");
    assert!(!reason("truncated.pdf").is_empty());
    assert_eq!(scratch.search("annual leave", Some("user:eva"))["hits"].as_array().unwrap().len(), 1);
    let again = scratch.ingest(&[]);
    assert_eq!((&again["unchanged"], &again["failed"]), (&json!(1), &json!(4)), "{again}");
}

fn sample_with_ending(ending: &str) -> Vec<u8> {
    let mut folders = vec![samples().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|have| have == ending) {
                return std::fs::read(path).unwrap();
            }
        }
    }
    panic!("no sample ends with .{ending}");
}

#[test]
fn models_that_are_missing_or_damaged() {
    let scratch = one_document();
    let empty = scratch.path().join("no-models");
    let mut command = scratch.command(["search", "leave"]);
    let ran = Ran::from(command.env("INTRAMUROS_MODELS_DIR", &empty).output().unwrap());
    ran.assert_fails_with(&["not installed", "models pull", "models import"]);

    // A copy of the models with one byte changed.
    let installed = intramuros_models::weights::default_models_dir();
    let copy = scratch.path().join("models");
    let name = "all-MiniLM-L6-v2";
    std::fs::create_dir_all(copy.join(name)).unwrap();
    for entry in std::fs::read_dir(installed.join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(name).join(entry.file_name())).unwrap();
    }
    let weights = copy.join(name).join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    for args in [&["search", "leave"][..], &["models", "verify"]] {
        let mut command = scratch.command(args);
        let ran = Ran::from(command.env("INTRAMUROS_MODELS_DIR", &copy).output().unwrap());
        ran.assert_fails_with(&["sha256", "model.safetensors", "models pull"]);
    }
    assert_eq!(scratch.search("annual leave", None)["hits"].as_array().unwrap().len(), 1);
}

#[test]
fn configuration_and_arguments() {
    let scratch = one_document();
    let config = scratch.path().join("own.toml");
    std::fs::write(&config, "[retrieve]\nlimits = 3\n").unwrap();
    let config = config.to_str().unwrap();
    scratch.run(["--config", config, "search", "leave"]).assert_fails_with(&["own.toml", "limits", "candidates"]);
    scratch.run(["--config", "/nowhere.toml", "search", "leave"]).assert_fails_with(&["cannot read", "/nowhere.toml"]);
    scratch.run(["search", "leave", "--as", "ana"]).assert_fails_with(&["`ana` is not a principal", "group:NAME"]);
    scratch.run(["ingest", "/nowhere/at/all", "--acl", "everyone"]).assert_fails_with(&["/nowhere/at/all"]);
    scratch.run(["documents", "show", "no-id"]).assert_fails_with(&["no-id"]);
    Scratch::new().run(["ingest"]).assert_fails_with(&["no source is configured", "--acl"]);
}

#[test]
fn a_second_opener_is_told_who_holds_the_data() {
    let scratch = one_document();
    let lock = std::fs::OpenOptions::new().read(true).write(true).open(scratch.data().join("lock")).unwrap();
    lock.try_lock().unwrap();
    std::fs::write(scratch.data().join("lock"), "process 4711 (intramuros ingest)").unwrap();
    scratch.run(["search", "leave"]).assert_fails_with(&["process 4711", "intramuros ingest", "--data-dir"]);
}

#[test]
fn a_reader_that_closes_its_end_is_no_panic() {
    use std::process::Stdio;
    let scratch = Scratch::new();
    for args in [&["doctor", "--print-config"][..], &["models", "list"], &["--json", "models", "list"]] {
        let mut command = scratch.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked") && !errors.contains("Broken pipe"), "{args:?}: {errors}");
    }
}
