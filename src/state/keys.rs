//! API keys. Only hashes of their secrets are stored.

use serde::{Deserialize, Serialize};

use super::{State, StateError, from_json, now_ms, to_json};
use crate::auth::Role;

/// A key as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// What names it; not secret.
    pub id: String,
    /// Whose rights it has.
    pub user: String,
    /// Its own groups, of which those count that its local user is in; `null`: all groups of the local user.
    pub groups: Option<Vec<String>>,
    /// What it may do.
    pub role: Role,
    /// What it is for.
    pub label: String,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it ends; `null`: never.
    pub expires_ms: Option<i64>,
}

impl KeyRecord {
    /// Whether it has ended.
    pub fn is_expired(&self) -> bool {
        self.expires_ms.is_some_and(|end| end <= now_ms())
    }
}

type Row = (String, String, Option<String>, String, String, i64, Option<i64>);

fn record((id, user, groups, role, label, created_ms, expires_ms): Row) -> Result<KeyRecord, StateError> {
    let groups = groups.map(|groups| from_json(&groups, "list of groups")).transpose()?;
    Ok(KeyRecord { id, user, groups, role: role.parse()?, label, created_ms, expires_ms })
}

impl State {
    /// Keeps a new key under the hash of its secret.
    pub async fn create_key(&self, key: &KeyRecord, secret_hash: &str) -> Result<(), StateError> {
        sqlx::query(
            r#"INSERT INTO api_keys (id, secret_hash, user_name, "groups", role, label, created_ms, expires_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"#,
        )
        .bind(&key.id)
        .bind(secret_hash)
        .bind(&key.user)
        .bind(key.groups.as_ref().map(to_json))
        .bind(key.role.to_string())
        .bind(&key.label)
        .bind(key.created_ms)
        .bind(key.expires_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// All keys, by user and age, expired ones too.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StateError> {
        let rows: Vec<Row> = sqlx::query_as(
            r#"SELECT id, user_name, "groups", role, label, created_ms, expires_ms FROM api_keys
               ORDER BY user_name, created_ms, id"#,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(record).collect()
    }

    /// The key with this hash of its secret, unless it has expired.
    pub async fn key_by_hash(&self, secret_hash: &str) -> Result<Option<KeyRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(
            r#"SELECT id, user_name, "groups", role, label, created_ms, expires_ms FROM api_keys
               WHERE secret_hash = $1 AND (expires_ms IS NULL OR expires_ms > $2)"#,
        )
        .bind(secret_hash)
        .bind(now_ms())
        .fetch_optional(&self.pool)
        .await?;
        row.map(record).transpose()
    }

    /// The groups that a key has now, by name. Of its own groups it has only those that its local user is in; one for a name
    /// that is no local user has them all.
    pub async fn groups_of_key(&self, key: &KeyRecord) -> Result<Vec<String>, StateError> {
        let Some(groups) = &key.groups else { return self.groups_of(&key.user).await };
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT value FROM json_each($2) WHERE NOT EXISTS (SELECT 1 FROM users WHERE name = $1)
                 OR value IN (SELECT group_name FROM user_groups WHERE user_name = $1) ORDER BY value",
        )
        .bind(&key.user)
        .bind(to_json(groups))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Revokes a key and returns what it was. `None` without one of this id.
    pub async fn revoke_key(&self, id: &str) -> Result<Option<KeyRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(
            r#"DELETE FROM api_keys WHERE id = $1
               RETURNING id, user_name, "groups", role, label, created_ms, expires_ms"#,
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(record).transpose()
    }
}
