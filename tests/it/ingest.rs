//! Ingest: what a run does, and that a second one does nothing.

use serde_json::json;

use crate::common::harness::Scratch;

const LEAVE: &str = "# Leave\n\nFull-time staff have 23 working days of annual leave.\n";
const CANTEEN: &str = "# Canteen\n\nThe canteen in Valdeluna opens at 12:30 and closes at 15:00.\n";

#[test]
fn a_second_run_changes_nothing_and_a_change_touches_one_document() {
    let scratch = Scratch::new();
    scratch.write("leave.md", LEAVE);
    scratch.write("canteen.md", CANTEEN);
    let first = scratch.ingest(&["--acl", "everyone"]);
    assert_eq!((&first["new"], &first["failed"]), (&json!(2), &json!(0)), "{first}");

    let second = scratch.ingest(&[]);
    assert_eq!((&second["unchanged"], &second["chunks"]), (&json!(2), &json!(0)), "{second}");

    scratch.write("leave.md", LEAVE.replace("23", "25"));
    let third = scratch.ingest(&[]);
    assert_eq!((&third["changed"], &third["unchanged"]), (&json!(1), &json!(1)), "{third}");
    let hits = scratch.search("annual leave days", None);
    let texts = hits["hits"].to_string();
    assert!(texts.contains("25 working days") && !texts.contains("23 working days"), "{texts}");
}

#[test]
fn a_deleted_document_answers_no_more_and_a_moved_one_is_not_embedded_again() {
    let scratch = Scratch::new();
    scratch.write("leave.md", LEAVE);
    scratch.write("canteen.md", CANTEEN);
    scratch.ingest(&["--acl", "everyone"]);
    scratch.remove("canteen.md");
    std::fs::create_dir(scratch.docs().join("hr")).unwrap();
    std::fs::rename(scratch.docs().join("leave.md"), scratch.docs().join("hr/leave.md")).unwrap();
    let report = scratch.ingest(&[]);
    assert_eq!(
        (&report["moved"], &report["deleted"], &report["embedded"]),
        (&json!(1), &json!(1), &json!(0)),
        "{report}"
    );

    let hits = scratch.search("when does the canteen open", None)["hits"].to_string();
    assert!(!hits.contains("12:30") && hits.contains("hr/leave.md"), "{hits}");
    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn rights_change_without_embedding_again() {
    let scratch = Scratch::new();
    scratch.write("legal/claim.md", "# Claim\n\nThe claim against Bruma Textil is worth 48,200 euros.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let found =
        |principals| scratch.search("claim against Bruma Textil", Some(principals))["hits"].as_array().unwrap().len();
    assert_eq!(found("user:eva"), 1);

    scratch.write("legal/.access.toml", "readers = [\"group:legal\"]\n");
    let report = scratch.ingest(&[]);
    assert_eq!((&report["rights"], &report["embedded"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!((found("user:eva"), found("group:legal")), (0, 1));
}

#[test]
fn what_says_nothing_is_readable_by_the_administrator_only() {
    let scratch = Scratch::new();
    scratch.write("leave.md", LEAVE);
    scratch.ingest(&[]);
    assert_eq!(scratch.search("annual leave", None)["hits"].as_array().unwrap().len(), 1);
    assert_eq!(scratch.search("annual leave", Some("user:ana,group:hr"))["hits"], json!([]));
}

#[test]
fn a_part_of_a_source_belongs_to_it_and_a_folder_around_one_is_refused() {
    let scratch = Scratch::new();
    scratch.write("hr/leave.md", LEAVE);
    scratch.write("canteen.md", CANTEEN);
    scratch.ingest(&["--acl", "everyone"]);
    scratch.write("hr/leave.md", LEAVE.replace("23", "25"));
    scratch.remove("canteen.md");
    let hr = scratch.docs().join("hr");
    let report = scratch.run(["--json", "ingest", hr.to_str().unwrap()]).assert_ok().json();
    let report = &report["sources"][0];
    // The removed file lies outside the part that was gone through.
    assert_eq!((&report["changed"], &report["deleted"]), (&json!(1), &json!(0)), "{report}");

    scratch.run(["ingest", scratch.path().to_str().unwrap()]).assert_fails_with(&["indexed twice", "documents forget"]);
    scratch.run(["ingest", hr.to_str().unwrap(), "--acl", "group:hr"]).assert_fails_with(&[".access.toml", "group:hr"]);
}

#[test]
fn an_unmounted_source_loses_nothing() {
    let scratch = Scratch::new();
    scratch.write("leave.md", LEAVE);
    scratch.ingest(&["--acl", "everyone"]);
    scratch.remove("leave.md");
    scratch.run(["ingest"]).assert_fails_with(&["--allow-empty", "nothing was deleted"]);
    assert_eq!(scratch.search("annual leave", None)["hits"].as_array().unwrap().len(), 1);
    scratch.run(["ingest", "--allow-empty"]).assert_ok();
    assert_eq!(scratch.search("annual leave", None)["hits"], json!([]));
}

#[test]
fn citations_lead_to_the_place() {
    let scratch = Scratch::new();
    scratch.write("nómina.md", "# Nóminas\n\nSí. La nómina de marzo se pagó el día 28. Después no hubo más pagos.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let answer = scratch.ask("¿Cuándo se pagó la nómina de marzo?", Some("user:eva"), "extract");
    let citation = &answer["citations"][0];
    let quote = citation["quote"].as_str().unwrap();
    assert!(quote.contains("28"), "{answer}");
    let id = citation["document_id"].as_str().unwrap();
    let text = scratch.run(["--json", "documents", "text", id]).assert_ok().json();
    let (start, end) = (citation["start"].as_u64().unwrap() as usize, citation["end"].as_u64().unwrap() as usize);
    let stored: String = text["text"].as_str().unwrap().chars().skip(start).take(end - start).collect();
    assert_eq!(stored, quote);
    assert!(citation["uri"].as_str().unwrap().starts_with("file:///"), "{citation}");
}
