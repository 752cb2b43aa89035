//! Answers: what the model is given to read.

use serde_json::Value;

use crate::harness::Scratch;

/// One section of several chunks, each of which says something about the same machine.
fn manual() -> String {
    let mut text = String::from("# Press 7\n\n## Maintenance\n\n");
    for week in 1..=40 {
        let oil = 20 + week;
        text.push_str(&format!(
            "In week {week} the operator checks the oil of the press, tops it up to {oil} litres and signs the sheet. "
        ));
        if week % 4 == 0 {
            text.push_str("\n\n");
        }
    }
    text
}

#[test]
fn neighbouring_chunks_are_read_as_one_passage() {
    let scratch = Scratch::new();
    scratch.write("manual.md", manual());
    scratch.ingest(&["--acl", "everyone"]);
    let question = "How much oil does the operator top up in the press?";
    let chunks: Vec<(u64, u64)> =
        scratch.search(question, None)["hits"].as_array().unwrap().iter().map(place).collect();
    let answer = scratch.ask(question, None, "generate");
    let passages = answer["provenance"]["passages"].as_array().unwrap();
    let (start, end) = place(&passages[0]);
    let inside = chunks.iter().filter(|chunk| chunk.0 >= start && chunk.1 <= end).count();
    assert!(inside >= 2, "{passages:?} of {chunks:?}");

    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    let id = listed["documents"][0]["document_id"].as_str().unwrap().to_owned();
    let text = scratch.run(["documents", "text", &id]).assert_ok().stdout;
    let slice: String = text.chars().skip(start as usize).take((end - start) as usize).collect();
    assert!(slice.starts_with("In week") && slice.ends_with("the sheet."), "{slice}");
    assert_eq!(passages[0]["sha256"], sha256(&slice), "the passage is not the document's own text");
}

fn place(value: &Value) -> (u64, u64) {
    (value["start"].as_u64().unwrap(), value["end"].as_u64().unwrap())
}

fn sha256(text: &str) -> String {
    intramuros_ingest::document::ContentHash::of(text.as_bytes()).to_string()
}
