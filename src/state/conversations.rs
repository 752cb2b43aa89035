//! Conversations: a person's questions and the answers they got, and what they thought of them.
//!
//! Everything is looked up by its owner. An answer is given back only while each document that it rests on, or names, is
//! the version that it was made from and may still be read by the caller: rights that were taken away take the history with
//! them, and so does a new version. What rests on a document that is deleted is deleted too, but for the question.

use std::collections::BTreeSet;
use std::ops::Range;

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::{ContentHash, DocumentId};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::documents::{MAY_READ, principals};
use super::{State, StateError, from_json, now_ms, to_json};
use crate::answer::Answer;

/// Messages of one conversation; a new one is begun then.
pub const MAX_MESSAGES: i64 = 500;
/// Conversations of one person; some are deleted then.
pub const MAX_CONVERSATIONS: i64 = 1000;

/// A conversation as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConversationRecord {
    /// Its id.
    pub conversation_id: Uuid,
    /// As its owner named it, else its first question.
    pub title: String,
    /// When it began, in milliseconds since 1970.
    pub created_ms: i64,
    /// When something was last added.
    pub updated_ms: i64,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MessageRecord {
    /// Its id.
    pub message_id: Uuid,
    /// What was asked.
    pub question: String,
    /// As `ask` returned it; `null` if it is withheld.
    pub answer: Option<Answer>,
    /// Whether it rests on a document that you cannot read any more, or that was changed or deleted since.
    pub withheld: bool,
    /// When it was asked, in milliseconds since 1970.
    pub created_ms: i64,
    /// What you thought of it: `up` or `down`.
    pub rating: Option<Rating>,
}

/// What a person thinks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// It helped.
    Up,
    /// It did not.
    Down,
}

/// What somebody thought of an answer, for the local administrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedbackRecord {
    /// When they said it, in milliseconds since 1970.
    pub updated_ms: i64,
    /// Who, without `user:`.
    pub user: String,
    /// What.
    pub rating: Rating,
    /// In their own words.
    pub comment: String,
    /// What they had asked.
    pub question: String,
    /// The message.
    pub message_id: Uuid,
}

impl Rating {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Which conversations to list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// When the last one before was changed, and its id.
    pub after: Option<(i64, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// Where a question and its answer are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// In a conversation that there is.
    Of(Uuid),
    /// In a new one, which the question begins.
    New,
}

/// Where a question and its answer were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The conversation.
    pub conversation: Uuid,
    /// The message in it.
    pub message: Uuid,
}

type Row = (String, String, i64, i64);

fn record((id, title, created_ms, updated_ms): Row) -> Result<ConversationRecord, StateError> {
    Ok(ConversationRecord { conversation_id: uuid(&id)?, title, created_ms, updated_ms })
}

fn uuid(text: &str) -> Result<Uuid, StateError> {
    text.parse().map_err(|_| StateError::Corrupt { field: "conversation id" })
}

fn rating_of(text: &str) -> Result<Rating, StateError> {
    from_json(&format!("\"{text}\""), "rating")
}

impl State {
    /// Begins a conversation; without a title its first question becomes one. `None` if the person has
    /// [`MAX_CONVERSATIONS`].
    pub async fn create_conversation(&self, user: &str, title: &str) -> Result<Option<ConversationRecord>, StateError> {
        begin(&mut *self.pool.acquire().await?, user, title).await
    }

    /// Number of a person's conversations.
    pub async fn conversation_count(&self, user: &str) -> Result<i64, StateError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM conversations WHERE user_name = $1")
            .bind(user)
            .fetch_one(&self.pool)
            .await?;
        Ok(count)
    }

    /// Some of a person's conversations, the latest first.
    pub async fn conversations(&self, user: &str, page: &Page) -> Result<Vec<ConversationRecord>, StateError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, title, created_ms, updated_ms FROM conversations
             WHERE user_name = $1 AND ($2 IS NULL OR updated_ms < $2 OR (updated_ms = $2 AND id > $3))
             ORDER BY updated_ms DESC, id LIMIT $4",
        )
        .bind(user)
        .bind(page.after.map(|(updated_ms, _)| updated_ms))
        .bind(page.after.map(|(_, id)| id.to_string()))
        .bind(page.limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(record).collect()
    }

    /// One of a person's conversations.
    pub async fn conversation(&self, user: &str, id: Uuid) -> Result<Option<ConversationRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, title, created_ms, updated_ms FROM conversations WHERE user_name = $1 AND id = $2",
        )
        .bind(user)
        .bind(id.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.map(record).transpose()
    }

    /// Gives a conversation another title. Whether there was one.
    pub async fn rename_conversation(&self, user: &str, id: Uuid, title: &str) -> Result<bool, StateError> {
        let done = sqlx::query("UPDATE conversations SET title = $3 WHERE user_name = $1 AND id = $2")
            .bind(user)
            .bind(id.to_string())
            .bind(title)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes a conversation with all that is in it. Whether there was one.
    pub async fn delete_conversation(&self, user: &str, id: Uuid) -> Result<bool, StateError> {
        let done = sqlx::query("DELETE FROM conversations WHERE user_name = $1 AND id = $2")
            .bind(user)
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Number of messages in a conversation.
    pub async fn message_count(&self, conversation: Uuid) -> Result<i64, StateError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM messages WHERE conversation_id = $1")
            .bind(conversation.to_string())
            .fetch_one(&self.pool)
            .await?;
        Ok(count)
    }

    /// Adds a question and its answer. `None` if the person has no such conversation (any more), or it or their list is
    /// full.
    pub async fn add_message(
        &self,
        user: &str,
        thread: Thread,
        question: &str,
        answer: &Answer,
    ) -> Result<Option<Kept>, StateError> {
        let (id, now) = (Uuid::new_v4(), now_ms());
        let mut transaction = self.pool.begin().await?;
        let conversation = match thread {
            Thread::Of(conversation) => conversation,
            Thread::New => match begin(&mut transaction, user, "").await? {
                Some(record) => record.conversation_id,
                None => return Ok(None),
            },
        };
        // First the row that is written in any case, so that two additions to one conversation wait for each other.
        let known = sqlx::query(
            "UPDATE conversations SET updated_ms = $3, title = CASE WHEN title = '' THEN $4 ELSE title END
             WHERE user_name = $1 AND id = $2
                 AND (SELECT COUNT(*) FROM messages WHERE conversation_id = conversations.id) < $5",
        )
        .bind(user)
        .bind(conversation.to_string())
        .bind(now)
        .bind(title_of(question))
        .bind(MAX_MESSAGES)
        .execute(&mut *transaction)
        .await?;
        if known.rows_affected() == 0 {
            return Ok(None);
        }
        let versions = versions(&mut transaction, answer).await?;
        // What was deleted while the answer was made is not kept in it.
        let kept = versions.iter().all(|version| version.exists).then_some(answer);
        sqlx::query(
            "INSERT INTO messages (id, conversation_id, position, question, answer, created_ms)
             SELECT $1, $2, COALESCE(MAX(position) + 1, 0), $3, $4, $5 FROM messages WHERE conversation_id = $2",
        )
        .bind(id.to_string())
        .bind(conversation.to_string())
        .bind(question)
        .bind(to_json(&kept))
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        for version in versions {
            sqlx::query("INSERT INTO message_documents (message_id, document_id, content_hash) VALUES ($1, $2, $3)")
                .bind(id.to_string())
                .bind(version.document.to_string())
                .bind(version.content_hash)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Some(Kept { conversation, message: id }))
    }

    /// The messages of a person's conversation in their order; what the caller may not read (any more) is withheld.
    pub async fn messages(
        &self,
        caller: &Caller,
        user: &str,
        conversation: Uuid,
    ) -> Result<Vec<MessageRecord>, StateError> {
        let sql = format!(
            "SELECT m.id, m.question, m.created_ms, f.rating,
                CASE WHEN EXISTS (
                    SELECT 1 FROM message_documents s WHERE s.message_id = m.id AND NOT EXISTS (
                        SELECT 1 FROM documents d JOIN document_texts t ON t.document_id = d.id
                        WHERE d.id = s.document_id AND t.content_hash = s.content_hash AND {MAY_READ}))
                THEN 'null' ELSE m.answer END
             FROM messages m
             JOIN conversations c ON c.id = m.conversation_id
             LEFT JOIN feedback f ON f.message_id = m.id
             WHERE c.user_name = $2 AND c.id = $3 ORDER BY m.position"
        );
        let rows: Vec<(String, String, i64, Option<String>, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(principals(caller))
            .bind(user)
            .bind(conversation.to_string())
            .fetch_all(&self.pool)
            .await?;
        let mut messages = Vec::with_capacity(rows.len());
        for (id, question, created_ms, rating, answer) in rows {
            let answer: Option<Answer> = from_json(&answer, "answer")?;
            messages.push(MessageRecord {
                message_id: uuid(&id)?,
                question,
                withheld: answer.is_none(),
                answer,
                created_ms,
                rating: rating.as_deref().map(rating_of).transpose()?,
            });
        }
        Ok(messages)
    }

    /// Deletes the answers that show anything of a document that is being deleted; their questions stay.
    pub async fn erase_answers(&self, document: DocumentId) -> Result<(), StateError> {
        erase_answers(&mut *self.pool.acquire().await?, document).await
    }

    /// What people thought of their answers, the latest first.
    pub async fn feedback(&self, limit: u32) -> Result<Vec<FeedbackRecord>, StateError> {
        let rows: Vec<(i64, String, String, String, String, String)> = sqlx::query_as(
            "SELECT f.updated_ms, c.user_name, f.rating, f.comment, m.question, m.id FROM feedback f
             JOIN messages m ON m.id = f.message_id
             JOIN conversations c ON c.id = m.conversation_id
             ORDER BY f.updated_ms DESC, m.id LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let mut records = Vec::with_capacity(rows.len());
        for (updated_ms, user, rating, comment, question, id) in rows {
            let (rating, message_id) = (rating_of(&rating)?, uuid(&id)?);
            records.push(FeedbackRecord { updated_ms, user, rating, comment, question, message_id });
        }
        Ok(records)
    }

    /// Keeps what a person thinks of an answer of theirs, in place of what they thought before. Whether there is one.
    pub async fn rate(&self, user: &str, message: Uuid, rating: Rating, comment: &str) -> Result<bool, StateError> {
        let done = sqlx::query(
            "INSERT INTO feedback (message_id, rating, comment, updated_ms)
             SELECT m.id, $3, $4, $5 FROM messages m JOIN conversations c ON c.id = m.conversation_id
             WHERE m.id = $1 AND c.user_name = $2
             ON CONFLICT (message_id) DO UPDATE SET rating = excluded.rating, comment = excluded.comment,
                 updated_ms = excluded.updated_ms",
        )
        .bind(message.to_string())
        .bind(user)
        .bind(rating.as_str())
        .bind(comment)
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// Begins a conversation unless the person has as many as one may have.
async fn begin(
    connection: &mut SqliteConnection,
    user: &str,
    title: &str,
) -> Result<Option<ConversationRecord>, StateError> {
    let (id, now) = (Uuid::new_v4(), now_ms());
    let done = sqlx::query(
        "INSERT INTO conversations (id, user_name, title, created_ms, updated_ms)
         SELECT $1, $2, $3, $4, $4 WHERE (SELECT COUNT(*) FROM conversations WHERE user_name = $2) < $5",
    )
    .bind(id.to_string())
    .bind(user)
    .bind(title)
    .bind(now)
    .bind(MAX_CONVERSATIONS)
    .execute(connection)
    .await?;
    let record = ConversationRecord { conversation_id: id, title: title.to_owned(), created_ms: now, updated_ms: now };
    Ok((done.rows_affected() > 0).then_some(record))
}

pub(super) async fn erase_answers(connection: &mut SqliteConnection, document: DocumentId) -> Result<(), StateError> {
    sqlx::query(
        "UPDATE messages SET answer = 'null' WHERE id IN
             (SELECT message_id FROM message_documents WHERE document_id = $1)",
    )
    .bind(document.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// A document of an answer that is to be kept.
struct Version {
    document: DocumentId,
    /// Whether it is there.
    exists: bool,
    /// Which one it is, if what the answer shows of it stands there.
    content_hash: Option<String>,
}

/// The versions that an answer was made from. Its documents may have changed while it was made.
async fn versions(connection: &mut SqliteConnection, answer: &Answer) -> Result<Vec<Version>, StateError> {
    let mut versions = Vec::new();
    for document in documents_of(answer) {
        let row: Option<(Option<String>,)> = sqlx::query_as(
            "SELECT t.content_hash FROM documents d LEFT JOIN document_texts t ON t.document_id = d.id WHERE d.id = $1",
        )
        .bind(document.to_string())
        .fetch_optional(&mut *connection)
        .await?;
        let exists = row.is_some();
        let mut content_hash = row.and_then(|(content_hash,)| content_hash);
        for (place, expected) in places_of(answer, document) {
            let there: Option<(String,)> =
                sqlx::query_as("SELECT substr(text, $2, $3) FROM document_texts WHERE document_id = $1")
                    .bind(document.to_string())
                    .bind(i64::try_from(place.start).unwrap_or(i64::MAX).saturating_add(1))
                    .bind(i64::try_from(place.len()).unwrap_or(i64::MAX))
                    .fetch_optional(&mut *connection)
                    .await?;
            if there.is_none_or(|(text,)| ContentHash::of(text.as_bytes()) != expected) {
                content_hash = None;
            }
        }
        versions.push(Version { document, exists, content_hash });
    }
    Ok(versions)
}

/// What an answer shows of a document: characters of its text, and the hash of what stands there.
fn places_of(answer: &Answer, document: DocumentId) -> Vec<(Range<usize>, ContentHash)> {
    let mut places = Vec::new();
    for citation in answer.citations.iter().filter(|citation| citation.document_id == document) {
        places.push((citation.start..citation.end, ContentHash::of(citation.quote.as_bytes())));
    }
    for passage in answer.provenance.passages.iter().filter(|passage| passage.document_id == document) {
        places.push((passage.start..passage.end, passage.sha256.clone()));
    }
    places
}

/// Every document that an answer shows anything of.
fn documents_of(answer: &Answer) -> BTreeSet<DocumentId> {
    let cited = answer.citations.iter().map(|citation| citation.document_id);
    let left_out = answer.left_out.iter().map(|passage| passage.document_id);
    let read = answer.provenance.passages.iter().map(|passage| passage.document_id);
    cited.chain(left_out).chain(read).collect()
}

/// The beginning of a question, cut between words.
fn title_of(question: &str) -> String {
    const MOST: usize = 80;
    let question = question.split_whitespace().collect::<Vec<_>>().join(" ");
    if question.chars().count() <= MOST {
        return question;
    }
    let cut: String = question.chars().take(MOST).collect();
    let whole_words = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{whole_words}…")
}

#[cfg(test)]
mod tests {
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
        let kept: Vec<(String, String)> = sqlx::query_as("SELECT question, answer FROM messages ORDER BY position")
            .fetch_all(&state.pool)
            .await
            .unwrap();
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
        let kept: Vec<(bool,)> = sqlx::query_as("SELECT answer <> 'null' FROM messages ORDER BY position")
            .fetch_all(&state.pool)
            .await
            .unwrap();
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
}
