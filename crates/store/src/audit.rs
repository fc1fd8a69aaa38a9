//! The audit log: one line for each change of a key and each refused call of the admin interface.
//!
//! Lines are only ever added, whole, by the server and the command line alike. They hold no key.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::iso_8601;
use crate::keys::{KeyId, KeyRecord};

/// The file's name in the data folder.
const FILE_NAME: &str = "audit.jsonl";

/// Who did something.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// Someone at the command line.
    CommandLine,
    /// The server, on its first start.
    FirstStart,
    /// The holder of a key, over HTTP.
    Key {
        /// Whose; `None` where nobody could be made out.
        id: Option<&'a KeyId>,
        /// Under which the request's log has more.
        request_id: &'a str,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A key was made.
    KeyCreated(&'a KeyRecord),
    /// A key was made that takes the place of another.
    KeyRotated {
        /// The one that will expire.
        old: &'a KeyId,
        /// Its successor.
        new: &'a KeyRecord,
    },
    /// A key was taken back.
    KeyRevoked(&'a KeyRecord),
    /// A call of the admin interface was refused.
    AdminRefused {
        /// The call's method.
        method: &'a str,
        /// The pattern of the call's path.
        route: &'a str,
        /// The key in its path, if it has one.
        id: Option<&'a KeyId>,
        /// What the refusal is called on the wire.
        code: &'a str,
    },
}

/// A place for audit lines.
pub struct AuditLog {
    out: Mutex<Box<dyn Write + Send>>,
}

/// The audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log {} for appending", .path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

impl AuditLog {
    /// Opens the log in the folder `data_dir`, for its owner alone.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or made.
    pub fn open(data_dir: &Path) -> Result<Self, AuditError> {
        let path = data_dir.join(FILE_NAME);
        let file = open_private(&path).map_err(|source| AuditError { path, source })?;
        Ok(Self::to(file))
    }

    /// A log that writes elsewhere.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self { out: Mutex::new(Box::new(out)) }
    }

    /// Adds a line. Where that fails the log of the process has it instead: what was done is done.
    pub fn write(&self, now: Timestamp, actor: Actor<'_>, event: Event<'_>) {
        let mut line = serde_json::to_vec(&Line::of(now, actor, event)).unwrap_or_default();
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // In one call, so that lines of several processes do not mix.
        if let Err(error) = out.write_all(&line).and_then(|()| out.flush()) {
            let line = String::from_utf8_lossy(&line);
            tracing::error!(%error, line = line.trim_end(), "cannot write to the audit log");
        }
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AuditLog")
    }
}

/// A line as it is written.
#[derive(Default, Serialize)]
struct Line<'a> {
    time: String,
    event: &'static str,
    actor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    key: Option<Subject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    call: Option<Call<'a>>,
}

/// The key that something was done with.
#[derive(Serialize)]
struct Subject<'a> {
    key_id: &'a str,
    name: &'a str,
    plan: &'a str,
    scopes: Vec<&'static str>,
    expires_at: Option<String>,
}

/// The call that was refused.
#[derive(Serialize)]
struct Call<'a> {
    method: &'a str,
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    error: &'a str,
}

impl<'a> Line<'a> {
    fn of(now: Timestamp, actor: Actor<'a>, event: Event<'a>) -> Self {
        let mut line = Self { time: iso_8601(now), ..Self::default() };
        line.actor = match actor {
            Actor::CommandLine => "command_line",
            Actor::FirstStart => "first_start",
            Actor::Key { id, request_id } => {
                line.actor_key_id = id.map(KeyId::as_str);
                line.request_id = Some(request_id);
                "key"
            }
        };
        (line.event, line.key) = match event {
            Event::KeyCreated(record) => ("key_created", Some(Subject::of(record))),
            Event::KeyRotated { old, new } => {
                line.replaces = Some(old.as_str());
                ("key_rotated", Some(Subject::of(new)))
            }
            Event::KeyRevoked(record) => ("key_revoked", Some(Subject::of(record))),
            Event::AdminRefused { method, route, id, code } => {
                line.call = Some(Call { method, route, key_id: id.map(KeyId::as_str), error: code });
                ("admin_refused", None)
            }
        };
        line
    }
}

impl<'a> Subject<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        Self {
            key_id: record.id.as_str(),
            name: &record.name,
            plan: &record.plan,
            scopes: record.scopes.words(),
            expires_at: record.expires_at.map(iso_8601),
        }
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::NewKey;

    #[test]
    fn lines_are_added_and_say_who_did_what() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a valid time");
        let (key, record) = NewKey::named("shop").generate(now, &mut rand::rng());
        let id = KeyId::new("kadmin");
        let by_key = Actor::Key { id: Some(&id), request_id: "r1" };
        AuditLog::open(folder.path()).expect("a log").write(now, by_key, Event::KeyCreated(&record));
        let again = AuditLog::open(folder.path()).expect("a log");
        again.write(now, Actor::CommandLine, Event::KeyRotated { old: &id, new: &record });
        let anonymous = Actor::Key { id: None, request_id: "r2" };
        let refused =
            Event::AdminRefused { method: "GET", route: "/x/{id}", id: Some(&id), code: "missing_key" };
        again.write(now, anonymous, refused);

        let text = std::fs::read_to_string(folder.path().join(FILE_NAME)).expect("the log can be read");
        assert!(!text.contains(key.expose()));
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["event"], "key_created");
        assert_eq!((&lines[0]["actor_key_id"], &lines[0]["request_id"]), (&"kadmin".into(), &"r1".into()));
        assert_eq!((&lines[1]["replaces"], &lines[1]["actor"]), (&"kadmin".into(), &"command_line".into()));
        let expected = serde_json::json!({"time": "2026-03-01T12:00:00.000Z", "event": "admin_refused",
            "actor": "key", "request_id": "r2", "method": "GET", "route": "/x/{id}",
            "key_id": "kadmin", "error": "missing_key"});
        assert_eq!(lines[2], expected);
    }
}
