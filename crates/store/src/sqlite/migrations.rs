//! The schemas of the SQLite file, each as the steps from the one before.
//!
//! A released migration is never changed. `tests/data/schema-N.sql` has a file of each earlier schema, which a test opens.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a file as a store of Sentor, in SQLite's header: "SENT".
pub(super) const APPLICATION_ID: i64 = 0x5345_4E54;

/// Each brings a file from the schema with its index to the next.
///
/// Times are microseconds since 1970, and days are ISO dates in UTC. `keys_revision` tells a running server cheaply that
/// keys changed, and `keys.revision` which. The triggers leave `last_used_at` out, which changes all the time.
/// A chunk's `state` is 0 for ready, 1 for leased and 2 for done; `free_at` is when it can be claimed.
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
    "
    ALTER TABLE keys ADD COLUMN replaced_by TEXT;
    ALTER TABLE keys ADD COLUMN retires_at INTEGER;
    DROP TRIGGER keys_changed;
    CREATE TRIGGER keys_changed
        AFTER UPDATE OF name, digest, plan, scopes, expires_at, revoked_at, account, replaced_by, retires_at
        ON keys BEGIN
        UPDATE keys_revision SET revision = revision + 1;
        UPDATE keys SET revision = (SELECT revision FROM keys_revision) WHERE id = NEW.id;
    END;
    ALTER TABLE keys_revision ADD COLUMN store_id TEXT NOT NULL DEFAULT '';
    UPDATE keys_revision SET store_id = hex(randomblob(16));
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        entry TEXT NOT NULL
    ) STRICT;
    CREATE TABLE audit_position (position INTEGER NOT NULL) STRICT;
    INSERT INTO audit_position VALUES (0);
",
    "
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        plan TEXT NOT NULL,
        spec TEXT NOT NULL,
        priority INTEGER NOT NULL,
        status TEXT NOT NULL,
        ending TEXT,
        failure TEXT,
        created_at INTEGER NOT NULL,
        started_at INTEGER,
        paused_at INTEGER,
        paused_for INTEGER NOT NULL,
        finished_at INTEGER,
        expires_at INTEGER NOT NULL,
        keep_results INTEGER NOT NULL,
        input_bytes INTEGER NOT NULL,
        split_bytes INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        is_split INTEGER NOT NULL,
        succeeded INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        result_bytes INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        lease_until INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX jobs_by_account ON jobs (account, id);
    CREATE INDEX jobs_active ON jobs (id) WHERE finished_at IS NULL;
    CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;
    CREATE TABLE job_chunks (
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        first_row INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        input_row INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        free_at INTEGER NOT NULL DEFAULT 0,
        attempt INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        succeeded INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        result_object TEXT,
        result_bytes INTEGER NOT NULL DEFAULT 0,
        result_sha256 TEXT NOT NULL DEFAULT '',
        error_object TEXT,
        PRIMARY KEY (job, first_row)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX job_chunks_open ON job_chunks (job, first_row) WHERE state < 2;
    CREATE TABLE job_keys (
        account TEXT NOT NULL,
        key TEXT NOT NULL,
        digest TEXT NOT NULL,
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (account, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX job_keys_by_job ON job_keys (job);
    CREATE TABLE job_accounts (
        account TEXT PRIMARY KEY,
        served_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
];

/// Returns the schema that this program writes.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsuitable {
    /// A newer schema.
    TooNew(i64),
    /// A database of another program.
    Foreign,
}

/// Brings the file up to the newest schema, all steps or none. Leaves an unsuitable file as it is.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), Unsuitable>> {
    // The usual case first: a start should not have to wait for another process that writes.
    if let Some(done) = check(connection)? {
        return Ok(done);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have come first.
    if let Some(done) = check(&transaction)? {
        return Ok(done);
    }
    let found = version(&transaction)?;
    for (version, migration) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// Returns `None` if steps are missing.
fn check(connection: &Connection) -> rusqlite::Result<Option<Result<(), Unsuitable>>> {
    let found = version(connection)?;
    let application_id = application_id(connection)?;
    if application_id != APPLICATION_ID && (application_id != 0 || found > LAST_UNMARKED) {
        return Ok(Some(Err(Unsuitable::Foreign)));
    }
    Ok(match found - newest() {
        0 => Some(Ok(())),
        1.. => Some(Err(Unsuitable::TooNew(found))),
        _ => None,
    })
}

/// The last schema whose files have no application identifier.
const LAST_UNMARKED: i64 = 2;

/// Returns the application identifier of the file.
pub(super) fn application_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
