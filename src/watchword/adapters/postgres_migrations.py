"""What the tables are in PostgreSQL, step by step: each migration that was ever released.

Times and durations are whole microseconds, lists and maps JSON text, as in the SQLite store; text is compared by its bytes.
"""

from __future__ import annotations

from typing import Final

from watchword.ports.schema import Migration

_INITIAL: Final = """
CREATE TABLE counters (
    id      bigint PRIMARY KEY CHECK (id = 1),
    events  bigint NOT NULL,
    epoch   bigint NOT NULL,
    probes  bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO counters VALUES (1, 0, 0, 0);

CREATE TABLE identity (
    id           bigint PRIMARY KEY CHECK (id = 1),
    issuer       text NOT NULL,
    generation   bigint NOT NULL,
    restored_at  bigint,
    version      bigint NOT NULL
);
INSERT INTO identity VALUES (1, '', 1, NULL, 1);

CREATE TABLE agents (
    client_id         text COLLATE "C" PRIMARY KEY,
    name              text COLLATE "C" NOT NULL,
    state             text NOT NULL CHECK (state IN ('active', 'suspended', 'deleted')),
    auth_methods      text NOT NULL,
    grant_types       text NOT NULL,
    created_at        bigint NOT NULL,
    expires_at        bigint,
    owner             text NOT NULL,
    purpose           text NOT NULL,
    labels            text NOT NULL,
    parent            text,
    default_resource  text,
    version           bigint NOT NULL
);
CREATE UNIQUE INDEX agents_name ON agents (name) WHERE state <> 'deleted';

CREATE TABLE credentials (
    id                 text COLLATE "C" PRIMARY KEY,
    client_id          text COLLATE "C" NOT NULL REFERENCES agents (client_id),
    kind               text NOT NULL,
    state              text NOT NULL CHECK (state IN ('active', 'revoked')),
    created_at         bigint NOT NULL,
    label              text NOT NULL,
    not_before         bigint,
    expires_at         bigint,
    last_used_at       bigint,
    last_used_network  text NOT NULL,
    secret_hash        bytea NOT NULL
);
CREATE INDEX credentials_client_id ON credentials (client_id);

CREATE TABLE resources (
    name               text COLLATE "C" PRIMARY KEY,
    identifier         text COLLATE "C" NOT NULL UNIQUE,
    scopes             text NOT NULL,
    created_at         bigint NOT NULL,
    token_lifetime     bigint NOT NULL,
    signing_algorithm  text NOT NULL,
    require_pop        bigint NOT NULL CHECK (require_pop IN (0, 1)),
    version            bigint NOT NULL
);

CREATE TABLE permissions (
    id                         text COLLATE "C" PRIMARY KEY,
    client_id                  text COLLATE "C" NOT NULL REFERENCES agents (client_id),
    resource                   text COLLATE "C" NOT NULL REFERENCES resources (name),
    scopes                     text NOT NULL,
    created_at                 bigint NOT NULL,
    default_scopes             text NOT NULL,
    not_before                 bigint,
    not_after                  bigint,
    source_networks            text NOT NULL,
    hours                      text NOT NULL,
    maximum_lifetime           bigint,
    require_sender_constraint  bigint NOT NULL CHECK (require_sender_constraint IN (0, 1)),
    version                    bigint NOT NULL
);
CREATE INDEX permissions_client_id ON permissions (client_id);
CREATE INDEX permissions_resource ON permissions (resource);

CREATE TABLE operators (
    id           text COLLATE "C" PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    role         text NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint,
    is_disabled  bigint NOT NULL CHECK (is_disabled IN (0, 1)),
    token_hash   bytea NOT NULL,
    version      bigint NOT NULL
);
CREATE UNIQUE INDEX operators_token_hash ON operators (token_hash) WHERE token_hash <> '';

CREATE TABLE signing_keys (
    kid           text COLLATE "C" PRIMARY KEY,
    algorithm     text NOT NULL,
    state         text NOT NULL,
    public_jwk    text NOT NULL,
    created_at    bigint NOT NULL,
    activated_at  bigint,
    sealed        bytea NOT NULL,
    version       bigint NOT NULL
);

-- The payload is the event as it was hashed. The other columns are what of it is searched for.
CREATE TABLE audit (
    cursor      bigint PRIMARY KEY,
    chain       text COLLATE "C" NOT NULL,
    position    bigint NOT NULL,
    payload     text NOT NULL,
    hash        bytea NOT NULL,
    action      text COLLATE "C",
    outcome     text COLLATE "C",
    reason      text COLLATE "C",
    actor       text COLLATE "C",
    client_id   text COLLATE "C",
    request_id  text COLLATE "C",
    jti         text COLLATE "C",
    UNIQUE (chain, position)
);
CREATE INDEX audit_client_id ON audit (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX audit_request_id ON audit (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX audit_jti ON audit (jti) WHERE jti IS NOT NULL;

-- A chain has one writer at a time: whoever it belongs to. Who takes it over shuts the one before out.
CREATE TABLE heads (
    chain     text COLLATE "C" PRIMARY KEY,
    position  bigint NOT NULL,
    hash      bytea NOT NULL,
    owner     text NOT NULL,
    used_at   timestamptz NOT NULL
) WITH (fillfactor = 20);

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER heads_append_only BEFORE DELETE OR TRUNCATE ON heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
"""

_REPLAY: Final = """
CREATE TABLE replay_claims (
    key    bytea PRIMARY KEY,
    until  bigint NOT NULL
);
CREATE INDEX replay_claims_by_end ON replay_claims (until);
CREATE TABLE replay_state (
    id       bigint PRIMARY KEY CHECK (id = 1),
    life     text NOT NULL,
    horizon  bigint NOT NULL,
    swept    bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO replay_state VALUES (1, '', 0, 0);
"""

_CLUSTER: Final = """
CREATE TABLE nodes (
    id          text COLLATE "C" PRIMARY KEY,
    name        text COLLATE "C" NOT NULL,
    version     text NOT NULL,
    started_at  bigint NOT NULL,
    seen_at     bigint NOT NULL
) WITH (fillfactor = 50);

-- A row is never deleted: its term goes up for ever.
CREATE TABLE offices (
    name    text COLLATE "C" PRIMARY KEY,
    holder  text COLLATE "C" NOT NULL,
    term    bigint NOT NULL,
    until   bigint NOT NULL
) WITH (fillfactor = 50);
"""

_KEYS: Final = """
CREATE TABLE trusted_issuers (
    name text COLLATE "C" PRIMARY KEY, issuer text COLLATE "C" NOT NULL UNIQUE, created_at bigint NOT NULL,
    jwks_uri text NOT NULL, jwks text NOT NULL, algorithms text NOT NULL, audience text NOT NULL, version bigint NOT NULL
);
ALTER TABLE agents ADD COLUMN dpop_bound bigint NOT NULL DEFAULT 0, ADD COLUMN mtls_bound bigint NOT NULL DEFAULT 0,
    ADD COLUMN concessions text NOT NULL DEFAULT '[]';
ALTER TABLE credentials ADD COLUMN details text NOT NULL DEFAULT '{}', ADD COLUMN trusted_issuer text COLLATE "C";
CREATE INDEX credentials_trusted_issuer ON credentials (trusted_issuer) WHERE trusted_issuer IS NOT NULL;
"""

_COMPATIBILITY: Final = """
-- Whether an older program may go on is for the newer one to say, in a place where the older one reads.
ALTER TABLE counters ADD COLUMN compatible_from bigint NOT NULL DEFAULT 3;
ALTER TABLE nodes ADD COLUMN schema bigint NOT NULL DEFAULT 3;
"""

_HOME: Final = """
-- Where this generation of the store began: a copy that is put back has come to stand elsewhere.
CREATE TABLE home (id bigint PRIMARY KEY CHECK (id = 1), place text NOT NULL);
INSERT INTO home
SELECT 1, (SELECT system_identifier FROM pg_control_system())::text || ' ' || 'watchword.audit'::regclass::oid::text;
"""

_ROTATION: Final = """
-- When a key entered each state.
ALTER TABLE signing_keys ADD COLUMN published_at bigint, ADD COLUMN retiring_at bigint, ADD COLUMN retired_at bigint,
    ADD COLUMN compromised_at bigint, ADD COLUMN wanted_at bigint;
-- Two that sign with one algorithm, if a race has made them: the newer one has signed.
UPDATE signing_keys SET state = 'retiring', retiring_at = activated_at
    WHERE state = 'active' AND EXISTS (
        SELECT 1 FROM signing_keys AS other WHERE other.algorithm = signing_keys.algorithm AND other.state = 'active'
        AND (other.created_at, other.kid) > (signing_keys.created_at, signing_keys.kid)
    );
UPDATE signing_keys SET published_at = coalesce(activated_at, created_at) WHERE state IN ('published', 'active', 'retiring');
CREATE UNIQUE INDEX signing_keys_alone ON signing_keys (algorithm, state) WHERE state IN ('published', 'active');
"""

_CUSTODY: Final = """
ALTER TABLE signing_keys ADD COLUMN custody text NOT NULL DEFAULT 'local';
"""

_OVERLAP: Final = """
ALTER TABLE credentials ADD COLUMN replaced_by text COLLATE "C", ADD COLUMN silence bigint,
    ADD COLUMN uses bigint NOT NULL DEFAULT 0;
CREATE INDEX credentials_by_end ON credentials (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX credentials_by_silence ON credentials (expires_at, id) WHERE silence IS NOT NULL;
"""

_REVOCATION: Final = """
-- Whoever serves a resource may ask about its tokens.
ALTER TABLE agents ADD COLUMN serves text NOT NULL DEFAULT '[]';
CREATE TABLE revocations (
    sequence bigint NOT NULL UNIQUE, kind text COLLATE "C" NOT NULL, target text COLLATE "C" NOT NULL, cutoff bigint NOT NULL,
    created_at bigint NOT NULL, expires_at bigint NOT NULL, status bigint, PRIMARY KEY (kind, target)
);
CREATE INDEX revocations_by_end ON revocations (expires_at);
-- What was given out last, and goes up for ever.
CREATE TABLE revocation_counters (id bigint PRIMARY KEY CHECK (id = 1), sequence bigint NOT NULL, status_blocks bigint NOT NULL);
INSERT INTO revocation_counters VALUES (1, 0, 0);
"""

MIGRATIONS: Final = (
    Migration(1, "initial", _INITIAL, compatible_from=1),
    Migration(2, "replay", _REPLAY, compatible_from=2),
    Migration(3, "cluster", _CLUSTER, compatible_from=3),
    Migration(4, "keys", _KEYS, compatible_from=3),
    Migration(5, "compatibility", _COMPATIBILITY, compatible_from=3),
    Migration(6, "home", _HOME, compatible_from=3),
    Migration(7, "rotation", _ROTATION, compatible_from=3),
    Migration(8, "custody", _CUSTODY, compatible_from=3),
    Migration(9, "overlap", _OVERLAP, compatible_from=3),
    Migration(10, "revocation", _REVOCATION, compatible_from=3),
)

CLUSTER: Final = 3
"""The step that made the table of the nodes."""

COMPATIBILITY: Final = 5
"""The step since which the tables say which programs may work on them, and nodes what their program knows."""

KNOWN: Final = len(MIGRATIONS)
"""The last step that this program knows."""
