//! The command line works through the server that has the data directory, and tells the same as without one.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::harness::{Ran, Scratch};

/// What a run said, without what differs from one run to the next: times, and what a model still had in its cache.
#[derive(Debug, PartialEq)]
struct Said {
    code: Option<i32>,
    json: Vec<Value>,
    text: String,
    errors: String,
}

impl From<Ran> for Said {
    fn from(ran: Ran) -> Self {
        let lines: Result<Vec<Value>, _> = ran.stdout.lines().map(serde_json::from_str).collect();
        let (mut json, mut text) = (Vec::new(), String::new());
        match lines {
            Ok(lines) => json = lines,
            Err(_) => text = ran.stdout,
        }
        json.iter_mut().for_each(without_times);
        Self { code: ran.code, json, text, errors: ran.stderr }
    }
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["took_ms", "timings_ms", "cached_tokens"].contains(&name.as_str()));
            fields.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}

fn filled() -> Scratch {
    let scratch = Scratch::new();
    scratch.write(
        "leave.md",
        "# Leave\n\nEverybody has 25 days of annual leave. Up to 5 days are carried over until March.\n",
    );
    scratch.write("vacaciones.md", "# Vacaciones\n\nEl personal tiene 22 días laborables de vacaciones al año.\n");
    scratch.write("lease/.access.toml", "readers = [\"group:legal\"]\n");
    scratch.write("lease/quay.md", "# Quayside lease\n\nNotice for the break option is due on 30 June 2027.\n");
    scratch.ingest(&["--acl", "everyone"]);
    scratch
}

/// Texts that keep the embedder busy for a while.
fn fill_slowly(scratch: &Scratch, folder: &str, files: usize) {
    for file in 0..files {
        let mut text = format!("# Report {file}\n\n");
        for line in 0..40 {
            text.push_str(&format!(
                "Section {line} of report {file} says that {} parts left the store.\n\n",
                file * line
            ));
        }
        scratch.write(&format!("{folder}/{file}.md"), text);
    }
}

/// Starts an ingest of a folder below `docs/` and does not wait for it.
fn begin_ingest(scratch: &Scratch, folder: &str) -> Child {
    let folder = scratch.docs().join(folder);
    let mut command = scratch.command([OsStr::new("--json"), OsStr::new("ingest"), folder.as_os_str()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn end(child: Child) -> Ran {
    child.wait_with_output().expect("its end").into()
}

/// Waits until the latest job has this state.
fn wait_for_job(scratch: &Scratch, state: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let jobs = scratch.run(["--json", "jobs"]).assert_ok().json();
        if jobs["jobs"][0]["state"] == state {
            return;
        }
        assert!(Instant::now() < deadline, "no job is {state}: {jobs}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_command_says_the_same_with_and_without_a_server() {
    let scratch = filled();
    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    let id_of = |path: &str| {
        let documents = listed["documents"].as_array().unwrap();
        documents.iter().find(|record| record["path"] == path).unwrap()["document_id"].as_str().unwrap().to_owned()
    };
    let job = scratch.run(["--json", "jobs"]).assert_ok().json()["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    let (leave, lease) = (id_of("leave.md"), id_of("lease/quay.md"));
    let nobody = "00000000-0000-5000-8000-000000000000";
    let batch = scratch.path().join("questions.txt");
    std::fs::write(&batch, "How many days of leave?\n¿Cuántos días de vacaciones?\n").unwrap();
    let batch = batch.to_str().unwrap();
    let missing = scratch.path().join("no such folder");
    let missing = missing.to_str().unwrap();
    let docs = scratch.docs();
    let docs = docs.to_str().unwrap();
    let question = "How many days of annual leave do I have?";

    let reading: &[&[&str]] = &[
        &["--json", "search", question],
        &["search", question, "-k", "2"],
        &["--json", "search", "break option of the lease", "--as", "user:rosa"],
        &["--json", "search", "break option of the lease", "--as", "user:ana,group:legal"],
        &["search", "--batch", batch],
        &["--json", "ask", question, "--mode", "extract"],
        &["--json", "ask", question],
        &["ask", question],
        &["ask", question, "--mode", "extract", "--as", "user:rosa"],
        &["ask", "--batch", batch, "--mode", "extract"],
        &["--json", "ask", ""],
        &["documents"],
        &["--json", "documents"],
        &["--json", "documents", "list", "--as", "user:rosa"],
        &["documents", "show", &leave],
        &["--json", "documents", "show", &leave],
        &["documents", "show", &lease, "--as", "user:rosa"],
        &["documents", "show", nobody],
        &["documents", "text", &leave],
        &["--json", "documents", "text", &lease, "--as", "user:ana,group:legal"],
        &["documents", "text", &lease, "--as", "user:rosa"],
        &["documents", "forget", "no such source"],
        &["jobs"],
        &["--json", "jobs"],
        &["--json", "jobs", &job],
        &["feedback"],
        &["--json", "feedback"],
        &["jobs", nobody],
        &["ingest", missing],
    ];
    let changing: &[&[&str]] = &[
        &["--json", "ingest", docs],
        &["--json", "ingest", docs, "--acl", "group:staff"],
        &["--json", "ingest", docs, "--acl", "everyone"],
        &["--json", "ingest"],
    ];
    let run = |commands: &[&[&str]]| -> Vec<Said> {
        commands.iter().map(|command| Said::from(scratch.run(command.iter()))).collect()
    };
    let compare = |commands: &[&[&str]], with: &[Said], without: &[Said]| {
        for ((command, with), without) in commands.iter().zip(with).zip(without) {
            assert_eq!(with, without, "{command:?}");
        }
    };
    let without = run(reading);
    let server = scratch.serve();
    compare(reading, &run(reading), &without);
    let refused = without.iter().filter(|said| said.code != Some(0)).count();
    assert_eq!(refused, 7, "{without:#?}");

    // Each changes something, and all of them together nothing.
    let with = run(changing);
    assert!(with.iter().all(|said| said.code == Some(0)), "{with:#?}");
    assert!(server.stop());
    compare(changing, &with, &run(changing));

    let server = scratch.serve();
    let forgotten = scratch.run(["--json", "documents", "forget", docs]).assert_ok().json();
    assert_eq!(forgotten, json!({ "forgotten": docs, "documents": 3 }));
    assert!(server.stop());
    assert_eq!(scratch.run(["--json", "documents"]).assert_ok().json()["documents"], json!([]));
    assert!(!scratch.data().join("socket").exists());
}

#[test]
fn other_commands_are_told_who_has_the_directory() {
    let scratch = filled();
    let server = scratch.serve();
    let process = format!("process {}", server.id());
    for command in [&["store", "info"][..], &["bench"], &["serve", "--listen", "127.0.0.1:0"]] {
        scratch.run(command).assert_fails_with(&[&process, "intramuros serve"]);
    }
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(scratch.data()), mode(scratch.data().join("socket"))), (0o700, 0o600));

    server.kill();
    assert!(scratch.data().join("socket").exists(), "a killed server leaves its socket");
    assert_eq!(scratch.search("annual leave", None)["hits"][0]["title"], "Leave");
    let server = scratch.serve();
    assert_eq!(scratch.search("annual leave", None)["hits"][0]["title"], "Leave");
    assert!(server.stop());
}

#[test]
fn an_ingest_through_the_server_waits_its_turn_and_ends_with_its_caller() {
    let scratch = Scratch::new();
    fill_slowly(&scratch, "many", 150);
    fill_slowly(&scratch, "few", 1);
    let server = scratch.serve();

    let first = begin_ingest(&scratch, "many");
    wait_for_job(&scratch, "running");
    let second = begin_ingest(&scratch, "few");
    std::thread::sleep(Duration::from_millis(500));
    Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    let first = end(first);
    first.assert_fails_with(&["stopping after the current batch", "interrupted; run the same command again"]);
    assert_eq!(first.json()["sources"][0]["interrupted"], true);
    assert!(first.json()["sources"][0]["new"].as_u64().unwrap() < 150);
    let second = end(second).assert_ok();
    assert!(second.stderr.contains("waits for its turn"), "{}", second.stderr);
    assert_eq!(second.json()["sources"][0]["new"], 1);

    let mut killed = begin_ingest(&scratch, "many");
    wait_for_job(&scratch, "running");
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_for_job(&scratch, "interrupted");

    // A server that ends takes the ingest back as well, and what was committed stays.
    let cut_off = begin_ingest(&scratch, "many");
    wait_for_job(&scratch, "running");
    assert!(server.stop());
    end(cut_off).assert_fails_with(&["interrupted; run the same command again"]);
    let whole = end(begin_ingest(&scratch, "many")).assert_ok().json();
    let report = &whole["sources"][0];
    assert_eq!(report["new"].as_u64().unwrap() + report["unchanged"].as_u64().unwrap(), 150);
    scratch.run(["store", "verify"]).assert_ok();
}

#[test]
fn a_key_made_while_the_server_runs_counts_at_once() {
    let scratch = filled();
    let server = scratch.serve();
    let key = scratch.key("ana", &["legal"], "member");
    let paths = |key: &str| {
        let listed = server.get("/api/v1/documents", key).expect(200).json();
        listed["documents"].as_array().unwrap().len()
    };
    assert_eq!(paths(&key), 3);
    let keys = scratch.run(["--json", "key", "list"]).assert_ok().json();
    scratch.run(["key", "revoke", keys["keys"][0]["id"].as_str().unwrap()]).assert_ok();
    server.get("/api/v1/documents", &key).expect(401);
}

#[test]
fn a_data_directory_of_a_long_name_has_a_socket_too() {
    let scratch = Scratch::new();
    let data = scratch.path().join("d".repeat(200));
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_intramuros"));
        command.arg("--data-dir").arg(&data).args(args).env_remove("INTRAMUROS_CONFIG").stdin(Stdio::null());
        command
    };
    let mut server = run(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(data.join("socket").exists(), "{line}");
    Ran::from(run(&["jobs"]).output().unwrap()).assert_ok();
    Ran::from(run(&["store", "info"]).output().unwrap()).assert_fails_with(&["intramuros serve"]);
    Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(server.wait().unwrap().success());
    assert!(!data.join("socket").exists());
}

#[test]
fn nonsense_on_the_socket_is_refused_and_harms_nobody() {
    let scratch = filled();
    let server = scratch.serve();
    let refusal = |said: &[u8]| {
        let mut stream = UnixStream::connect(scratch.data().join("socket")).unwrap();
        stream.write_all(said).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["error"].as_str().unwrap().to_owned()
    };
    assert!(refusal(b"GET / HTTP/1.1\r\n\r\n").contains("the server got no call"));
    assert!(refusal(b"{\"version\":\"0.0.1\",\"call\":{\"search\":1}}\n").contains("this command is 0.0.1"));
    let ours = json!({ "version": env!("CARGO_PKG_VERSION"), "call": { "drop_everything": {} } });
    assert!(refusal(format!("{ours}\n").as_bytes()).contains("does not know this call"));
    assert!(refusal(format!("{ours}").as_bytes()).contains("line feed"));
    assert!(refusal(&vec![b'x'; (1 << 20) + 1]).contains("up to 1048576 bytes"));

    let mut silent = UnixStream::connect(scratch.data().join("socket")).unwrap();
    scratch.run(["jobs"]).assert_ok();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut said = String::new();
    silent.read_to_string(&mut said).unwrap();
    assert!(said.contains("waited too long"), "{said}");
    assert!(server.stop());
}
