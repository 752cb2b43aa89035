-- The id of the index that `documents` describes, in one row.
CREATE TABLE described_index (
    index_id      TEXT NOT NULL
);

-- What the server adds: people and their keys, conversations, and jobs that wait their turn.
CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT,                      -- PHC string (argon2id); NULL: signs in nowhere
    role          TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    created_ms    BIGINT NOT NULL
);

CREATE TABLE user_groups (
    user_name     TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    group_name    TEXT NOT NULL,
    PRIMARY KEY (user_name, group_name)
);

CREATE TABLE api_keys (
    id            TEXT PRIMARY KEY,
    secret_hash   TEXT NOT NULL UNIQUE,      -- SHA-256 of the secret, which is random and long
    user_name     TEXT NOT NULL,
    groups        TEXT,                      -- JSON array; NULL: the groups of the local user at each request
    role          TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    label         TEXT NOT NULL DEFAULT '',
    created_ms    BIGINT NOT NULL,
    expires_ms    BIGINT
);

CREATE TABLE sessions (
    token_hash    TEXT PRIMARY KEY,          -- SHA-256 of the cookie's value
    user_name     TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    csrf_token    TEXT NOT NULL,
    expires_ms    BIGINT NOT NULL
);

CREATE TABLE conversations (
    id            TEXT PRIMARY KEY,
    user_name     TEXT NOT NULL,
    title         TEXT NOT NULL,
    created_ms    BIGINT NOT NULL,
    updated_ms    BIGINT NOT NULL
);
CREATE INDEX conversations_user ON conversations (user_name, updated_ms);

CREATE TABLE messages (
    id              TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    position        BIGINT NOT NULL,
    question        TEXT NOT NULL,
    answer          TEXT NOT NULL,           -- JSON, as `ask` returned it
    created_ms      BIGINT NOT NULL,
    UNIQUE (conversation_id, position)
);

CREATE TABLE feedback (
    message_id    TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    rating        TEXT NOT NULL CHECK (rating IN ('up', 'down')),
    comment       TEXT NOT NULL DEFAULT '',
    updated_ms    BIGINT NOT NULL
);

ALTER TABLE jobs RENAME TO jobs_1;
CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    source       TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'interrupted')),
    request      TEXT,                       -- JSON; what a server has to do, and goes on with after a restart
    requested_by TEXT,
    queued_ms    BIGINT NOT NULL,
    started_ms   BIGINT,
    finished_ms  BIGINT,
    report       TEXT,                       -- JSON
    error        TEXT
);
INSERT INTO jobs (id, kind, source, state, queued_ms, started_ms, finished_ms, report, error)
    SELECT id, kind, source, state, started_ms, started_ms, finished_ms, report, error FROM jobs_1;
DROP TABLE jobs_1;
CREATE INDEX jobs_queued ON jobs (state, queued_ms);
