//! Browser sessions. Only hashes of their cookies are stored.

use super::{State, StateError, now_ms};
use crate::auth::Role;
use crate::auth::password::PasswordHash;

/// Sessions, and browsers that are known, that a user may have at a time; the oldest goes.
const MOST_OF_A_USER: i64 = 50;

/// A session to be.
pub struct NewSession<'a> {
    /// SHA-256 of the cookie's value.
    pub token_hash: &'a str,
    /// Who signs in.
    pub user: &'a str,
    /// The password that was verified: there is no session if it is another one by now.
    pub password_hash: &'a PasswordHash,
    /// What the pages repeat.
    pub csrf_token: &'a str,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// A session that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Who signed in.
    pub user: String,
    /// Their role now.
    pub role: Role,
    /// What the pages repeat.
    pub csrf_token: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl State {
    /// Keeps a new session. `false` if the user is gone or has another password by now.
    pub async fn create_session(&self, session: &NewSession<'_>) -> Result<bool, StateError> {
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query(
            "INSERT INTO sessions (token_hash, user_name, csrf_token, expires_ms)
             SELECT $1, name, $4, $5 FROM users WHERE name = $2 AND password_hash = $3",
        )
        .bind(session.token_hash)
        .bind(session.user)
        .bind(session.password_hash.as_str())
        .bind(session.csrf_token)
        .bind(session.expires_ms)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE user_name = $1 AND token_hash NOT IN (
                 SELECT token_hash FROM sessions WHERE user_name = $1 ORDER BY expires_ms DESC, rowid DESC LIMIT $2)",
        )
        .bind(session.user)
        .bind(MOST_OF_A_USER)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// The session with this hash of its cookie, unless it has expired.
    pub async fn session(&self, token_hash: &str) -> Result<Option<SessionRecord>, StateError> {
        let row: Option<(String, String, String, i64)> = sqlx::query_as(
            "SELECT u.name, u.role, s.csrf_token, s.expires_ms FROM sessions s JOIN users u ON u.name = s.user_name
             WHERE s.token_hash = $1 AND s.expires_ms > $2",
        )
        .bind(token_hash)
        .bind(now_ms())
        .fetch_optional(&self.pool)
        .await?;
        let Some((user, role, csrf_token, expires_ms)) = row else { return Ok(None) };
        Ok(Some(SessionRecord { user, role: role.parse()?, csrf_token, expires_ms }))
    }

    /// Ends a session. Whether there was one.
    pub async fn end_session(&self, token_hash: &str) -> Result<bool, StateError> {
        let done =
            sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(token_hash).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends all sessions of a user and returns their number.
    pub async fn end_sessions(&self, user: &str) -> Result<u64, StateError> {
        let done = sqlx::query("DELETE FROM sessions WHERE user_name = $1").bind(user).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    /// Remembers a browser, by the hash of its cookie, as one that a user signed in with.
    pub async fn remember_device(&self, hash: &str, user: &str) -> Result<(), StateError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO devices (token_hash, user_name, created_ms) SELECT $1, name, $3 FROM users WHERE name = $2",
        )
        .bind(hash)
        .bind(user)
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM devices WHERE user_name = $1 AND token_hash NOT IN (
                 SELECT token_hash FROM devices WHERE user_name = $1 ORDER BY created_ms DESC, rowid DESC LIMIT $2)",
        )
        .bind(user)
        .bind(MOST_OF_A_USER)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Whether a user signed in with this browser before and has had the same password since.
    pub async fn is_device(&self, hash: &str, user: &str) -> Result<bool, StateError> {
        let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM devices WHERE token_hash = $1 AND user_name = $2")
            .bind(hash)
            .bind(user)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// Deletes what has expired, and returns how many.
    pub async fn purge_sessions(&self) -> Result<u64, StateError> {
        let done =
            sqlx::query("DELETE FROM sessions WHERE expires_ms <= $1").bind(now_ms()).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::{self, PasswordHash};
    use crate::state::users::Created;

    #[tokio::test]
    async fn sessions_are_bounded_expire_and_need_the_password_that_was_verified() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).await.unwrap();
        let hash = password::hash("ana", "three words together").unwrap();
        let old = password::hash("ana", "three words together").unwrap();
        assert_eq!(state.create_user("ana", Some(&hash), Role::Member).await.unwrap(), Created::New);
        let now = now_ms();
        fn new<'a>(token_hash: &'a str, password_hash: &'a PasswordHash, expires_ms: i64) -> NewSession<'a> {
            NewSession { token_hash, user: "ana", password_hash, csrf_token: "c", expires_ms }
        }
        assert!(!state.create_session(&new("by the old one", &old, now + 60_000)).await.unwrap());
        for number in 0..MOST_OF_A_USER + 5 {
            let token = format!("token {number}");
            assert!(state.create_session(&new(&token, &hash, now + 60_000)).await.unwrap());
        }
        assert_eq!(state.session("token 4").await.unwrap(), None);
        let kept = state.session("token 5").await.unwrap().unwrap();
        assert_eq!((kept.user.as_str(), kept.role, kept.expires_ms), ("ana", Role::Member, now + 60_000));

        assert!(state.end_session("token 5").await.unwrap() && !state.end_session("token 5").await.unwrap());
        assert!(state.create_session(&new("over", &hash, now - 1)).await.unwrap());
        assert_eq!(state.session("over").await.unwrap(), None);
        assert_eq!(state.purge_sessions().await.unwrap(), 1);
        assert_eq!(state.end_sessions("ana").await.unwrap(), MOST_OF_A_USER as u64 - 1);
    }
}
