//! The schemas that the SQLite file has had, each as the steps that lead to it from the one before.
//!
//! A migration that was released is never changed, and `tests/data/schema-N.sql` holds a file of each schema
//! that a test opens.

use rusqlite::{Connection, TransactionBehavior};

/// Each brings a file from the schema of its index to the next.
///
/// Times are microseconds since 1970, and days are ISO dates in UTC. `keys_revision` lets a running server see
/// cheaply that keys changed, and `keys.revision` which; the triggers leave `last_used_at` out, which changes all
/// the time.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        prefix TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        plan TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        last_used_at INTEGER,
        revoked_at INTEGER
    ) STRICT;
    CREATE TABLE keys_revision (revision INTEGER NOT NULL) STRICT;
    INSERT INTO keys_revision VALUES (1);
    CREATE TRIGGER keys_added AFTER INSERT ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1; END;
    CREATE TRIGGER keys_removed AFTER DELETE ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1; END;
    CREATE TRIGGER keys_changed
        AFTER UPDATE OF name, digest, plan, scopes, expires_at, revoked_at ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1; END;
",
    "
    ALTER TABLE keys ADD COLUMN account TEXT NOT NULL DEFAULT '';
    UPDATE keys SET account = id;
    ALTER TABLE keys ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX keys_by_revision ON keys (revision);
    ALTER TABLE keys_revision ADD COLUMN removed_at INTEGER NOT NULL DEFAULT 0;
    DROP TRIGGER keys_added;
    DROP TRIGGER keys_removed;
    DROP TRIGGER keys_changed;
    CREATE TRIGGER keys_added AFTER INSERT ON keys BEGIN
        UPDATE keys_revision SET revision = revision + 1;
        UPDATE keys SET revision = (SELECT revision FROM keys_revision) WHERE id = NEW.id;
    END;
    CREATE TRIGGER keys_removed AFTER DELETE ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1, removed_at = revision + 1; END;
    CREATE TRIGGER keys_changed
        AFTER UPDATE OF name, digest, plan, scopes, expires_at, revoked_at, account ON keys BEGIN
        UPDATE keys_revision SET revision = revision + 1;
        UPDATE keys SET revision = (SELECT revision FROM keys_revision) WHERE id = NEW.id;
    END;
    CREATE TABLE usage (
        account TEXT NOT NULL,
        day TEXT NOT NULL,
        requests INTEGER NOT NULL,
        documents INTEGER NOT NULL,
        characters INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        entities INTEGER NOT NULL,
        PRIMARY KEY (account, day)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_by_day ON usage (day);
    CREATE TABLE recent_requests (
        at INTEGER NOT NULL,
        account TEXT NOT NULL,
        requests INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX recent_requests_by_time ON recent_requests (at);
",
];

/// The schema that this program writes.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the file up to the newest schema, all steps or none, and returns the schema that it had. A file of
/// a newer schema is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let found = version(connection)?;
    // The usual case: a server that starts should not have to wait for another's writing.
    if found >= newest() {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have come first.
    let found = version(&transaction)?;
    for (version, migration) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(found)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
