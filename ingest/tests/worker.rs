//! The worker process with a real child. This test is its own child, so it has no test harness: `main` is the test.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use intramuros_ingest::document::RawDocument;
use intramuros_ingest::format::{self, FormatError};
use intramuros_ingest::worker::{Worker, WorkerOptions, serve_stdio};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--worker") {
        serve_stdio().expect("the child serves");
        return;
    }
    reads_as_in_process();
    large_documents_do_not_block_the_pipes();
    memory_is_limited_and_the_next_document_is_read();
    time_is_limited_and_the_next_document_is_read();
    a_child_that_was_killed_is_replaced();
    #[cfg(target_os = "linux")]
    a_child_has_no_environment_and_no_files();
    println!("worker: all checks passed");
}

fn options() -> WorkerOptions {
    WorkerOptions::new(std::env::current_exe().expect("own path"), [OsString::from("--worker")])
}

fn raw(path: &str, bytes: impl Into<Vec<u8>>) -> RawDocument {
    RawDocument { path: path.to_owned(), bytes: bytes.into() }
}

fn manual() -> RawDocument {
    raw("manual.pdf", include_bytes!("data/manual.pdf"))
}

fn reads_as_in_process() {
    let mut worker = Worker::new(options());
    for document in [manual(), raw("a.txt", "uno\n\ndos"), raw("b.docx", "no zip"), raw("c.pdf", ""), raw("d.xyz", "x")]
    {
        assert_eq!(worker.extract(&document), format::extract(&document), "{}", document.path);
    }
}

fn large_documents_do_not_block_the_pipes() {
    let text = "palabra ".repeat(2 << 20);
    let extracted = Worker::new(options()).extract(&raw("large.txt", text.clone())).expect("text");
    assert_eq!(extracted.text, text.trim());
}

fn memory_is_limited_and_the_next_document_is_read() {
    let mut worker = Worker::new(WorkerOptions { memory_limit: 400 << 20, ..options() });
    let error = worker.extract(&raw("large.txt", vec![b'a'; 200 << 20])).expect_err("more than the limit");
    assert_eq!(error, FormatError::TooHungry { mebibytes: 400 });
    assert_eq!(worker.extract(&manual()), format::extract(&manual()));
}

fn time_is_limited_and_the_next_document_is_read() {
    // Two million unclosed emphasis marks keep a Markdown parser busy for longer than a millisecond on any machine.
    let slow = raw("slow.md", "*a _b ".repeat(1 << 20));
    let mut worker = Worker::new(WorkerOptions { time_limit: Duration::from_millis(1), ..options() });
    let begun = Instant::now();
    assert!(matches!(worker.extract(&slow), Err(FormatError::TooSlow { .. })));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

fn a_child_that_was_killed_is_replaced() {
    let mut worker = Worker::new(options());
    for _ in 0..3 {
        worker.extract(&manual()).expect("text");
        worker.kill_child();
    }
    worker.extract(&manual()).expect("text");
}

/// What the kernel says of the child while it waits for its next document.
#[cfg(target_os = "linux")]
fn a_child_has_no_environment_and_no_files() {
    use std::fs;

    let mut worker = Worker::new(options());
    assert_eq!(worker.extract(&manual()), format::extract(&manual()));
    let parent = format!("\nPPid:\t{}\n", std::process::id());
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let child = |path: &std::path::PathBuf| fs::read_to_string(path.join("status")).is_ok_and(|s| s.contains(&parent));
    let children: Vec<_> = processes.filter(child).collect();
    let [child] = children.as_slice() else { panic!("{} children", children.len()) };

    assert!(std::env::vars_os().count() > 1, "nothing to inherit");
    let environment = fs::read(child.join("environ")).expect("environ");
    let variables = environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    let foreign: Vec<_> = variables.filter(|variable| !variable.starts_with(b"LD_LIBRARY_PATH=")).collect();
    assert!(foreign.is_empty(), "{} variables", foreign.len());
    let limits = fs::read_to_string(child.join("limits")).expect("limits");
    for name in ["Max file size", "Max open files", "Max core file size"] {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        let values: Vec<&str> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, ["0", "0"], "{name}");
    }
}
