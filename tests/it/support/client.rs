//! An HTTP client for tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A client of one server, with one key or none.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    key: Option<String>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| {
            panic!("no JSON ({error}) under status {}: {}", self.status, String::from_utf8_lossy(&self.bytes))
        })
    }

    /// The error code.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or("none").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Client {
    pub(crate) fn new(base: &str, key: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_mins(1)))
            .build();
        Self { agent: config.into(), base: base.to_owned(), key: key.map(str::to_owned) }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// Returns the answer, or `None` without one.
    pub(crate) fn try_get(&self, path: &str) -> Option<u16> {
        let answer = self.agent.get(format!("{}{path}", self.base)).call();
        answer.ok().map(|answer| answer.status().as_u16())
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, Vec::new())
    }

    /// Posts bytes with the content type JSON.
    pub(crate) fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.post_with(path, &[("content-type", "application/json")], body)
    }

    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        self.request("POST", path, headers, body.into())
    }

    /// Scores documents.
    pub(crate) fn predict(&self, query: &str, docs: &Value) -> Answer {
        self.post(&format!("/api/predicts{query}"), json!({ "docs": docs }).to_string())
    }

    /// Sends any method.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = if body.is_empty() && method != "POST" {
            self.agent.run(request.body(()).expect("a valid request"))
        } else {
            self.agent.run(request.body(body).expect("a valid request"))
        };
        let mut answer = answer.expect("the server answers");
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let bytes =
            answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("the body arrives whole");
        Answer { status: answer.status().as_u16(), headers, bytes }
    }
}
