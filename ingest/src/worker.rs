//! Reads documents in a child process, so that a hang, a crash or a memory blow-up in a reader costs one document.
//!
//! The parent starts `program args…`, which calls [`serve_stdio`]. Both talk in frames, a length (u64, little endian)
//! and that many bytes: at the start the memory limit; then for each document its path and its bytes, and back the
//! result as JSON. The parent kills a child that is over the time limit; the kernel refuses memory over the limit, and
//! files altogether; a child gets nothing of its parent's environment, and one whose parent is gone ends itself. After a
//! failure the next document gets a new child.

use std::ffi::OsString;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};

use crate::document::{Extracted, RawDocument};
use crate::format::{self, FormatError};

/// The largest frame that is accepted: a document's text and blocks as JSON, or its bytes.
const MAX_FRAME: u64 = 4 << 30;

/// Stack of the thread that reads. Deeply nested documents make libraries recurse.
const STACK: usize = 64 << 20;

/// How often a child looks whether its parent still lives.
const PARENT_CHECK: Duration = Duration::from_millis(500);

/// The one variable of the environment that a child gets: without it a program may not start.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// How much of a child's error output is kept.
const MAX_STDERR: u64 = 64 << 10;

/// How to start a worker, and what it may use.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The program to start.
    pub program: PathBuf,
    /// Its arguments; with them it must call [`serve_stdio`] and nothing else.
    pub args: Vec<OsString>,
    /// How long one document may take.
    pub time_limit: Duration,
    /// Address space that the child may use, in bytes.
    pub memory_limit: u64,
}

impl WorkerOptions {
    /// The usual limits: 60 s for a document, 2 GiB.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            time_limit: Duration::from_secs(60),
            memory_limit: 2 << 30,
        }
    }
}

/// A child process that reads documents, one at a time. It is started with the first document.
#[derive(Debug)]
pub struct Worker {
    options: WorkerOptions,
    running: Option<Running>,
}

/// A started child.
#[derive(Debug)]
struct Running {
    child: Child,
    stdin: BufWriter<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Collects what the child says before it dies.
    stderr: JoinHandle<String>,
}

impl Worker {
    /// A worker that is not started yet.
    pub fn new(options: WorkerOptions) -> Self {
        Self { options, running: None }
    }

    /// Reads one document in the child.
    ///
    /// # Errors
    /// What the reader says, and [`FormatError::TooSlow`], [`FormatError::TooHungry`] or [`FormatError::Crashed`] where it
    /// did not come back. The worker stays usable after any of them.
    pub fn extract(&mut self, raw: &RawDocument) -> Result<Extracted, FormatError> {
        // A child may have died between two documents; that is no fault of the next one.
        for attempt in 0.. {
            let fresh = self.running.is_none();
            let running = match &mut self.running {
                Some(running) => running,
                None => {
                    self.running.insert(Running::start(&self.options).map_err(|error| crashed(&error.to_string()))?)
                }
            };
            let mut timed_out = false;
            let sent = running.send(raw);
            if sent.is_err() && !fresh && attempt == 0 && running.has_died() {
                self.running = None;
                continue;
            }
            let answer = sent.and_then(|()| running.answer(self.options.time_limit, &mut timed_out));
            return match answer {
                Ok(frame) => serde_json::from_slice::<Result<Extracted, FormatError>>(&frame)
                    .unwrap_or_else(|_| Err(crashed("its answer was not understood"))),
                Err(_) => Err(self.bury(timed_out)),
            };
        }
        Err(crashed("it could not be started"))
    }

    /// Kills the child, if one runs; the next document starts a new one.
    pub fn kill_child(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Ends a child that failed, and says why it did.
    fn bury(&mut self, timed_out: bool) -> FormatError {
        let Some(Running { mut child, stdin, stdout, stderr }) = self.running.take() else {
            return crashed("it was not running");
        };
        drop((stdin, stdout));
        // The child has died, was killed, or broke the protocol: in no case may it go on.
        let _ = child.kill();
        let status = child.wait();
        let last_words = stderr.join().unwrap_or_default();
        if timed_out {
            return FormatError::TooSlow { seconds: self.options.time_limit.as_secs() };
        }
        if last_words.contains("memory allocation of") || last_words.contains("Cannot allocate memory") {
            return FormatError::TooHungry { mebibytes: self.options.memory_limit >> 20 };
        }
        if last_words.contains("has overflowed its stack") {
            return crashed("the document is nested too deeply: out of stack");
        }
        status.map_or_else(|error| crashed(&error.to_string()), |status| crashed(&ending(status)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Running {
    fn start(options: &WorkerOptions) -> io::Result<Self> {
        let mut command = Command::new(&options.program);
        command.args(&options.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The environment may hold keys, which no reader needs; where libraries lie, the program may.
        command.env_clear().envs(std::env::var_os(LIBRARY_PATH).map(|path| (LIBRARY_PATH, path)));
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a pipe to the reader is missing");
        let mut stdin = BufWriter::new(child.stdin.take().ok_or_else(missing)?);
        let stdout = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let stderr = thread::Builder::new().name("reader-stderr".to_owned()).spawn(move || last_words(stderr))?;
        // A child that dies at once shows that with the first document.
        let _ = write_frame(&mut stdin, &options.memory_limit.to_le_bytes());
        Ok(Self { child, stdin, stdout, stderr })
    }

    /// Sends a document. The child reads all of a frame before it works, so this does not wait for the reader.
    fn send(&mut self, raw: &RawDocument) -> io::Result<()> {
        write_frame(&mut self.stdin, raw.path.as_bytes())?;
        write_frame(&mut self.stdin, &raw.bytes)?;
        self.stdin.flush()
    }

    /// Waits for the answer; after `limit` the child is killed, which ends the wait.
    fn answer(&mut self, limit: Duration, timed_out: &mut bool) -> io::Result<Vec<u8>> {
        let over = AtomicBool::new(false);
        let (child, stdout) = (&mut self.child, &mut self.stdout);
        let frame = thread::scope(|scope| {
            let (done, waiting) = mpsc::channel::<()>();
            let over = &over;
            scope.spawn(move || {
                if waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    over.store(true, Ordering::Release);
                    let _ = child.kill();
                }
            });
            let frame = read_frame(stdout);
            drop(done);
            frame
        });
        *timed_out = over.load(Ordering::Acquire);
        frame?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn has_died(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

fn crashed(how: &str) -> FormatError {
    FormatError::Crashed { how: how.to_owned() }
}

/// How a process ended, for a message.
fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("signal {signal}");
    }
    status.code().map_or_else(|| "unknown end".to_owned(), |code| format!("exit code {code}"))
}

/// Drains a child's error output and keeps its end.
fn last_words(stderr: ChildStderr) -> String {
    let mut reader = BufReader::new(stderr);
    let mut kept = Vec::new();
    loop {
        let mut part = Vec::new();
        match reader.by_ref().take(MAX_STDERR).read_to_end(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                kept.append(&mut part);
                let surplus = kept.len().saturating_sub(MAX_STDERR as usize);
                kept.drain(..surplus);
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The child's side: reads documents from standard input until it ends.
///
/// Standard output belongs to the protocol; what libraries print goes to standard error.
pub fn serve_stdio() -> io::Result<()> {
    let out = rustix::io::dup(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    end_with_parent()?;
    serve(io::stdin().lock(), std::fs::File::from(out))
}

/// Serves any pair of streams; see the module's head for what goes over them. From then on the whole process can open no
/// more files and write to none.
pub fn serve(mut input: impl Read, output: impl Write) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    let Some(limit) = read_frame(&mut input)? else { return Ok(()) };
    let limit = limit.try_into().map(u64::from_le_bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    rustix::process::setrlimit(Resource::As, limit)?;
    // No core dumps: they would hold document text. And a reader writes no file and opens none: it has its pipes. The
    // number of processes is not limited: the kernel counts those of the whole user, and a thread as one.
    for resource in [Resource::Core, Resource::Fsize, Resource::Nofile] {
        rustix::process::setrlimit(resource, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    while let Some(path) = read_frame(&mut input)? {
        let Some(bytes) = read_frame(&mut input)? else { break };
        let raw = RawDocument { path: String::from_utf8_lossy(&path).into_owned(), bytes };
        let reading =
            thread::Builder::new().name("reader".to_owned()).stack_size(STACK).spawn(move || format::extract(&raw))?;
        let result = reading.join().unwrap_or_else(|_| Err(crashed("panic")));
        write_frame(&mut output, &serde_json::to_vec(&result)?)?;
        output.flush()?;
    }
    Ok(())
}

/// Ends this process when its parent is gone, even if a reader hangs.
fn end_with_parent() -> io::Result<()> {
    let parent = rustix::process::getppid();
    thread::Builder::new().name("parent-watch".to_owned()).spawn(move || {
        while rustix::process::getppid() == parent {
            thread::sleep(PARENT_CHECK);
        }
        std::process::exit(1);
    })?;
    Ok(())
}

fn write_frame(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)
}

/// Reads a frame; `None` at the end of the stream.
fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    let mut filled = 0;
    while filled < length.len() {
        match input.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    let read = input.take(length).read_to_end(&mut bytes)?;
    if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_cut_ones_are_errors() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"abc").unwrap();
        assert_eq!(read_frame(&mut bytes.as_slice()).unwrap().as_deref(), Some(b"abc".as_slice()));
        assert!(read_frame(&mut [].as_slice()).unwrap().is_none());
        for cut in 1..bytes.len() {
            assert!(read_frame(&mut &bytes[..cut]).is_err());
        }
        assert!(read_frame(&mut [255; 8].as_slice()).is_err());
    }

    #[test]
    fn a_program_that_cannot_start_is_an_error() {
        let mut worker = Worker::new(WorkerOptions::new("no-such-program-anywhere", ["x"]));
        let raw = RawDocument { path: "a.txt".to_owned(), bytes: b"x".to_vec() };
        assert!(matches!(worker.extract(&raw), Err(FormatError::Crashed { .. })));
    }

    #[test]
    fn a_program_that_ends_or_hangs_is_named() {
        let raw = RawDocument { path: "a.txt".to_owned(), bytes: vec![b'x'; 1 << 20] };
        let run = |script: &str| {
            let options =
                WorkerOptions { time_limit: Duration::from_millis(300), ..WorkerOptions::new("sh", ["-c", script]) };
            Worker::new(options).extract(&raw).unwrap_err().to_string()
        };
        assert!(run("cat >/dev/null & kill -6 $$").contains("signal 6"));
        assert!(run("exit 3").contains("exit code 3"));
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some_and(|value| !value.is_empty()), "not run by cargo");
        assert!(run("exit $((4 + ${#CARGO_MANIFEST_DIR} + ${#HOME}))").contains("(exit code 4)"));
        assert!(run("head -c 9999 >/dev/null; echo memory allocation of 9 bytes failed >&2; exit 1").contains("MiB"));
        assert!(run("cat >/dev/null").contains("longer than"));
    }
}
