//! Local users and the groups that they are in.

use intramuros_ingest::access::Principal;
use serde::{Deserialize, Serialize};

use super::{State, StateError, from_json, now_ms, to_json};
use crate::auth::Role;
use crate::auth::password::PasswordHash;

/// A user as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name, without `user:`.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// The groups they are in, by name.
    pub groups: Vec<String>,
    /// Whether they have a password.
    pub signs_in: bool,
    /// When they were created, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A group with who is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The name, without `group:`.
    pub group: String,
    /// Its members, by name.
    pub members: Vec<String>,
}

/// What came of creating a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// They are there.
    New,
    /// There is one of this name.
    Exists,
    /// They would inherit what a key of this name has or has left.
    InUse {
        /// API keys.
        keys: u64,
        /// Conversations.
        conversations: u64,
    },
}

/// What went with a deleted user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Browser sessions.
    pub sessions: u64,
    /// API keys.
    pub keys: u64,
    /// Conversations.
    pub conversations: u64,
}

type Row = (String, String, bool, i64, String);

const USERS: &str = "SELECT u.name, u.role, u.password_hash IS NOT NULL, u.created_ms,
        (SELECT json_group_array(group_name) FROM
            (SELECT group_name FROM user_groups g WHERE g.user_name = u.name ORDER BY group_name))
    FROM users u WHERE $1 IS NULL OR u.name = $1 ORDER BY u.name";

fn record((user, role, signs_in, created_ms, groups): Row) -> Result<UserRecord, StateError> {
    let groups = from_json(&groups, "list of groups")?;
    Ok(UserRecord { user, role: role.parse()?, groups, signs_in, created_ms })
}

impl State {
    /// Creates a user; without a password they sign in nowhere. A name that keys or conversations have is refused: nobody
    /// inherits them.
    pub async fn create_user(
        &self,
        name: &str,
        password: Option<&PasswordHash>,
        role: Role,
    ) -> Result<Created, StateError> {
        // Writing first takes the lock: no key comes between.
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query(
            "INSERT INTO users (name, password_hash, role, created_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(password.map(PasswordHash::as_str))
        .bind(role.to_string())
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Created::Exists);
        }
        let (keys, conversations): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM api_keys WHERE user_name = $1),
                (SELECT COUNT(*) FROM conversations WHERE user_name = $1)",
        )
        .bind(name)
        .fetch_one(&mut *transaction)
        .await?;
        if keys + conversations > 0 {
            let (keys, conversations) = (keys.unsigned_abs(), conversations.unsigned_abs());
            return Ok(Created::InUse { keys, conversations });
        }
        transaction.commit().await?;
        Ok(Created::New)
    }

    /// All users by name.
    pub async fn users(&self) -> Result<Vec<UserRecord>, StateError> {
        let rows: Vec<Row> = sqlx::query_as(USERS).bind(None::<&str>).fetch_all(&self.pool).await?;
        rows.into_iter().map(record).collect()
    }

    /// One user.
    pub async fn user(&self, name: &str) -> Result<Option<UserRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(USERS).bind(name).fetch_optional(&self.pool).await?;
        row.map(record).transpose()
    }

    /// The stored password of a user who has one.
    pub async fn password_hash(&self, name: &str) -> Result<Option<PasswordHash>, StateError> {
        let row: Option<(Option<String>,)> = sqlx::query_as("SELECT password_hash FROM users WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        let stored = row.and_then(|(hash,)| hash).map(PasswordHash::try_from);
        stored.transpose().map_err(|_| StateError::Corrupt { field: "password hash" })
    }

    /// Gives a user another password, or none, and ends their sessions: how many, or `None` without such a user.
    pub async fn set_password(&self, name: &str, password: Option<&PasswordHash>) -> Result<Option<u64>, StateError> {
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query("UPDATE users SET password_hash = $2 WHERE name = $1")
            .bind(name)
            .bind(password.map(PasswordHash::as_str))
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let ended =
            sqlx::query("DELETE FROM sessions WHERE user_name = $1").bind(name).execute(&mut *transaction).await?;
        // Whoever knew the old one may have signed in with it.
        sqlx::query("DELETE FROM devices WHERE user_name = $1").bind(name).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(ended.rows_affected()))
    }

    /// Gives a user another role. Who is no administrator any more has no administrator's keys either: how many became
    /// keys of a member, or `None` without such a user.
    pub async fn set_role(&self, name: &str, role: Role) -> Result<Option<u64>, StateError> {
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query("UPDATE users SET role = $2 WHERE name = $1")
            .bind(name)
            .bind(role.to_string())
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let mut lowered = 0;
        if role == Role::Member {
            let done = sqlx::query("UPDATE api_keys SET role = 'member' WHERE user_name = $1 AND role <> 'member'")
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            lowered = done.rows_affected();
        }
        transaction.commit().await?;
        Ok(Some(lowered))
    }

    /// Deletes a user with their sessions, keys, memberships and conversations, so that nobody of the same name inherits
    /// them; of a name that is no user, its keys and conversations. `None` where there is nothing of the name.
    pub async fn delete_user(&self, name: &str) -> Result<Option<Deleted>, StateError> {
        let mut transaction = self.pool.begin().await?;
        let mut counts = [0; 4];
        // The user last: what refers to it would go along uncounted.
        for (count, sql) in counts.iter_mut().zip([
            "DELETE FROM sessions WHERE user_name = $1",
            "DELETE FROM api_keys WHERE user_name = $1",
            "DELETE FROM conversations WHERE user_name = $1",
            "DELETE FROM users WHERE name = $1",
        ]) {
            *count = sqlx::query(sql).bind(name).execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        let [sessions, keys, conversations, users] = counts;
        Ok((users + keys + conversations > 0).then_some(Deleted { sessions, keys, conversations }))
    }

    /// Puts users into a group, which exists as long as somebody is in it. Changes nothing if some are unknown, and
    /// returns these.
    pub async fn add_to_group(&self, group: &str, users: &[String]) -> Result<Vec<String>, StateError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO user_groups (user_name, group_name)
             SELECT name, $1 FROM users WHERE name IN (SELECT value FROM json_each($2)) ON CONFLICT DO NOTHING",
        )
        .bind(group)
        .bind(to_json(&users))
        .execute(&mut *transaction)
        .await?;
        let unknown: Vec<(String,)> =
            sqlx::query_as("SELECT value FROM json_each($1) WHERE value NOT IN (SELECT name FROM users)")
                .bind(to_json(&users))
                .fetch_all(&mut *transaction)
                .await?;
        if unknown.is_empty() {
            transaction.commit().await?;
        }
        Ok(unknown.into_iter().map(|(name,)| name).collect())
    }

    /// Takes users out of a group. Changes nothing if some are not in it, and returns these.
    pub async fn remove_from_group(&self, group: &str, users: &[String]) -> Result<Vec<String>, StateError> {
        let mut transaction = self.pool.begin().await?;
        let removed: Vec<(String,)> = sqlx::query_as(
            "DELETE FROM user_groups WHERE group_name = $1 AND user_name IN (SELECT value FROM json_each($2))
             RETURNING user_name",
        )
        .bind(group)
        .bind(to_json(&users))
        .fetch_all(&mut *transaction)
        .await?;
        let mut missing = users.to_vec();
        missing.retain(|user| !removed.iter().any(|(name,)| name == user));
        if missing.is_empty() {
            transaction.commit().await?;
        }
        Ok(missing)
    }

    /// All groups that somebody is in, by name.
    pub async fn groups(&self) -> Result<Vec<GroupRecord>, StateError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT group_name, user_name FROM user_groups ORDER BY group_name, user_name")
                .fetch_all(&self.pool)
                .await?;
        let mut groups: Vec<GroupRecord> = Vec::new();
        for (group, member) in rows {
            match groups.last_mut() {
                Some(last) if last.group == group => last.members.push(member),
                _ => groups.push(GroupRecord { group, members: vec![member] }),
            }
        }
        Ok(groups)
    }

    /// Those of some groups that nobody is in and that no document is open to.
    pub async fn unknown_groups(&self, groups: &[String]) -> Result<Vec<String>, StateError> {
        let mut unknown = Vec::new();
        for group in groups {
            let known: Option<(i64,)> = sqlx::query_as(
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM user_groups WHERE group_name = $1)
                    OR EXISTS (SELECT 1 FROM document_readers WHERE principal = $2)",
            )
            .bind(group)
            .bind(Principal::Group(group.clone()).to_string())
            .fetch_optional(&self.pool)
            .await?;
            if known.is_none() {
                unknown.push(group.clone());
            }
        }
        Ok(unknown)
    }

    /// The groups that a user is in; none for a name that is no user.
    pub async fn groups_of(&self, name: &str) -> Result<Vec<String>, StateError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT group_name FROM user_groups WHERE user_name = $1 ORDER BY group_name")
                .bind(name)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}
