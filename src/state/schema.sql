-- What the server knows beside the vectors. SQL in the subset that SQLite and PostgreSQL share; times in milliseconds since 1970.
CREATE TABLE sources (
    name        TEXT PRIMARY KEY,
    root        TEXT NOT NULL,
    readers     TEXT NOT NULL,               -- JSON array of principals
    created_ms  BIGINT NOT NULL
);

CREATE TABLE documents (
    id           TEXT PRIMARY KEY,
    source       TEXT NOT NULL,
    path         TEXT NOT NULL,
    uri          TEXT NOT NULL DEFAULT '',
    title        TEXT NOT NULL DEFAULT '',
    language     TEXT,
    page_starts  TEXT NOT NULL DEFAULT '[]', -- JSON array of character offsets
    content_hash TEXT NOT NULL,
    pipeline     TEXT NOT NULL,
    readers      TEXT NOT NULL,              -- JSON array of principals, as the index holds them
    state        TEXT NOT NULL CHECK (state IN ('pending', 'indexed', 'failed')),
    reason       TEXT,
    chunks       BIGINT NOT NULL DEFAULT 0,
    updated_ms   BIGINT NOT NULL,
    UNIQUE (source, path)
);

-- One row a reader, so that every read can be filtered in the query itself.
CREATE TABLE document_readers (
    document_id  TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    principal    TEXT NOT NULL,
    PRIMARY KEY (document_id, principal)
);
CREATE INDEX document_readers_principal ON document_readers (principal);

CREATE TABLE document_texts (
    document_id  TEXT PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
    text         TEXT NOT NULL
);

CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    source       TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'interrupted')),
    started_ms   BIGINT NOT NULL,
    finished_ms  BIGINT,
    report       TEXT,                       -- JSON
    error        TEXT
);
