-- A store as the first schema wrote it: three keys, one of them revoked and one expired.
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
INSERT INTO keys VALUES ('kfirst', 'shop', 'sentor_live_aaaaaa', zeroblob(32), 'unlimited', 'predict cluster',
    1772366400000000, NULL, 1772370000000000, NULL);
INSERT INTO keys VALUES ('ksecond', 'lost', 'sentor_live_bbbbbb', randomblob(32), 'starter', 'predict',
    1772366400000001, NULL, NULL, 1772370000000000);
INSERT INTO keys VALUES ('kthird', 'trial', 'sentor_test_cccccc', randomblob(32), 'free', 'admin metrics',
    1772366400000002, 1772370000000000, NULL, NULL);
PRAGMA user_version = 1;
