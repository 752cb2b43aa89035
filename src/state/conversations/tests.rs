use intramuros_ingest::document::ContentHash;
use intramuros_ingest::sync::Settled;

use super::*;

#[test]
fn a_long_question_is_cut_between_words() {
    assert_eq!(title_of("  How many\n days? "), "How many days?");
    let title = title_of(&"word ".repeat(40));
    assert!(title.ends_with("word…") && title.chars().count() <= 81, "{title}");
    assert_eq!(title_of(&"ñ".repeat(200)).chars().count(), 81);
}

const TEXT: &str = "It ends in June.";

async fn opened() -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(&directory.path().join("state.sqlite")).await.unwrap();
    (directory, state)
}

/// Brings a version of a document in, readable by the group legal.
async fn bring_in(state: &State, document: DocumentId, text: &str) {
    let hash = ContentHash::of(text.as_bytes()).0;
    for sql in [
        format!(
            "INSERT INTO documents (id, source, path, content_hash, pipeline, readers, state, updated_ms)
             VALUES ('{document}', 'test', '{document}', '{hash}', '', '[\"group:legal\"]', 'indexed', 0)
             ON CONFLICT DO UPDATE SET content_hash = excluded.content_hash"
        ),
        format!(
            "INSERT INTO document_texts (document_id, text, content_hash) VALUES ('{document}', '{text}', '{hash}')
             ON CONFLICT DO UPDATE SET text = excluded.text, content_hash = excluded.content_hash"
        ),
        format!("INSERT INTO document_readers VALUES ('{document}', 'group:legal') ON CONFLICT DO NOTHING"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&state.pool).await.unwrap();
    }
}

/// An answer that quotes the end of [`TEXT`].
fn quoting(document: DocumentId) -> Answer {
    serde_json::from_value(serde_json::json!({
        "answer": "The lease ends in June. [1]", "abstained": false, "unsupported": [], "left_out": [], "model": null,
        "citations": [{ "n": 1, "document_id": document, "title": "Lease", "uri": "", "page": null, "start": 11,
            "end": 16, "quote": "June." }],
        "usage": { "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0 },
        "timings_ms": { "retrieve": 0.0, "prefill": 0.0, "decode": 0.0, "total": 0.0 },
        "mode": "extract", "fell_back": false, "language": "en",
        "provenance": { "embedder": "", "prompt_sha256": null, "seed": null, "passages": [{ "document_id": document,
            "start": 0, "end": 16, "sha256": ContentHash::of(TEXT.as_bytes()) }] }
    }))
    .unwrap()
}

/// The answers of a conversation as legal reads them.
async fn answers(state: &State, conversation: Uuid) -> Vec<Option<Answer>> {
    let legal = Caller::new(["group:legal".parse().unwrap()]);
    let messages = state.messages(&legal, "ana", conversation).await.unwrap();
    assert!(messages.iter().all(|message| message.withheld == message.answer.is_none()));
    messages.into_iter().map(|message| message.answer).collect()
}

#[tokio::test]
async fn an_answer_belongs_to_a_version_of_its_document() {
    let (_directory, state) = opened().await;
    let document = DocumentId::new("test", "a.md");
    let answer = quoting(document);
    bring_in(&state, document, TEXT).await;
    let conversation = state.create_conversation("ana", "").await.unwrap().unwrap().conversation_id;
    state.add_message("ana", Thread::Of(conversation), "first", &answer).await.unwrap().unwrap();
    assert_eq!(answers(&state, conversation).await, [Some(answer.clone())]);
    bring_in(&state, document, "It ends in May.").await;
    // The document changed while this one was made.
    state.add_message("ana", Thread::Of(conversation), "second", &answer).await.unwrap().unwrap();
    assert_eq!(answers(&state, conversation).await, [None, None]);
    bring_in(&state, document, TEXT).await;
    assert_eq!(answers(&state, conversation).await, [Some(answer.clone()), None]);
    // A quote that stands there, of a passage that does not.
    bring_in(&state, document, "So ends in June.").await;
    state.add_message("ana", Thread::Of(conversation), "third", &answer).await.unwrap().unwrap();
    assert_eq!(answers(&state, conversation).await, [None, None, None]);
}

#[tokio::test]
async fn what_rests_on_a_deleted_document_is_deleted() {
    let (_directory, state) = opened().await;
    let document = DocumentId::new("test", "a.md");
    let answer = quoting(document);
    bring_in(&state, document, TEXT).await;
    let conversation = state.create_conversation("ana", "").await.unwrap().unwrap().conversation_id;
    state.add_message("ana", Thread::Of(conversation), "first", &answer).await.unwrap().unwrap();
    state.settle(&[Settled::Gone(document)], &[]).await.unwrap();
    // Deleted while this one was made.
    state.add_message("ana", Thread::Of(conversation), "second", &answer).await.unwrap().unwrap();
    let kept: Vec<(String, String)> =
        sqlx::query_as("SELECT question, answer FROM messages ORDER BY position").fetch_all(&state.pool).await.unwrap();
    assert_eq!(kept, [("first".into(), "null".into()), ("second".into(), "null".into())]);
    bring_in(&state, document, TEXT).await;
    assert_eq!(answers(&state, conversation).await, [None, None]);
}

#[tokio::test]
async fn what_was_kept_before_answers_had_versions_rests_on_those_of_now() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.sqlite");
    let state = State::open(&path).await.unwrap();
    let ids = ["same.md", "changed.md", "gone.md"].map(|path| DocumentId::new("test", path));
    bring_in(&state, ids[0], TEXT).await;
    bring_in(&state, ids[1], "It ends in May, not before.").await;
    let conversation = state.create_conversation("ana", "").await.unwrap().unwrap().conversation_id;
    // As the version before had it.
    for (position, id) in ids.iter().enumerate() {
        sqlx::query("INSERT INTO messages VALUES ($1, $2, $3, 'q', $4, 0)")
            .bind(Uuid::new_v4().to_string())
            .bind(conversation.to_string())
            .bind(position as i64)
            .bind(to_json(&quoting(*id)))
            .execute(&state.pool)
            .await
            .unwrap();
    }
    sqlx::raw_sql(
        "DROP TABLE message_documents; ALTER TABLE document_texts DROP COLUMN content_hash;
         DROP TABLE devices; DROP INDEX documents_title;
         UPDATE schema_version SET version = 2",
    )
    .execute(&state.pool)
    .await
    .unwrap();
    state.close().await;

    let state = State::open(&path).await.unwrap();
    assert_eq!(answers(&state, conversation).await, [Some(quoting(ids[0])), None, None]);
    let kept: Vec<(bool,)> =
        sqlx::query_as("SELECT answer <> 'null' FROM messages ORDER BY position").fetch_all(&state.pool).await.unwrap();
    assert_eq!(kept, [(true,), (true,), (false,)]);
    bring_in(&state, ids[0], "Another version").await;
    assert_eq!(answers(&state, conversation).await, [None, None, None]);
    state.close().await;
}

#[tokio::test]
async fn neither_a_conversation_nor_the_list_of_them_grows_without_a_bound() {
    let (_directory, state) = opened().await;
    let answer = Answer { citations: Vec::new(), ..quoting(DocumentId::new("test", "a.md")) };
    let answer = Answer { provenance: Default::default(), ..answer };
    let add = |thread| state.add_message("ana", thread, "q", &answer);
    let kept = add(Thread::New).await.unwrap().unwrap();
    let fill = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_MESSAGES} - 2)
         INSERT INTO messages SELECT 'm' || i, '{0}', i, 'q', 'null', 0 FROM n;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_CONVERSATIONS} - 2)
         INSERT INTO conversations SELECT 'c' || i, 'ana', '', 0, 0 FROM n",
        kept.conversation
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(fill)).execute(&state.pool).await.unwrap();
    let thread = Thread::Of(kept.conversation);
    assert!(add(thread).await.unwrap().is_some());
    assert_eq!(add(thread).await.unwrap(), None);
    assert_eq!(state.message_count(kept.conversation).await.unwrap(), MAX_MESSAGES);

    assert!(add(Thread::New).await.unwrap().is_some());
    assert_eq!(add(Thread::New).await.unwrap(), None);
    assert_eq!(state.create_conversation("ana", "").await.unwrap(), None);
    assert_eq!(state.conversation_count("ana").await.unwrap(), MAX_CONVERSATIONS);
    assert!(state.create_conversation("rosa", "").await.unwrap().is_some());
}

#[tokio::test]
async fn a_conversation_is_its_owners_and_rights_taken_away_take_the_history() {
    let (_directory, state) = opened().await;
    let document = DocumentId::new("test", "a.md");
    bring_in(&state, document, TEXT).await;
    let answer = quoting(document);

    let conversation = state.create_conversation("ana", "").await.unwrap().unwrap().conversation_id;
    let message = state
        .add_message("ana", Thread::Of(conversation), "When does the lease end?", &answer)
        .await
        .unwrap()
        .unwrap()
        .message;
    assert_eq!(state.add_message("rosa", Thread::Of(conversation), "x", &answer).await.unwrap(), None);
    assert_eq!(state.conversation("rosa", conversation).await.unwrap(), None);
    assert_eq!(
        state.conversations("ana", &Page { after: None, limit: 1 }).await.unwrap()[0].title,
        "When does the lease end?"
    );

    let legal = Caller::new(["group:legal".parse().unwrap()]);
    let read = state.messages(&legal, "ana", conversation).await.unwrap();
    assert_eq!((read[0].answer.as_ref(), read[0].withheld), (Some(&answer), false));
    let withheld = state.messages(&Caller::new([]), "ana", conversation).await.unwrap();
    assert_eq!((withheld[0].answer.as_ref(), withheld[0].withheld), (None, true));
    assert!(state.messages(&legal, "rosa", conversation).await.unwrap().is_empty());

    assert!(!state.rate("rosa", message, Rating::Up, "").await.unwrap());
    assert!(state.rate("ana", message, Rating::Up, "").await.unwrap());
    assert!(state.rate("ana", message, Rating::Down, "old").await.unwrap());
    assert_eq!(state.messages(&legal, "ana", conversation).await.unwrap()[0].rating, Some(Rating::Down));

    assert!(!state.delete_conversation("rosa", conversation).await.unwrap());
    assert!(state.delete_conversation("ana", conversation).await.unwrap());
    assert!(state.messages(&legal, "ana", conversation).await.unwrap().is_empty());
    state.close().await;
}
