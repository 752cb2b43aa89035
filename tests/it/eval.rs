//! `intramuros eval`: its figures, what it writes, and how two runs compare.

use serde_json::Value;

use crate::common::harness::{Scratch, samples};

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_run_is_told_in_figures_in_lines_and_on_a_page_and_two_runs_are_alike() {
    let scratch = Scratch::new();
    let (folder, page) = (samples(), scratch.path().join("page.html"));
    let lines = [scratch.path().join("a.jsonl"), scratch.path().join("b.jsonl")];
    let base = ["--json", "eval", text(&folder), "--mode", "extract", "--limit", "24"];
    let figures = scratch.run(base.iter().chain(&["--out", text(&lines[0]), "--html", text(&page)])).assert_ok().json();
    assert_eq!(figures["questions"], 24);
    for (figure, least) in [("hit@5", 0.9), ("contains_gold", 0.7), ("cited_supported", 1.0), ("evidence@5", 0.8)] {
        assert!(figures[figure].as_f64().unwrap() >= least, "{figure}: {figures}");
    }
    assert_eq!(figures["stages"][0]["stage"], "retrieve");
    let records: Vec<Value> =
        std::fs::read_to_string(&lines[0]).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 24);
    assert!(records.iter().all(|record| (0.0..=1.0).contains(&record["relevance"].as_f64().unwrap())), "{records:?}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Calibration") && page.matches("<svg").count() == 4 && !page.contains("http"), "{page}");

    scratch.run(base.iter().chain(&["--out", text(&lines[1])])).assert_ok();
    let compared = scratch.run(["--json", "eval", "--compare", text(&lines[0]), text(&lines[1])]).assert_ok().json();
    assert_eq!((&compared["questions"], compared["changed"].as_array().unwrap().len()), (&24.into(), 0), "{compared}");
    let printed = scratch.run(["eval", "--compare", text(&lines[0]), text(&lines[1])]).assert_ok().stdout;
    assert!(printed.contains("hit@5") && printed.contains("+0.000 to +0.000"), "{printed}");

    let kept = std::fs::read(&lines[0]).unwrap();
    let args = ["eval", text(&folder), "--limit", "1", "--out", text(&lines[0]), "--html", "/nowhere/page.html"];
    scratch.run(args).assert_fails_with(&["/nowhere/page.html"]);
    assert!(std::fs::read(&lines[0]).unwrap() == kept, "what was there is lost though nothing was measured");

    std::fs::write(&lines[1], "{}\n").unwrap();
    let args = ["eval", "--compare", text(&lines[0]), text(&lines[1])];
    scratch.run(args).assert_fails_with(&["b.jsonl, line 1", "eval --out"]);
    scratch.run(["eval"]).assert_fails_with(&["DIR"]);
}

#[test]
fn what_the_other_half_of_the_documents_answers_is_refused() {
    let scratch = Scratch::new();
    let folder = samples();
    let args = ["--json", "eval", text(&folder), "--mode", "extract", "--absent-half", "7", "--limit", "60"];
    let figures = scratch.run(args).assert_ok().json();
    assert!(figures["questions"].as_u64().unwrap() > 40, "the unanswerable ones are not asked: {figures}");
    // Half of a small intranet speaks of nearly the same things as the other half.
    assert!(figures["relevance_auroc"].as_f64().unwrap() > 0.75, "{figures}");
    assert!(figures["abstain_recall"].as_f64().unwrap() > 0.3, "{figures}");
}
