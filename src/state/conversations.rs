//! Conversations: a person's questions and the answers they got, and what they thought of them.
//!
//! Everything is looked up by its owner. An answer is given back only while each document that it rests on, or names, may
//! still be read by the caller: rights that were taken away take the history with them, and so does a deleted document.

use std::collections::BTreeSet;

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::DocumentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::documents::{MAY_READ, principals};
use super::{State, StateError, from_json, now_ms, to_json};
use crate::answer::Answer;

/// Messages of one conversation; a new one is begun then.
pub const MAX_MESSAGES: i64 = 500;
/// Conversations that a list shows, the latest first.
const MAX_LISTED: i64 = 200;

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
    /// Whether it rests on a document that you cannot read any more.
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

impl Rating {
    fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

type Row = (String, String, i64, i64);

fn record((id, title, created_ms, updated_ms): Row) -> Result<ConversationRecord, StateError> {
    Ok(ConversationRecord { conversation_id: uuid(&id)?, title, created_ms, updated_ms })
}

fn uuid(text: &str) -> Result<Uuid, StateError> {
    text.parse().map_err(|_| StateError::Corrupt { field: "conversation id" })
}

impl State {
    /// Begins a conversation; without a title its first question becomes one.
    pub async fn create_conversation(&self, user: &str, title: &str) -> Result<ConversationRecord, StateError> {
        let (id, now) = (Uuid::new_v4(), now_ms());
        sqlx::query(
            "INSERT INTO conversations (id, user_name, title, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $4)",
        )
        .bind(id.to_string())
        .bind(user)
        .bind(title)
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(ConversationRecord { conversation_id: id, title: title.to_owned(), created_ms: now, updated_ms: now })
    }

    /// A person's conversations, the latest first.
    pub async fn conversations(&self, user: &str) -> Result<Vec<ConversationRecord>, StateError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, title, created_ms, updated_ms FROM conversations WHERE user_name = $1
             ORDER BY updated_ms DESC, id LIMIT $2",
        )
        .bind(user)
        .bind(MAX_LISTED)
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

    /// Adds a question and its answer. `None` if the person has no such conversation (any more).
    pub async fn add_message(
        &self,
        user: &str,
        conversation: Uuid,
        question: &str,
        answer: &Answer,
    ) -> Result<Option<Uuid>, StateError> {
        let (id, now) = (Uuid::new_v4(), now_ms());
        let mut transaction = self.pool.begin().await?;
        // First the row that is written in any case, so that two additions to one conversation wait for each other.
        let known = sqlx::query(
            "UPDATE conversations SET updated_ms = $3, title = CASE WHEN title = '' THEN $4 ELSE title END
             WHERE user_name = $1 AND id = $2",
        )
        .bind(user)
        .bind(conversation.to_string())
        .bind(now)
        .bind(title_of(question))
        .execute(&mut *transaction)
        .await?;
        if known.rows_affected() == 0 {
            return Ok(None);
        }
        sqlx::query(
            "INSERT INTO messages (id, conversation_id, position, question, answer, created_ms)
             SELECT $1, $2, COALESCE(MAX(position) + 1, 0), $3, $4, $5 FROM messages WHERE conversation_id = $2",
        )
        .bind(id.to_string())
        .bind(conversation.to_string())
        .bind(question)
        .bind(to_json(answer))
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(id))
    }

    /// The messages of a person's conversation in their order; what the caller may not read any more is withheld.
    pub async fn messages(
        &self,
        caller: &Caller,
        user: &str,
        conversation: Uuid,
    ) -> Result<Vec<MessageRecord>, StateError> {
        let rows: Vec<(String, String, String, i64, Option<String>)> = sqlx::query_as(
            "SELECT m.id, m.question, m.answer, m.created_ms, f.rating FROM messages m
             JOIN conversations c ON c.id = m.conversation_id
             LEFT JOIN feedback f ON f.message_id = m.id
             WHERE c.user_name = $1 AND c.id = $2 ORDER BY m.position",
        )
        .bind(user)
        .bind(conversation.to_string())
        .fetch_all(&self.pool)
        .await?;
        let mut messages = Vec::with_capacity(rows.len());
        for (id, question, answer, created_ms, rating) in rows {
            let answer: Answer = from_json(&answer, "answer")?;
            let readable = self.may_read_all(caller, &documents_of(&answer)).await?;
            messages.push(MessageRecord {
                message_id: uuid(&id)?,
                question,
                withheld: !readable,
                answer: readable.then_some(answer),
                created_ms,
                rating: rating.map(|rating| from_json(&format!("\"{rating}\""), "rating")).transpose()?,
            });
        }
        Ok(messages)
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

    async fn may_read_all(&self, caller: &Caller, documents: &BTreeSet<DocumentId>) -> Result<bool, StateError> {
        if documents.is_empty() {
            return Ok(true);
        }
        let sql =
            format!("SELECT COUNT(*) FROM documents d WHERE d.id IN (SELECT value FROM json_each($2)) AND {MAY_READ}");
        let (readable,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(principals(caller))
            .bind(to_json(documents))
            .fetch_one(&self.pool)
            .await?;
        Ok(readable as usize == documents.len())
    }
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
    use super::*;

    #[test]
    fn a_long_question_is_cut_between_words() {
        assert_eq!(title_of("  How many\n days? "), "How many days?");
        let title = title_of(&"word ".repeat(40));
        assert!(title.ends_with("word…") && title.chars().count() <= 81, "{title}");
        assert_eq!(title_of(&"ñ".repeat(200)).chars().count(), 81);
    }

    #[tokio::test]
    async fn a_conversation_is_its_owners_and_rights_taken_away_take_the_history() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).await.unwrap();
        let document = DocumentId::new("test", "a.md");
        for sql in [
            format!(
                "INSERT INTO documents (id, source, path, content_hash, pipeline, readers, state, updated_ms)
                 VALUES ('{document}', 'test', 'a.md', '', '', '[\"group:legal\"]', 'indexed', 0)"
            ),
            format!("INSERT INTO document_readers (document_id, principal) VALUES ('{document}', 'group:legal')"),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&state.pool).await.unwrap();
        }
        let answer: Answer = serde_json::from_value(serde_json::json!({
            "answer": "The lease ends in June. [1]", "abstained": false, "unsupported": [], "left_out": [], "model": null,
            "citations": [{ "n": 1, "document_id": document, "title": "Lease", "uri": "", "page": null, "start": 0, "end": 4,
                "quote": "June" }],
            "usage": { "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0 },
            "timings_ms": { "retrieve": 0.0, "prefill": 0.0, "decode": 0.0, "total": 0.0 },
            "mode": "extract", "fell_back": false, "language": "en",
            "provenance": { "embedder": "", "prompt_sha256": null, "passages": [], "seed": null }
        }))
        .unwrap();

        let conversation = state.create_conversation("ana", "").await.unwrap().conversation_id;
        let message =
            state.add_message("ana", conversation, "When does the lease end?", &answer).await.unwrap().unwrap();
        assert_eq!(state.add_message("rosa", conversation, "x", &answer).await.unwrap(), None);
        assert_eq!(state.conversation("rosa", conversation).await.unwrap(), None);
        assert_eq!(state.conversations("ana").await.unwrap()[0].title, "When does the lease end?");

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
