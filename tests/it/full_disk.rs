//! A disk that fills up during an ingest: an error that says what to do, what was acknowledged can still be read, and
//! with room made the same command ends where an undisturbed run would have.
//!
//! The disk is a tmpfs in a mount namespace of its own, so nothing of it is left behind whatever happens. Where neither
//! root nor a user namespace may mount one, the test says that it was skipped.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs};

use serde_json::{Value, json};

use crate::common::harness::{Ran, Scratch, places};

const NAME: &str = "full_disk::a_disk_that_fills_up_during_an_ingest_loses_nothing";
/// Where the small disk is mounted; set for the process inside of the namespace.
const DISK: &str = "FULL_DISK_TEST_AT";
const MIB: u64 = 1024 * 1024;
/// What the store keeps free beside a write (`WRITE_RESERVE` of the embedded store).
const KEPT_FREE: u64 = 64 * MIB;
/// Documents that are in before the disk fills up, and all together.
const FIRST: usize = 12;
const ALL: usize = 52;

#[test]
fn a_disk_that_fills_up_during_an_ingest_loses_nothing() {
    if let Some(disk) = env::var_os(DISK) {
        return on_a_small_disk(Path::new(&disk));
    }
    let place = tempfile::tempdir().unwrap();
    let mut refusals = String::new();
    // As root, and as anybody where user namespaces are allowed.
    for namespace in ["-m", "-rm"] {
        let probe = in_namespace(namespace, place.path(), OsStr::new("true"));
        if !probe.ok {
            refusals.push_str(&format!(" unshare {namespace}: {};", probe.stderr.trim()));
            continue;
        }
        let inside = in_namespace(namespace, place.path(), env::current_exe().unwrap().as_os_str());
        assert!(inside.ok, "{}\n{}", inside.stdout, inside.stderr);
        assert!(inside.stdout.contains("1 passed"), "the test did not run inside: {}", inside.stdout);
        return;
    }
    // Written past the test harness, which shows nothing of tests that pass.
    let _ = writeln!(io::stderr(), "SKIPPED {NAME}: no file system can be mounted here:{refusals}");
}

/// Mounts a small disk where only the program sees it, and runs it there.
fn in_namespace(namespace: &str, disk: &Path, program: &OsStr) -> Ran {
    let script = "mount -t tmpfs -o size=192m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let mut command = Command::new("unshare");
    command.args([namespace, "sh", "-c", script, "sh"]).arg(disk).arg(program).arg(NAME).env(DISK, disk);
    match command.stdin(Stdio::null()).output() {
        Ok(output) => output.into(),
        Err(error) => Ran { ok: false, code: None, stdout: String::new(), stderr: error.to_string() },
    }
}

fn on_a_small_disk(disk: &Path) {
    let scratch = Scratch::with_data(disk.join("data"));
    let (docs, data) = (scratch.docs(), scratch.data());
    let (docs, directory) = (docs.to_str().unwrap(), data.to_str().unwrap());
    for number in 0..FIRST {
        scratch.write(&format!("p{number}.md"), procedure(number));
    }
    scratch.ingest(&["--acl", "everyone"]);
    let before = Readings::take(&scratch);
    for number in FIRST..ALL {
        scratch.write(&format!("p{number}.md"), procedure(number));
    }

    // The run itself uses up what is left.
    let filler = Filler::leaving(KEPT_FREE + 400 * 1024, disk);
    let ran = scratch.run(["ingest", docs]);
    assert_stopped(&ran, directory);
    let listed = documents(&scratch);
    let pending = listed.iter().filter(|document| document["state"] == "pending").count();
    assert!(pending > 0 && pending < ALL - FIRST, "{pending} documents were begun when the disk was full");
    before.assert_still_readable(&scratch);
    filler.remove();

    // Somebody else fills it up while the run is going on.
    let free = free_on(disk);
    let child = scratch.command(["ingest", docs]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while free_on(disk) + 200 * 1024 > free {
        sleep(Duration::from_millis(5));
    }
    // What is being written at this moment still goes in; filled to the last byte, the engine would be killed.
    let filler = Filler::leaving(MIB, disk);
    assert_stopped(&child.wait_with_output().unwrap().into(), directory);
    before.assert_still_readable(&scratch);

    // To the last byte.
    let rest = Filler::leaving(0, disk);
    assert_eq!(free_on(disk), 0);
    before.assert_still_readable(&scratch);
    assert_stopped(&scratch.run(["ingest", docs]), directory);
    before.assert_still_readable(&scratch);

    // The room that was kept for this is gone too: then nothing can be opened, and the error says so.
    let reserve = data.join("reserve");
    let kept = fs::metadata(&reserve).expect("room is set aside again after each command").len();
    assert!(kept > 18 * MIB, "{kept} bytes are set aside");
    fs::remove_file(&reserve).unwrap();
    let more = Filler::leaving(0, disk);
    for args in [&["search", "leave"][..], &["documents"], &["store", "info"], &["ingest"]] {
        assert_stopped(&scratch.run(args), directory);
    }
    for filler in [filler, rest, more] {
        filler.remove();
    }

    before.assert_still_readable(&scratch);
    let report = scratch.ingest(&[]);
    assert_eq!(report["failed"], json!(0), "{report}");
    let again = scratch.ingest(&[]);
    assert_eq!((&again["unchanged"], &again["chunks"]), (&json!(ALL), &json!(0)), "{again}");

    let undisturbed = Scratch::new();
    undisturbed.run(["ingest", docs, "--acl", "everyone"]).assert_ok();
    let fresh = undisturbed.verified();
    assert!(fresh["chunks"].as_u64().unwrap() >= 2 * ALL as u64, "{fresh}");
    assert_eq!(scratch.verified(), fresh);
    let hits = |scratch: &Scratch| places(&scratch.search("requests reviewed within 17 working days", None));
    assert_eq!(hits(&scratch), hits(&undisturbed));
}

/// A text of three sections; its numbers, and the name in each sentence, are its own.
fn procedure(number: usize) -> String {
    let mut text = format!("# Procedure {}\n", name(number));
    for section in 0..3 {
        text.push_str(&format!("\n## Step {section}\n\n"));
        for line in 0..12 {
            let (amount, days) = (number * 731 + section * 97 + line * 13, (number * 7 + section * 5 + line) % 60);
            text.push_str(&format!(
                "Under {} requests above {amount} euros are reviewed within {days} working days. ",
                name(number)
            ));
        }
        text.push('\n');
    }
    text
}

fn name(number: usize) -> String {
    const SYLLABLES: [&str; 8] = ["bar", "cen", "dil", "for", "gul", "lam", "mer", "nop"];
    let syllable = |divisor: usize| SYLLABLES[number / divisor % 8];
    format!("{}{}{}ia", syllable(1), syllable(8), syllable(3))
}

/// The command gave up in good order: its own exit code, no panic, the directory and what to do.
fn assert_stopped(ran: &Ran, directory: &str) {
    ran.assert_fails_with(&[directory, "free some space", "run the same command again"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
}

fn documents(scratch: &Scratch) -> Vec<Value> {
    scratch.run(["--json", "documents"]).assert_ok().json()["documents"].as_array().unwrap().clone()
}

/// What was read of the acknowledged documents while there was room.
struct Readings {
    documents: Vec<Value>,
    quote: Value,
}

impl Readings {
    fn take(scratch: &Scratch) -> Self {
        let documents = documents(scratch);
        assert_eq!(documents.len(), FIRST);
        Self { documents, quote: Self::quote(scratch) }
    }

    fn quote(scratch: &Scratch) -> Value {
        let question = format!("When are requests under {} reviewed?", name(3));
        scratch.ask(&question, Some("user:eva"), "extract")["citations"][0].clone()
    }

    fn assert_still_readable(&self, scratch: &Scratch) {
        let listed = documents(scratch);
        for document in &self.documents {
            assert!(listed.contains(document), "{document} is not listed any more");
        }
        for number in [0, 5, FIRST - 1] {
            let hits = scratch.search(&format!("requests under {}", name(number)), Some("user:eva"));
            let uri = hits["hits"][0]["uri"].as_str().unwrap_or_default();
            assert!(uri.ends_with(&format!("/p{number}.md")), "{hits}");
        }
        assert_eq!(Self::quote(scratch), self.quote);
        let id = self.documents[0]["document_id"].as_str().unwrap();
        let text = scratch.run(["documents", "text", id, "--as", "user:eva"]).assert_ok();
        assert!(text.stdout.contains("Step 2"), "{}", text.stdout);
    }
}

fn free_on(disk: &Path) -> u64 {
    fs4::available_space(disk).unwrap()
}

/// A file that takes room away until it is removed.
struct Filler(PathBuf);

impl Filler {
    fn leaving(bytes: u64, disk: &Path) -> Self {
        let mut number = 0;
        let path = loop {
            let path = disk.join(format!("filler-{number}"));
            if !path.exists() {
                break path;
            }
            number += 1;
        };
        let mut file: File = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        let block = vec![1; 4096];
        while free_on(disk) > bytes && file.write_all(&block).is_ok() {}
        Self(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}
