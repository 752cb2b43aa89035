//! Nothing of a document that the caller may not read ever comes back, by any way of reading.

use std::collections::{BTreeMap, BTreeSet};

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::DocumentId;
use serde_json::Value;

use crate::common::harness::{Scratch, samples};

/// A caller of each of the five groups, one of two, one of none.
const CALLERS: &[&str] = &[
    "user:ana,group:legal",
    "user:luis,group:finance,group:hr",
    "user:eva",
    "user:tom,group:it",
    "user:sara,group:sales",
];

/// What the administrator sees of each document: who reads it and how it is called.
fn readers(scratch: &Scratch) -> BTreeMap<String, (Acl, String)> {
    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    let mut readers = BTreeMap::new();
    for record in listed["documents"].as_array().unwrap() {
        let acl: Acl = serde_json::from_value(record["readers"].clone()).unwrap();
        let id = record["document_id"].as_str().unwrap().to_owned();
        readers.insert(id, (acl, record["path"].as_str().unwrap().to_owned()));
    }
    readers
}

fn document_ids(answer: &Value) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for list in ["hits", "citations", "left_out"] {
        for entry in answer[list].as_array().into_iter().flatten() {
            ids.insert(entry["document_id"].as_str().unwrap().to_owned());
        }
    }
    for entry in answer["provenance"]["passages"].as_array().into_iter().flatten() {
        ids.insert(entry["document_id"].as_str().unwrap().to_owned());
    }
    ids
}

#[test]
fn every_sample_question_as_every_caller_stays_inside_the_rights() {
    let scratch = Scratch::new();
    let docs = samples().join("docs");
    scratch.run(["--json", "ingest", docs.to_str().unwrap()]).assert_ok();
    let readers = readers(&scratch);
    assert!(readers.len() >= 45, "{} sample documents", readers.len());

    let lines = std::fs::read_to_string(samples().join("questions.jsonl")).unwrap();
    let questions: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(questions.len() >= 60, "{} sample questions", questions.len());

    let batch = scratch.path().join("questions.txt");
    let asked: Vec<&str> = questions.iter().map(|question| question["question"].as_str().unwrap()).collect();
    std::fs::write(&batch, asked.join("\n")).unwrap();
    let mut seen_restricted = 0;
    for principals in CALLERS {
        let acl: Acl = principals.parse().unwrap();
        let caller = Caller::new(acl.readers().cloned());
        for command in [&["search"][..], &["ask", "--mode", "extract"]] {
            let args = ["--json"].iter().chain(command).copied().chain([
                "--as",
                principals,
                "--batch",
                batch.to_str().unwrap(),
            ]);
            let ran = scratch.run(args).assert_ok();
            let answers: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(answers.len(), asked.len());
            for (question, answer) in asked.iter().zip(&answers) {
                for id in document_ids(answer) {
                    let (acl, path) = &readers[&id];
                    assert!(caller.may_read(acl), "{principals} got {path} for `{question}`");
                    seen_restricted += usize::from(!Caller::new([]).may_read(acl));
                }
            }
        }
        // Reading by id: a document of others answers exactly like one that does not exist.
        let unknown = DocumentId::new("nowhere", "nothing").to_string();
        let missing = scratch.run(["documents", "show", &unknown, "--as", principals]).stderr.replace(&unknown, "ID");
        let listed = scratch.run(["--json", "documents", "list", "--as", principals]).assert_ok().json();
        let visible: BTreeSet<&str> =
            listed["documents"].as_array().unwrap().iter().map(|r| r["document_id"].as_str().unwrap()).collect();
        let mut hidden = 0;
        for (id, (acl, path)) in &readers {
            assert_eq!(visible.contains(id.as_str()), caller.may_read(acl), "{principals}: {path} in the list");
            if !caller.may_read(acl) && hidden < 3 {
                hidden += 1;
                for what in ["show", "text"] {
                    let ran = scratch.run(["documents", what, id, "--as", principals]);
                    assert!(!ran.ok && ran.stdout.is_empty());
                    assert_eq!(ran.stderr.replace(id.as_str(), "ID"), missing);
                }
            }
        }
        assert!(hidden > 0, "{principals} may read everything: the samples restrict nothing");
    }
    assert!(seen_restricted > 50, "only {seen_restricted} restricted hits: the callers hardly used their own rights");
}
