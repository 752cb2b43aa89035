-- Browsers that people signed in with before: they are not kept out by others who guess.
CREATE TABLE devices (
    token_hash    TEXT PRIMARY KEY,          -- SHA-256 of the cookie's value
    user_name     TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_ms    BIGINT NOT NULL
);

-- Lists go by title.
CREATE INDEX documents_title ON documents (title, id);
