-- A store as the third schema wrote it: the three keys of the first schema.
CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        entry TEXT NOT NULL
    ) STRICT;
CREATE TABLE audit_position (position INTEGER NOT NULL) STRICT;
INSERT INTO "audit_position" VALUES(0);
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
, account TEXT NOT NULL DEFAULT '', revision INTEGER NOT NULL DEFAULT 0, replaced_by TEXT, retires_at INTEGER) STRICT;
INSERT INTO "keys" VALUES('kfirst','shop','sentor_live_aaaaaa',X'0000000000000000000000000000000000000000000000000000000000000000','unlimited','predict cluster',1772366400000000,NULL,1772370000000000,NULL,'kfirst',2,NULL,NULL);
INSERT INTO "keys" VALUES('ksecond','lost','sentor_live_bbbbbb',X'9670FD7AD67A90BD56849DE4D21ED16DEBDB35AA9983FE187AFD98B7A507E3EC','starter','predict',1772366400000001,NULL,NULL,1772370000000000,'ksecond',3,NULL,NULL);
INSERT INTO "keys" VALUES('kthird','trial','sentor_test_cccccc',X'AD94D285A30A30FEE8388CBE01A164D0D1FCB6DC0BDE5D0C1F6B9080875B6E48','free','admin metrics',1772366400000002,1772370000000000,NULL,NULL,'kthird',4,NULL,NULL);
CREATE TABLE keys_revision (revision INTEGER NOT NULL, removed_at INTEGER NOT NULL DEFAULT 0, store_id TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "keys_revision" VALUES(4,0,'2A0044404821382145F48908C1DCEFB9');
CREATE TABLE recent_requests (
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    requests INTEGER NOT NULL
) STRICT;
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
CREATE INDEX keys_by_revision ON keys (revision);
CREATE TRIGGER keys_added AFTER INSERT ON keys BEGIN
    UPDATE keys_revision SET revision = revision + 1;
    UPDATE keys SET revision = (SELECT revision FROM keys_revision) WHERE id = NEW.id;
END;
CREATE TRIGGER keys_removed AFTER DELETE ON keys
    BEGIN UPDATE keys_revision SET revision = revision + 1, removed_at = revision + 1; END;
CREATE INDEX usage_by_day ON usage (day);
CREATE INDEX recent_requests_by_time ON recent_requests (at);
CREATE TRIGGER keys_changed
        AFTER UPDATE OF name, digest, plan, scopes, expires_at, revoked_at, account, replaced_by, retires_at
        ON keys BEGIN
        UPDATE keys_revision SET revision = revision + 1;
        UPDATE keys SET revision = (SELECT revision FROM keys_revision) WHERE id = NEW.id;
    END;
PRAGMA user_version = 3;
PRAGMA application_id = 1397050964;
