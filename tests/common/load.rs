//! Many clients at once: searches, questions with quoted and with written answers, and uploads, for as long as it is said.
//!
//! `cargo bench --bench load` runs it for two minutes and prints figures; a test for some seconds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use super::harness::{Scratch, samples};
use super::serving::{Reply, Serving, reply};

/// One client in so many does nothing but upload.
const UPLOADERS: usize = 20;
/// One request in so many of the others asks; the rest search.
const ASKS: usize = 4;
/// How long an uploader rests after each upload: people bring documents in now and then, not all the time.
const REST: Duration = Duration::from_secs(1);
/// The longest that a client waits before it tries again, whatever `Retry-After` says.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// How much.
pub struct Load {
    pub clients: usize,
    pub lasts: Duration,
    /// Between two looks at the server's memory.
    pub look_every: Duration,
}

/// What came of it.
#[derive(Default)]
pub struct Figures {
    /// By what was asked for.
    pub kinds: BTreeMap<&'static str, Kind>,
    /// Seconds since the begin, and what the server then had in memory.
    pub memory: Vec<(f64, Memory)>,
    /// Seconds that all of it took.
    pub took: f64,
    /// Answers that the API's description does not allow.
    pub undocumented: Vec<String>,
    /// Connections that broke off.
    pub broken: Vec<String>,
}

/// Resident memory of a process, MiB.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// What it has written.
    pub own: f64,
    /// Mapped files: the system has them in memory as long as nobody else needs the room.
    pub mapped: f64,
}

/// One kind of request.
#[derive(Default)]
pub struct Kind {
    pub statuses: BTreeMap<u16, usize>,
    /// Milliseconds of those that succeeded.
    pub ms: Vec<f64>,
}

impl Figures {
    /// How many answers had such a status.
    pub fn count(&self, wanted: impl Fn(u16) -> bool) -> usize {
        let statuses = self.kinds.values().flat_map(|kind| &kind.statuses);
        statuses.filter(|(status, _)| wanted(**status)).map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: Self) {
        for (name, kind) in other.kinds {
            let own = self.kinds.entry(name).or_default();
            for (status, count) in kind.statuses {
                *own.statuses.entry(status).or_default() += count;
            }
            own.ms.extend(kind.ms);
        }
        self.undocumented.extend(other.undocumented);
        self.broken.extend(other.broken);
    }
}

/// The sample intranet served, from `data` where it is indexed there already, with a key for each of three people; the last
/// one is an admin.
pub fn served(data: Option<PathBuf>) -> (Scratch, Serving, Vec<String>) {
    let scratch = data.map_or_else(Scratch::new, Scratch::with_data);
    let docs = samples().join("docs");
    scratch.run(["ingest", docs.to_str().expect("UTF-8")]).assert_ok();
    let keys = vec![
        scratch.key("rosa", &[], "member"),
        scratch.key("ana", &["legal"], "member"),
        scratch.key("marta", &["hr"], "admin"),
    ];
    let serving = scratch.serve();
    (scratch, serving, keys)
}

/// Puts the load on.
pub fn run(serving: &Serving, keys: &[String], load: &Load) -> Figures {
    let questions = questions();
    let begun = Instant::now();
    let over = AtomicBool::new(false);
    let mut all = Figures::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..load.clients)
            .map(|number| {
                let (questions, over) = (&questions, &over);
                let key = if number % UPLOADERS == 0 { keys.last() } else { keys.get(number % keys.len()) };
                let client = Client::new(serving, number, key.expect("a key"));
                scope.spawn(move || client.run(questions, over))
            })
            .collect();
        while begun.elapsed() < load.lasts {
            all.memory.push((begun.elapsed().as_secs_f64(), resident(serving.id())));
            let left = load.lasts.saturating_sub(begun.elapsed());
            thread::sleep(left.min(load.look_every));
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            all.add(client.join().expect("a client"));
        }
    });
    all.took = begun.elapsed().as_secs_f64();
    all.memory.push((all.took, resident(serving.id())));
    all
}

fn questions() -> Vec<String> {
    let lines = fs::read_to_string(samples().join("questions.jsonl")).expect("the sample questions");
    let question = |line: &str| -> Value { serde_json::from_str(line).expect("a question") };
    lines.lines().map(|line| question(line)["question"].as_str().expect("its text").to_owned()).collect()
}

/// Resident memory of a process.
fn resident(process: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the server runs");
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024.0
    };
    Memory { own: mib("RssAnon:"), mapped: mib("RssFile:") }
}

struct Client {
    agent: Agent,
    base: String,
    bearer: String,
    number: usize,
    figures: Figures,
}

impl Client {
    fn new(serving: &Serving, number: usize, key: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(150)));
        let (agent, base) = (config.build().into(), serving.base.clone());
        Self { agent, base, bearer: format!("Bearer {key}"), number, figures: Figures::default() }
    }

    fn run(mut self, questions: &[String], over: &AtomicBool) -> Figures {
        for turn in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let question = &questions[(self.number * 31 + turn) % questions.len()];
            let begun = Instant::now();
            let (kind, outcome) = if self.number.is_multiple_of(UPLOADERS) {
                ("upload", self.upload(turn))
            } else if turn % ASKS == ASKS - 1 {
                let (kind, mode) =
                    if (turn / ASKS).is_multiple_of(2) { ("quote", "extract") } else { ("write", "generate") };
                (kind, self.post("/api/v1/ask", &json!({ "question": question, "mode": mode })))
            } else {
                ("search", self.post("/api/v1/search", &json!({ "question": question })))
            };
            let ms = begun.elapsed().as_secs_f64() * 1000.0;
            match outcome {
                Ok(reply) => self.note(kind, &reply, ms, over),
                Err(error) => self.figures.broken.push(format!("{kind}: {error}")),
            }
        }
        self.figures
    }

    fn note(&mut self, kind: &'static str, reply: &Reply, ms: f64, over: &AtomicBool) {
        let own = self.figures.kinds.entry(kind).or_default();
        *own.statuses.entry(reply.status).or_default() += 1;
        match reply.status {
            200 => own.ms.push(ms),
            202 => {
                own.ms.push(ms);
                rest(REST, over);
            }
            429 => {
                let wait = reply.header("retry-after").and_then(|seconds| seconds.parse().ok());
                let code = serde_json::from_str::<Value>(&reply.body).ok().map(|body| body["code"] == "busy");
                if wait.is_none() || code != Some(true) {
                    self.figures.undocumented.push(format!("{kind}: 429 {:?} {}", reply.headers, reply.body));
                }
                rest(Duration::from_secs(wait.unwrap_or(1)).min(MOST_WAIT), over);
            }
            other => self.figures.undocumented.push(format!("{kind}: {other} {}", reply.body)),
        }
    }

    fn post(&self, path: &str, body: &Value) -> io::Result<Reply> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("authorization", &self.bearer);
        let response = request.send_json(body).map_err(io::Error::other)?;
        Ok(reply(Ok(response)))
    }

    /// The next version of this client's one document.
    fn upload(&self, turn: usize) -> io::Result<Reply> {
        const BOUNDARY: &str = "----intramuros-load-boundary";
        let number = self.number;
        let body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"readers\"\r\n\r\neveryone\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"load-{number}.md\"\r\n\r\n\
             # Depot {number}\n\nThe gate of depot {number} opens at {turn} minutes past seven.\n\r\n--{BOUNDARY}--\r\n"
        );
        let request = self
            .agent
            .post(format!("{}/api/v1/documents", self.base))
            .header("authorization", &self.bearer)
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        let response = request.send(body.as_bytes()).map_err(io::Error::other)?;
        Ok(reply(Ok(response)))
    }
}

fn rest(time: Duration, over: &AtomicBool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
}
