//! A browser as far as the server sees it.

use serde_json::{Value, json};
use ureq::Agent;

use super::serving::{Reply, reply};

/// A browser as far as sessions go: it keeps its cookie and knows its token.
pub struct Browser<'a> {
    base: &'a str,
    agent: Agent,
    cookie: String,
    pub token: String,
}

impl<'a> Browser<'a> {
    pub fn new(base: &'a str) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { base, agent, cookie: String::new(), token: String::new() }
    }

    pub fn sign_in(&mut self, user: &str, password: &str) -> Reply {
        let request = self.agent.post(format!("{}/api/v1/session", self.base));
        let came = reply(request.send_json(json!({ "user": user, "password": password })));
        if came.status == 200 {
            let set = came.header("set-cookie").expect("a cookie");
            self.cookie = set.split(';').next().expect("its value").to_owned();
            self.token = came.json()["csrf_token"].as_str().expect("a token").to_owned();
        }
        came
    }

    pub fn who(&self) -> Reply {
        let request = self.agent.get(format!("{}/api/v1/session", self.base)).header("cookie", &self.cookie);
        reply(request.call())
    }

    pub fn get(&self, path: &str) -> Reply {
        reply(self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie).call())
    }

    pub fn post(&self, path: &str, body: &Value, more: &[(&str, &str)]) -> Reply {
        let mut request = self.agent.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        reply(request.send_json(body))
    }

    pub fn sign_out(&self) -> Reply {
        let request = self.agent.delete(format!("{}/api/v1/session", self.base));
        reply(request.header("cookie", &self.cookie).header("x-csrf-token", &self.token).call())
    }
}
