//! The server as a process of its own, and a client of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use super::harness::Scratch;

/// A running server; it ends with its owner.
pub struct Serving {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub base: String,
    agent: Agent,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Panics unless it has this status.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Scratch {
    /// Starts a server on a free port and waits until it says where.
    pub fn serve(&self) -> Serving {
        self.serve_with(|_| ())
    }

    /// The same with more in its environment.
    pub fn serve_with(&self, prepare: impl FnOnce(&mut Command)) -> Serving {
        let mut command = self.command(["serve", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its first line");
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
        let Some(base) = base else { panic!("the server said `{line}` and ended: {:?}", child.wait()) };
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(300)));
        Serving { child, base, agent: config.build().into() }
    }

    /// Creates an API key for a user with groups.
    pub fn key(&self, user: &str, groups: &[&str], role: &str) -> String {
        let mut args = vec!["--json", "key", "create", "--user", user, "--role", role];
        for group in groups {
            args.extend(["--group", group]);
        }
        self.run(args).assert_ok().json()["key"].as_str().expect("the key").to_owned()
    }
}

impl Serving {
    pub fn get(&self, path: &str, key: &str) -> Reply {
        let request = self.agent.get(format!("{}{path}", self.base)).header("authorization", format!("Bearer {key}"));
        reply(request.call())
    }

    /// Without any key.
    pub fn get_unknown(&self, path: &str) -> Reply {
        reply(self.agent.get(format!("{}{path}", self.base)).call())
    }

    pub fn delete(&self, path: &str, key: &str) -> Reply {
        let request =
            self.agent.delete(format!("{}{path}", self.base)).header("authorization", format!("Bearer {key}"));
        reply(request.call())
    }

    pub fn post(&self, path: &str, key: &str, body: &Value) -> Reply {
        let request = self.agent.post(format!("{}{path}", self.base)).header("authorization", format!("Bearer {key}"));
        reply(request.send_json(body))
    }

    /// Uploads one file with its readers.
    pub fn upload(&self, key: &str, name: &str, content: &[u8], readers: &str) -> Reply {
        const BOUNDARY: &str = "----intramuros-test-boundary";
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"readers\"\r\n\r\n{readers}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let request = self
            .agent
            .post(format!("{}/api/v1/documents", self.base))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        reply(request.send(&body[..]))
    }

    /// Waits until a job has ended and returns it.
    pub fn finished(&self, job: &str, key: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(240);
        loop {
            let record = self.get(&format!("/api/v1/jobs/{job}"), key).expect(200).json();
            if !["queued", "running"].contains(&record["state"].as_str().expect("a state")) {
                return record;
            }
            assert!(Instant::now() < deadline, "the job does not end: {record}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills it like a power cut.
    pub fn kill(mut self) {
        self.child.kill().expect("a running server");
        self.child.wait().expect("its end");
    }

    /// Asks it to end, and returns whether it did so well within a minute.
    pub fn stop(mut self) -> bool {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill");
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Its process id, for looking at its memory.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn reply(outcome: Result<Response<ureq::Body>, ureq::Error>) -> Reply {
    let response = outcome.expect("an answer of the server");
    let status = response.status().as_u16();
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut bytes = Vec::new();
    response.into_body().into_reader().read_to_end(&mut bytes).expect("a body");
    Reply { status, headers, body: String::from_utf8_lossy(&bytes).into_owned() }
}
