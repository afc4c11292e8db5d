"""What the tables are, step by step: each migration that was ever released."""

from __future__ import annotations

from typing import Final

from watchword.adapters import sqlite_steps as steps
from watchword.ports.schema import Migration

_INITIAL: Final = """
CREATE TABLE migrations (
    number      INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    checksum    TEXT NOT NULL,
    applied_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE counters (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    epoch       INTEGER NOT NULL,
    probes      INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES (1, 0, 0);

CREATE TABLE agents (
    client_id         TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'deleted')),
    auth_methods      TEXT NOT NULL,
    grant_types       TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER,
    owner             TEXT NOT NULL,
    purpose           TEXT NOT NULL,
    labels            TEXT NOT NULL,
    parent            TEXT,
    default_resource  TEXT,
    version           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX agents_name ON agents (name) WHERE state <> 'deleted';

CREATE TABLE credentials (
    id                 TEXT PRIMARY KEY,
    client_id          TEXT NOT NULL REFERENCES agents (client_id),
    kind               TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('active', 'revoked')),
    created_at         INTEGER NOT NULL,
    label              TEXT NOT NULL,
    not_before         INTEGER,
    expires_at         INTEGER,
    last_used_at       INTEGER,
    last_used_network  TEXT NOT NULL,
    secret_hash        BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_client_id ON credentials (client_id);

CREATE TABLE resources (
    name               TEXT PRIMARY KEY,
    identifier         TEXT NOT NULL UNIQUE,
    scopes             TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    token_lifetime     INTEGER NOT NULL,
    signing_algorithm  TEXT NOT NULL,
    require_pop        INTEGER NOT NULL CHECK (require_pop IN (0, 1)),
    version            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE permissions (
    id                         TEXT PRIMARY KEY,
    client_id                  TEXT NOT NULL REFERENCES agents (client_id),
    resource                   TEXT NOT NULL REFERENCES resources (name),
    scopes                     TEXT NOT NULL,
    created_at                 INTEGER NOT NULL,
    default_scopes             TEXT NOT NULL,
    not_before                 INTEGER,
    not_after                  INTEGER,
    source_networks            TEXT NOT NULL,
    hours                      TEXT NOT NULL,
    maximum_lifetime           INTEGER,
    require_sender_constraint  INTEGER NOT NULL CHECK (require_sender_constraint IN (0, 1)),
    version                    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX permissions_client_id ON permissions (client_id);
CREATE INDEX permissions_resource ON permissions (resource);

CREATE TABLE operators (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    is_disabled  INTEGER NOT NULL CHECK (is_disabled IN (0, 1)),
    token_hash   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX operators_token_hash ON operators (token_hash) WHERE token_hash <> x'';

CREATE TABLE signing_keys (
    kid           TEXT PRIMARY KEY,
    algorithm     TEXT NOT NULL,
    state         TEXT NOT NULL,
    public_jwk    TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    activated_at  INTEGER,
    sealed        BLOB NOT NULL,
    version       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The payload is the event as it was hashed. What is searched for is read out of it, so that the two cannot disagree.
CREATE TABLE audit (
    cursor      INTEGER PRIMARY KEY,
    chain       TEXT NOT NULL,
    position    INTEGER NOT NULL,
    payload     TEXT NOT NULL,
    hash        BLOB NOT NULL,
    action      TEXT AS (payload ->> '$.action') VIRTUAL,
    outcome     TEXT AS (payload ->> '$.outcome') VIRTUAL,
    reason      TEXT AS (payload ->> '$.reason') VIRTUAL,
    actor       TEXT AS (payload ->> '$.actor') VIRTUAL,
    client_id   TEXT AS (payload ->> '$.client_id') VIRTUAL,
    request_id  TEXT AS (payload ->> '$.request_id') VIRTUAL,
    jti         TEXT AS (payload ->> '$.jti') VIRTUAL,
    UNIQUE (chain, position)
) STRICT;
CREATE INDEX audit_client_id ON audit (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX audit_request_id ON audit (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX audit_jti ON audit (jti) WHERE jti IS NOT NULL;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TABLE heads (
    chain     TEXT PRIMARY KEY,
    position  INTEGER NOT NULL,
    hash      BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER heads_no_delete BEFORE DELETE ON heads
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_continues BEFORE INSERT ON audit
    WHEN NEW.position <> 1 + ifnull((SELECT position FROM heads WHERE chain = NEW.chain), 0)
    BEGIN SELECT RAISE(ABORT, 'the audit trail has moved on'); END;
CREATE TRIGGER audit_head AFTER INSERT ON audit
    BEGIN
        INSERT INTO heads VALUES (NEW.chain, NEW.position, NEW.hash)
        ON CONFLICT (chain) DO UPDATE SET position = excluded.position, hash = excluded.hash;
    END;
"""

_IDENTITY: Final = """
CREATE TABLE identity (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    issuer       TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    restored_at  INTEGER,
    version      INTEGER NOT NULL
) STRICT;
INSERT INTO identity VALUES (1, '', 1, NULL, 1);

ALTER TABLE operators ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
UPDATE operators SET name = name || '-' || id
    WHERE EXISTS (SELECT 1 FROM operators AS other WHERE other.name = operators.name AND other.id < operators.id);
CREATE UNIQUE INDEX operators_name ON operators (name);
"""

_MARK: Final = """
-- Every commit writes the head of its chain, hardly any the identity: a write-ahead log of another database shows by its mark.
ALTER TABLE identity ADD COLUMN mark BLOB NOT NULL DEFAULT x'';
ALTER TABLE heads ADD COLUMN mark BLOB NOT NULL DEFAULT x'';
UPDATE identity SET mark = randomblob(16);
UPDATE heads SET mark = (SELECT mark FROM identity);
DROP TRIGGER audit_head;
CREATE TRIGGER audit_head AFTER INSERT ON audit
    BEGIN
        INSERT INTO heads (chain, position, hash) VALUES (NEW.chain, NEW.position, NEW.hash)
        ON CONFLICT (chain) DO UPDATE SET position = excluded.position, hash = excluded.hash;
    END;
CREATE TRIGGER heads_mark AFTER INSERT ON heads
    BEGIN UPDATE heads SET mark = (SELECT mark FROM identity) WHERE chain = NEW.chain; END;
"""

_BY_CLIENT: Final = """
-- What belongs to one client lies in one place: found in one search instead of two, in half of the pages.
CREATE TABLE clustered (
    id                 TEXT NOT NULL,
    client_id          TEXT NOT NULL REFERENCES agents (client_id),
    kind               TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('active', 'revoked')),
    created_at         INTEGER NOT NULL,
    label              TEXT NOT NULL,
    not_before         INTEGER,
    expires_at         INTEGER,
    last_used_at       INTEGER,
    last_used_network  TEXT NOT NULL,
    secret_hash        BLOB NOT NULL,
    PRIMARY KEY (client_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO clustered SELECT * FROM credentials ORDER BY client_id, id;
DROP TABLE credentials;
ALTER TABLE clustered RENAME TO credentials;
CREATE UNIQUE INDEX credentials_id ON credentials (id);

CREATE TABLE clustered (
    id                         TEXT NOT NULL,
    client_id                  TEXT NOT NULL REFERENCES agents (client_id),
    resource                   TEXT NOT NULL REFERENCES resources (name),
    scopes                     TEXT NOT NULL,
    created_at                 INTEGER NOT NULL,
    default_scopes             TEXT NOT NULL,
    not_before                 INTEGER,
    not_after                  INTEGER,
    source_networks            TEXT NOT NULL,
    hours                      TEXT NOT NULL,
    maximum_lifetime           INTEGER,
    require_sender_constraint  INTEGER NOT NULL CHECK (require_sender_constraint IN (0, 1)),
    version                    INTEGER NOT NULL,
    PRIMARY KEY (client_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO clustered SELECT * FROM permissions ORDER BY client_id, id;
DROP TABLE permissions;
ALTER TABLE clustered RENAME TO permissions;
CREATE UNIQUE INDEX permissions_id ON permissions (id);
CREATE INDEX permissions_resource ON permissions (resource);
"""

_CLUSTER: Final = """
CREATE TABLE nodes (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A row is never deleted: its term goes up for ever.
CREATE TABLE offices (
    name    TEXT PRIMARY KEY,
    holder  TEXT NOT NULL,
    term    INTEGER NOT NULL,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: Final = (
    Migration(1, "initial", _INITIAL, compatible_from=1),
    Migration(2, "identity", _IDENTITY, compatible_from=2),
    Migration(3, "mark", _MARK, compatible_from=3),
    Migration(4, "by client", _BY_CLIENT, compatible_from=4),
    Migration(5, "cluster", _CLUSTER, compatible_from=5),
    Migration(6, "keys", steps.KEYS, compatible_from=5),
    Migration(7, "compatibility", steps.COMPATIBLE, compatible_from=5),
    Migration(8, "rotation", steps.ROTATION, compatible_from=5),
    Migration(9, "custody", steps.CUSTODY, compatible_from=5),
    Migration(10, "overlap", steps.OVERLAP, compatible_from=5),
    Migration(11, "revocation", steps.REVOCATION, compatible_from=5),
)

CLUSTER: Final = 5
"""The step that made the table of the nodes."""

COMPATIBILITY: Final = 7
"""The step since which the tables say which programs may work on them, and nodes what their program knows."""

KNOWN: Final = len(MIGRATIONS)
"""The last step that this program knows."""
