//! A data directory of its own for each test, and the binary run in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A scratch directory with `docs/` for files and `data/` for the index.
pub struct Scratch {
    directory: tempfile::TempDir,
    data: PathBuf,
}

/// What a command printed, and how it ended.
pub struct Ran {
    pub ok: bool,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// Panics unless the command failed with a message that holds all of these, and did not panic itself.
    pub fn assert_fails_with(&self, parts: &[&str]) {
        assert!(!self.ok, "the command went through:\n{}\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in the message:\n{}", self.stderr);
        }
    }

    pub fn assert_ok(self) -> Self {
        assert!(self.ok, "exit {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        Self::of(directory, data)
    }

    /// With the index elsewhere.
    pub fn with_data(data: PathBuf) -> Self {
        Self::of(tempfile::tempdir().expect("a temporary directory"), data)
    }

    fn of(directory: tempfile::TempDir, data: PathBuf) -> Self {
        let scratch = Self { directory, data };
        std::fs::create_dir(scratch.docs()).expect("docs");
        scratch
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn docs(&self) -> PathBuf {
        self.path().join("docs")
    }

    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Writes a file below `docs/`.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.docs().join(path);
        std::fs::create_dir_all(path.parent().expect("below docs")).expect("folder");
        std::fs::write(path, content).expect("file");
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.docs().join(path)).expect("file to remove");
    }

    /// The command with this data directory and no configuration of the machine's.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_intramuros"));
        command.arg("--data-dir").arg(self.data()).args(args).stdin(Stdio::null());
        command.env_remove("INTRAMUROS_CONFIG").env("RUST_BACKTRACE", "0");
        command
    }

    /// A catalogue in which the starter generator reads passages, as larger ones do: what is tested there is what they are
    /// given to read.
    pub fn catalog_of_readers(&self) -> PathBuf {
        let path = self.path().join("readers.toml");
        let catalog = include_str!("../../models/catalog.toml");
        let changed = catalog.replace("reads = \"sentences\"\n", "");
        assert_ne!(catalog, changed, "no model reads sentences");
        std::fs::write(&path, changed).expect("a catalogue");
        path
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.command(args).output().expect("the binary starts").into()
    }

    /// Runs an ingest of `docs/` and returns its report.
    pub fn ingest(&self, more: &[&str]) -> Value {
        let docs = self.docs();
        let mut args = vec!["--json", "ingest", docs.to_str().expect("UTF-8")];
        args.extend(more);
        self.run(args).assert_ok().json()["sources"][0].clone()
    }

    /// The digest of the whole index, after a check that it agrees with the ledger.
    pub fn verified(&self) -> Value {
        self.run(["--json", "store", "verify"]).assert_ok().json()
    }

    pub fn search(&self, question: &str, principals: Option<&str>) -> Value {
        self.ask_with("search", question, principals, &[])
    }

    pub fn ask(&self, question: &str, principals: Option<&str>, mode: &str) -> Value {
        self.ask_with("ask", question, principals, &["--mode", mode])
    }

    fn ask_with(&self, command: &str, question: &str, principals: Option<&str>, more: &[&str]) -> Value {
        let mut args = vec!["--json", command, question];
        if let Some(principals) = principals {
            args.extend(["--as", principals]);
        }
        args.extend(more);
        self.run(args).assert_ok().json()
    }
}

/// Document, start and score in thousandths of each hit: what two searches are compared by.
pub fn places(found: &Value) -> Vec<(String, u64, i64)> {
    let mut places = Vec::new();
    for hit in found["hits"].as_array().expect("hits") {
        let score = (hit["score"].as_f64().expect("a score") * 1000.0).round() as i64;
        let document = hit["document_id"].as_str().expect("an id").to_owned();
        places.push((document, hit["start"].as_u64().expect("a start"), score));
    }
    places
}

/// The repository's sample intranet.
pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/intranet")
}
