-- The version of each document that an answer shows anything of. The answer is shown only while these versions are there.
CREATE TABLE message_documents (
    message_id    TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    document_id   TEXT NOT NULL,             -- of a document that may be gone
    content_hash  TEXT,                      -- NULL: of none that is known, and the answer is withheld
    PRIMARY KEY (message_id, document_id)
);
CREATE INDEX message_documents_document ON message_documents (document_id);

-- The version that a text was read from: while a document is written, its row names the next one already.
ALTER TABLE document_texts ADD COLUMN content_hash TEXT;
UPDATE document_texts SET content_hash =
    (SELECT d.content_hash FROM documents d WHERE d.id = document_id AND d.state = 'indexed');

-- What was kept before rests on the versions that are there now, as far as its quotes stand in them.
INSERT INTO message_documents (message_id, document_id, content_hash)
    SELECT shown.message_id, shown.document_id,
        CASE WHEN MIN(shown.quote IS NULL OR shown.quote = substr(t.text, shown.first + 1, shown.beyond - shown.first))
            THEN MIN(t.content_hash) END
    FROM (
        SELECT m.id AS message_id, json_extract(j.value, '$.document_id') AS document_id,
            json_extract(j.value, '$.quote') AS quote, json_extract(j.value, '$.start') AS first,
            json_extract(j.value, '$.end') AS beyond
        FROM messages m, json_each(m.answer, '$.citations') j
        UNION ALL
        SELECT m.id, json_extract(j.value, '$.document_id'), NULL, NULL, NULL
        FROM messages m, json_each(m.answer, '$.left_out') j
        UNION ALL
        SELECT m.id, json_extract(j.value, '$.document_id'), NULL, NULL, NULL
        FROM messages m, json_each(m.answer, '$.provenance.passages') j
    ) shown
    LEFT JOIN document_texts t ON t.document_id = shown.document_id
    GROUP BY shown.message_id, shown.document_id;

-- An answer goes with a document that it shows anything of; its question stays.
UPDATE messages SET answer = 'null' WHERE id IN
    (SELECT message_id FROM message_documents WHERE document_id NOT IN (SELECT id FROM documents));
