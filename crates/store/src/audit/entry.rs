//! An audit entry: actor and event as one JSON object.

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::iso_8601;
use crate::keys::{KeyId, KeyRecord};

/// The actor of an event.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// Someone at the command line.
    CommandLine,
    /// The server, on its first start.
    FirstStart,
    /// The holder of a key, over HTTP.
    Key {
        /// The key; `None` if none was identified.
        id: Option<&'a KeyId>,
        /// Identifies the request in the log.
        request_id: &'a str,
    },
    /// The server, for itself.
    Server,
}

/// An audited event.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A key was made.
    KeyCreated(&'a KeyRecord),
    /// A successor of a key was made.
    KeyRotated {
        /// The key that will expire.
        old: &'a KeyId,
        /// Its successor.
        new: &'a KeyRecord,
    },
    /// A key was revoked.
    KeyRevoked(&'a KeyRecord),
    /// A call of the admin interface was refused.
    AdminRefused {
        /// The method of the call.
        method: &'a str,
        /// The pattern of the path.
        route: &'a str,
        /// The key in the path, if there is one.
        id: Option<&'a KeyId>,
        /// The error code of the answer.
        code: &'a str,
    },
    /// Refused calls of the admin interface that have no line of their own.
    RefusalsCounted {
        /// The time of the first.
        since: Timestamp,
        /// Calls without a valid key.
        without_key: u64,
        /// Calls with a valid key.
        with_key: u64,
    },
}

/// An audit entry as JSON, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry(String);

impl AuditEntry {
    /// Builds the entry of an event.
    pub fn new(now: Timestamp, actor: Actor<'_>, event: Event<'_>) -> Self {
        // Texts and numbers always serialise.
        Self(serde_json::to_string(&Line::new(now, actor, event)).unwrap_or_default())
    }

    /// Takes the text of a stored entry.
    pub fn from_json(json: String) -> Self {
        Self(json)
    }

    /// Returns the entry as JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// The members of an entry, in order.
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
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

/// The key that was changed.
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

#[derive(Serialize)]
struct Counts {
    since: String,
    without_key: u64,
    with_key: u64,
}

impl<'a> Line<'a> {
    fn new(now: Timestamp, actor: Actor<'a>, event: Event<'a>) -> Self {
        let mut line = Self { time: iso_8601(now), ..Self::default() };
        line.actor = match actor {
            Actor::CommandLine => "command_line",
            Actor::FirstStart => "first_start",
            Actor::Server => "server",
            Actor::Key { id, request_id } => {
                line.actor_key_id = id.map(KeyId::as_str);
                line.request_id = Some(request_id);
                "key"
            }
        };
        line.event = match event {
            Event::KeyCreated(record) => {
                line.key = Some(Subject::new(record));
                "key_created"
            }
            Event::KeyRotated { old, new } => {
                line.replaces = Some(old.as_str());
                line.key = Some(Subject::new(new));
                "key_rotated"
            }
            Event::KeyRevoked(record) => {
                line.key = Some(Subject::new(record));
                "key_revoked"
            }
            Event::AdminRefused { method, route, id, code } => {
                line.call = Some(Call { method, route, key_id: id.map(KeyId::as_str), error: code });
                "admin_refused"
            }
            Event::RefusalsCounted { since, without_key, with_key } => {
                line.counts = Some(Counts { since: iso_8601(since), without_key, with_key });
                "admin_refusals_counted"
            }
        };
        line
    }
}

impl<'a> Subject<'a> {
    fn new(record: &'a KeyRecord) -> Self {
        Self {
            key_id: record.id.as_str(),
            name: &record.name,
            plan: &record.plan,
            scopes: record.scopes.names(),
            expires_at: record.ends_at().map(iso_8601),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::NewKey;

    fn value(entry: &AuditEntry) -> serde_json::Value {
        serde_json::from_str(entry.as_json()).expect("an entry is JSON")
    }

    #[test]
    fn entries_name_the_actor_and_the_event() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a valid time");
        let (key, record) = NewKey::named("shop").generate(now, &mut rand::rng());
        let id = KeyId::new("kadmin");
        let by_key = Actor::Key { id: Some(&id), request_id: "r1" };
        let created = AuditEntry::new(now, by_key, Event::KeyCreated(&record));
        assert!(!created.as_json().contains(key.expose()));
        let created = value(&created);
        assert_eq!(created["event"], "key_created");
        assert_eq!((&created["actor_key_id"], &created["request_id"]), (&"kadmin".into(), &"r1".into()));
        let rotated = AuditEntry::new(now, Actor::CommandLine, Event::KeyRotated { old: &id, new: &record });
        let rotated = value(&rotated);
        assert_eq!((&rotated["replaces"], &rotated["actor"]), (&"kadmin".into(), &"command_line".into()));
        let anonymous = Actor::Key { id: None, request_id: "r2" };
        let refused =
            Event::AdminRefused { method: "GET", route: "/x/{id}", id: Some(&id), code: "missing_key" };
        let expected = serde_json::json!({"time": "2026-03-01T12:00:00.000Z", "event": "admin_refused",
            "actor": "key", "request_id": "r2", "method": "GET", "route": "/x/{id}",
            "key_id": "kadmin", "error": "missing_key"});
        assert_eq!(value(&AuditEntry::new(now, anonymous, refused)), expected);
    }
}
