//! Conversations: a person's questions and the answers they got, and what they thought of them.
//!
//! Everything is looked up by its owner. An answer is given back only while each document that it rests on, or names, is
//! the version that it was made from and may still be read by the caller: rights that were taken away take the history with
//! them, and so does a new version. What rests on a document that is deleted is deleted too, but for the question.

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::DocumentId;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::documents::{MAY_READ, principals};
use super::{State, StateError, from_json, now_ms, to_json};
use crate::answer::Answer;

#[cfg(test)]
mod tests;
mod versions;

use versions::versions;

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

    /// The last questions of a person's conversation, in their order.
    pub async fn questions(&self, user: &str, conversation: Uuid, most: usize) -> Result<Vec<String>, StateError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT m.question FROM messages m JOIN conversations c ON c.id = m.conversation_id
             WHERE c.id = $1 AND c.user_name = $2 ORDER BY m.position DESC LIMIT $3",
        )
        .bind(conversation.to_string())
        .bind(user)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().rev().map(|(question,)| question).collect())
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
