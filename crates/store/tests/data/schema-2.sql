-- A store as the second schema wrote it: the three keys of the first schema.
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
, account TEXT NOT NULL DEFAULT '', revision INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX keys_by_revision ON keys (revision);
CREATE TABLE keys_revision (revision INTEGER NOT NULL, removed_at INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO keys_revision VALUES (1, 0);
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
INSERT INTO keys (id, account, name, prefix, digest, plan, scopes, created_at, expires_at, last_used_at, revoked_at)
VALUES ('kfirst', 'kfirst', 'shop', 'sentor_live_aaaaaa', zeroblob(32), 'unlimited', 'predict cluster',
    1772366400000000, NULL, 1772370000000000, NULL),
    ('ksecond', 'ksecond', 'lost', 'sentor_live_bbbbbb', randomblob(32), 'starter', 'predict',
    1772366400000001, NULL, NULL, 1772370000000000),
    ('kthird', 'kthird', 'trial', 'sentor_test_cccccc', randomblob(32), 'free', 'admin metrics',
    1772366400000002, 1772370000000000, NULL, NULL);
PRAGMA user_version = 2;
