"""The later migrations of the SQLite store, in their order: ``sqlite_migrations.py`` numbers them."""

from __future__ import annotations

from typing import Final

KEYS: Final = """
-- Ways in that need no secret, and whose word is taken for them.
CREATE TABLE trusted_issuers (
    name        TEXT PRIMARY KEY,
    issuer      TEXT NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL,
    jwks_uri    TEXT NOT NULL,
    jwks        TEXT NOT NULL,
    algorithms  TEXT NOT NULL,
    audience    TEXT NOT NULL,
    version     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE agents ADD COLUMN dpop_bound INTEGER NOT NULL DEFAULT 0 CHECK (dpop_bound IN (0, 1));
ALTER TABLE agents ADD COLUMN mtls_bound INTEGER NOT NULL DEFAULT 0 CHECK (mtls_bound IN (0, 1));
ALTER TABLE agents ADD COLUMN concessions TEXT NOT NULL DEFAULT '[]';
ALTER TABLE credentials ADD COLUMN details TEXT NOT NULL DEFAULT '{}';
ALTER TABLE credentials ADD COLUMN trusted_issuer TEXT;
CREATE INDEX credentials_trusted_issuer ON credentials (trusted_issuer) WHERE trusted_issuer IS NOT NULL;
"""

COMPATIBLE: Final = """
-- Whether an older program may go on is for the newer one to say, in a place where the older one reads.
ALTER TABLE counters ADD COLUMN compatible_from INTEGER NOT NULL DEFAULT 5;
ALTER TABLE nodes ADD COLUMN schema INTEGER NOT NULL DEFAULT 5;
"""

ROTATION: Final = """
-- When a key entered each state.
ALTER TABLE signing_keys ADD COLUMN published_at INTEGER; ALTER TABLE signing_keys ADD COLUMN retiring_at INTEGER;
ALTER TABLE signing_keys ADD COLUMN retired_at INTEGER; ALTER TABLE signing_keys ADD COLUMN compromised_at INTEGER;
ALTER TABLE signing_keys ADD COLUMN wanted_at INTEGER;
-- Two that sign with one algorithm, if a race has made them: the newer one has signed.
UPDATE signing_keys SET state = 'retiring', retiring_at = activated_at
    WHERE state = 'active' AND EXISTS (SELECT 1 FROM signing_keys AS other WHERE other.algorithm = signing_keys.algorithm
        AND other.state = 'active' AND (other.created_at, other.kid) > (signing_keys.created_at, signing_keys.kid));
UPDATE signing_keys SET published_at = coalesce(activated_at, created_at) WHERE state IN ('published', 'active', 'retiring');
CREATE UNIQUE INDEX signing_keys_alone ON signing_keys (algorithm, state) WHERE state IN ('published', 'active');
"""

CUSTODY: Final = """
ALTER TABLE signing_keys ADD COLUMN custody TEXT NOT NULL DEFAULT 'local';
"""

OVERLAP: Final = """
ALTER TABLE credentials ADD COLUMN replaced_by TEXT;
ALTER TABLE credentials ADD COLUMN silence INTEGER;
ALTER TABLE credentials ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
CREATE INDEX credentials_by_end ON credentials (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX credentials_by_silence ON credentials (expires_at, id) WHERE silence IS NOT NULL;
"""

REVOCATION: Final = """
-- Whoever serves a resource may ask about its tokens.
ALTER TABLE agents ADD COLUMN serves TEXT NOT NULL DEFAULT '[]';
CREATE TABLE revocations (
    sequence    INTEGER NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    target      TEXT NOT NULL,
    cutoff      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    status      INTEGER,
    PRIMARY KEY (kind, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_end ON revocations (expires_at);
-- What was given out last, and goes up for ever.
CREATE TABLE revocation_counters (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    sequence       INTEGER NOT NULL,
    status_blocks  INTEGER NOT NULL
) STRICT;
INSERT INTO revocation_counters VALUES (1, 0, 0);
"""
