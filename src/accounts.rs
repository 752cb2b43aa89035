//! Users, groups and API keys: what the command line can do with them, as commands that travel.
//!
//! [`execute`] needs the state database only, so that whoever owns the data directory (a command, or a server that is asked
//! over its local socket) does the same. A password travels as its hash; a key's secret is in the reply that creates it and
//! nowhere after.

use intramuros_ingest::access::{InvalidPrincipal, Principal};
use serde::{Deserialize, Serialize};

use crate::auth::password::PasswordHash;
use crate::auth::{Role, secret};
use crate::state::keys::KeyRecord;
use crate::state::users::{Created, Deleted, GroupRecord, UserRecord};
use crate::state::{State, StateError, now_ms};

/// Characters of the longest name and label.
const MAX_NAME: usize = 100;
const MAX_LABEL: usize = 200;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Something to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountCommand {
    /// Creates a user; without a password they sign in nowhere.
    CreateUser {
        /// The name, without `user:`.
        name: String,
        /// From [`crate::auth::password::hash`].
        password: Option<PasswordHash>,
        /// What they may do.
        role: Role,
    },
    /// Shows one user.
    ShowUser {
        /// Whom.
        name: String,
    },
    /// Lists the users.
    ListUsers,
    /// Deletes a user with their sessions, keys, memberships and conversations, or what there is of a name that is no user.
    DeleteUser {
        /// Whom.
        name: String,
    },
    /// Gives a user another password, or none, and ends their sessions.
    SetPassword {
        /// Whose.
        name: String,
        /// From [`crate::auth::password::hash`].
        password: Option<PasswordHash>,
    },
    /// Gives a user another role.
    SetRole {
        /// Whom.
        name: String,
        /// Which.
        role: Role,
    },
    /// Lists the groups that somebody is in.
    ListGroups,
    /// Puts users into a group.
    AddToGroup {
        /// The name, without `group:`.
        group: String,
        /// Whom; all of them or nobody.
        users: Vec<String>,
    },
    /// Takes users out of a group.
    RemoveFromGroup {
        /// The name, without `group:`.
        group: String,
        /// Whom; all of them or nobody.
        users: Vec<String>,
    },
    /// Creates an API key.
    CreateKey {
        /// Whose rights it has; need not be a local user.
        user: String,
        /// Its own groups, of which those count that its local user is in; `None`: all groups of the local user.
        groups: Option<Vec<String>>,
        /// What it may do.
        role: Role,
        /// What it is for.
        label: String,
        /// When it ends; `None`: never.
        expires_days: Option<u32>,
    },
    /// Lists the API keys.
    ListKeys,
    /// Revokes an API key.
    RevokeKey {
        /// Which.
        id: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountReply {
    /// The user, as created or shown.
    User(UserRecord),
    /// All users.
    Users {
        /// By name.
        users: Vec<UserRecord>,
    },
    /// A user is gone.
    UserDeleted {
        /// The name.
        user: String,
        /// What went along.
        deleted: Deleted,
    },
    /// A password is set or taken away.
    PasswordSet {
        /// Whose.
        user: String,
        /// Whether there is one now.
        signs_in: bool,
        /// Sessions that ended.
        sessions_ended: u64,
    },
    /// A role is set.
    RoleSet {
        /// Whose.
        user: String,
        /// Which.
        role: Role,
        /// Keys of an administrator that are a member's now.
        keys_lowered: u64,
    },
    /// All groups.
    Groups {
        /// By name.
        groups: Vec<GroupRecord>,
    },
    /// The group as it is now.
    Group(GroupRecord),
    /// A key, with its secret, this once.
    KeyCreated(CreatedKey),
    /// All keys.
    Keys {
        /// By user.
        keys: Vec<KeyRecord>,
    },
    /// A key is gone.
    KeyRevoked {
        /// What it was.
        revoked: KeyRecord,
    },
}

impl AccountReply {
    /// What `--json` prints: the content alone.
    pub fn document(&self) -> Result<serde_json::Value, serde_json::Error> {
        match serde_json::to_value(self)? {
            // serde writes each variant as an object of one field.
            serde_json::Value::Object(fields) => {
                Ok(fields.into_iter().map(|(_, content)| content).next().unwrap_or_default())
            }
            other => Ok(other),
        }
    }
}

/// A new key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The secret: `im_…`.
    pub key: String,
    /// The documents of which readers it reads, as things are now.
    pub reads: Vec<Principal>,
    /// Whether its user is a local one.
    pub local_user: bool,
    /// Those of its groups that nobody is in and that no document is open to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_groups: Vec<String>,
    /// What lists will show.
    #[serde(flatten)]
    pub record: KeyRecord,
}

/// Why a command cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name is no name.
    #[error(
        "`{name}` cannot be the name of a {what}: use 1 to {MAX_NAME} characters without spaces, commas or control characters"
    )]
    InvalidName {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The label is too long.
    #[error("the label has {chars} characters and may have {MAX_LABEL}")]
    LongLabel {
        /// How many it has.
        chars: usize,
    },
    /// The name is taken.
    #[error(
        "there is a user `{0}` already; `intramuros user password {0}` or `intramuros user role {0} ROLE` changes it"
    )]
    UserExists(String),
    /// Something that a new user would inherit has the name.
    #[error(
        "`{name}` is the name of {keys} keys and {conversations} conversations already, which the user would inherit: choose another name, or delete them with `intramuros user delete {name}` first"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Keys in this name, expired ones too.
        keys: u64,
        /// Conversations that such keys have begun.
        conversations: u64,
    },
    /// No such user.
    #[error("there is no user `{0}`; `intramuros user list` shows them, `intramuros user create {0}` creates it")]
    NoSuchUser(String),
    /// Some are unknown.
    #[error(
        "nothing is changed: {0} are no users; `intramuros user list` shows them, `intramuros user create NAME` creates one"
    )]
    NoSuchUsers(String),
    /// Some are not in the group.
    #[error("nothing is changed: {users} not in the group `{group}`; `intramuros group list` shows who is")]
    NotInGroup {
        /// The group.
        group: String,
        /// Who.
        users: String,
    },
    /// No such key.
    #[error("there is no key `{0}`; `intramuros key list` shows them by id")]
    NoSuchKey(String),
    /// The operating system gives no random numbers.
    #[error("cannot make a secret: {0}")]
    Random(#[from] getrandom::Error),
    /// The state database.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Checks a user's name before anything else is asked for it.
pub fn check_user_name(name: &str) -> Result<(), AccountError> {
    checked("user", name)
}

/// Does it.
pub async fn execute(state: &State, command: &AccountCommand) -> Result<AccountReply, AccountError> {
    match command {
        AccountCommand::CreateUser { name, password, role } => {
            checked("user", name)?;
            match state.create_user(name, password.as_ref(), *role).await? {
                Created::New => show_user(state, name).await,
                Created::Exists => Err(AccountError::UserExists(name.clone())),
                Created::InUse { keys, conversations } => {
                    Err(AccountError::NameInUse { name: name.clone(), keys, conversations })
                }
            }
        }
        AccountCommand::ShowUser { name } => show_user(state, name).await,
        AccountCommand::ListUsers => Ok(AccountReply::Users { users: state.users().await? }),
        AccountCommand::DeleteUser { name } => {
            let deleted = state.delete_user(name).await?.ok_or_else(|| AccountError::NoSuchUser(name.clone()))?;
            Ok(AccountReply::UserDeleted { user: name.clone(), deleted })
        }
        AccountCommand::SetPassword { name, password } => {
            let ended = state.set_password(name, password.as_ref()).await?;
            let sessions_ended = ended.ok_or_else(|| AccountError::NoSuchUser(name.clone()))?;
            Ok(AccountReply::PasswordSet { user: name.clone(), signs_in: password.is_some(), sessions_ended })
        }
        AccountCommand::SetRole { name, role } => {
            let lowered = state.set_role(name, *role).await?;
            let keys_lowered = lowered.ok_or_else(|| AccountError::NoSuchUser(name.clone()))?;
            Ok(AccountReply::RoleSet { user: name.clone(), role: *role, keys_lowered })
        }
        AccountCommand::ListGroups => Ok(AccountReply::Groups { groups: state.groups().await? }),
        AccountCommand::AddToGroup { group, users } => {
            checked("group", group)?;
            let unknown = state.add_to_group(group, users).await?;
            match unknown.as_slice() {
                [] => show_group(state, group).await,
                [name] => Err(AccountError::NoSuchUser(name.clone())),
                names => Err(AccountError::NoSuchUsers(listed(names))),
            }
        }
        AccountCommand::RemoveFromGroup { group, users } => {
            let missing = state.remove_from_group(group, users).await?;
            if !missing.is_empty() {
                let users = format!("{} {}", listed(&missing), if missing.len() == 1 { "is" } else { "are" });
                return Err(AccountError::NotInGroup { group: group.clone(), users });
            }
            show_group(state, group).await
        }
        AccountCommand::CreateKey { user, groups, role, label, expires_days } => {
            let created_ms = now_ms();
            let expires_ms = expires_days.map(|days| created_ms.saturating_add(i64::from(days) * DAY_MS));
            let id = secret::hash(&secret::random()?)[..12].to_owned();
            let (user, groups, label) = (user.clone(), groups.clone(), label.clone());
            create_key(state, KeyRecord { id, user, groups, role: *role, label, created_ms, expires_ms }).await
        }
        AccountCommand::ListKeys => Ok(AccountReply::Keys { keys: state.keys().await? }),
        AccountCommand::RevokeKey { id } => {
            let revoked = state.revoke_key(id).await?.ok_or_else(|| AccountError::NoSuchKey(id.clone()))?;
            Ok(AccountReply::KeyRevoked { revoked })
        }
    }
}

async fn create_key(state: &State, mut record: KeyRecord) -> Result<AccountReply, AccountError> {
    checked("user", &record.user)?;
    let chars = record.label.chars().count();
    if chars > MAX_LABEL {
        return Err(AccountError::LongLabel { chars });
    }
    if let Some(groups) = &mut record.groups {
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            checked("group", group)?;
        }
    }
    let key = format!("{}{}", secret::KEY_PREFIX, secret::random()?);
    state.create_key(&record, &secret::hash(&key)).await?;
    let groups = state.groups_of_key(&record).await?;
    let mut reads = vec![Principal::Everyone, Principal::User(record.user.clone())];
    reads.extend(groups.into_iter().map(Principal::Group));
    let local_user = state.user(&record.user).await?.is_some();
    let unknown_groups = state.unknown_groups(record.groups.as_deref().unwrap_or_default()).await?;
    Ok(AccountReply::KeyCreated(CreatedKey { key, reads, local_user, unknown_groups, record }))
}

async fn show_user(state: &State, name: &str) -> Result<AccountReply, AccountError> {
    let user = state.user(name).await?;
    user.map(AccountReply::User).ok_or_else(|| AccountError::NoSuchUser(name.to_owned()))
}

async fn show_group(state: &State, name: &str) -> Result<AccountReply, AccountError> {
    let found = state.groups().await?.into_iter().find(|record| record.group == name);
    let empty = || GroupRecord { group: name.to_owned(), members: Vec::new() };
    Ok(AccountReply::Group(found.unwrap_or_else(empty)))
}

fn checked(what: &'static str, name: &str) -> Result<(), AccountError> {
    let principal: Result<Principal, InvalidPrincipal> = format!("{what}:{name}").parse();
    if principal.is_err() || name.chars().count() > MAX_NAME {
        return Err(AccountError::InvalidName { what, name: name.to_owned() });
    }
    Ok(())
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password;

    async fn opened() -> (tempfile::TempDir, State) {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).await.unwrap();
        (directory, state)
    }

    fn create(name: &str, role: Role) -> AccountCommand {
        AccountCommand::CreateUser { name: name.into(), password: None, role }
    }

    fn new_key(user: &str, groups: &[&str], role: Role, expires_days: Option<u32>) -> AccountCommand {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        AccountCommand::CreateKey { user: user.into(), groups: Some(groups), role, label: "wiki".into(), expires_days }
    }

    async fn created_key(state: &State, command: &AccountCommand) -> CreatedKey {
        match execute(state, command).await.unwrap() {
            AccountReply::KeyCreated(created) => created,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn users_and_groups_change_together_or_not_at_all() {
        let (_directory, state) = opened().await;
        for name in ["luis", "ana"] {
            execute(&state, &create(name, Role::Member)).await.unwrap();
        }
        let taken = execute(&state, &create("ana", Role::Admin)).await.unwrap_err().to_string();
        assert!(taken.contains("`ana`") && taken.contains("user role"), "{taken}");
        for bad in ["", "a b", "a,b", "a\n", &"x".repeat(101)] {
            let refused = execute(&state, &create(bad, Role::Member)).await;
            assert!(matches!(refused, Err(AccountError::InvalidName { .. })), "{bad:?}");
        }

        let add = |users: &[&str]| AccountCommand::AddToGroup {
            group: "legal".into(),
            users: users.iter().map(|&user| user.to_owned()).collect(),
        };
        let unknown = execute(&state, &add(&["ana", "eva", "tom"])).await.unwrap_err().to_string();
        assert!(unknown.contains("`eva`, `tom`"), "{unknown}");
        assert!(state.groups().await.unwrap().is_empty(), "ana is in though the command failed");
        execute(&state, &add(&["ana", "luis"])).await.unwrap();
        let again = execute(&state, &add(&["ana"])).await.unwrap();
        let members = vec!["ana".to_owned(), "luis".to_owned()];
        assert_eq!(again, AccountReply::Group(GroupRecord { group: "legal".into(), members }));
        assert_eq!(state.users().await.unwrap()[0].groups, ["legal"]);

        let remove = |users: &[&str]| AccountCommand::RemoveFromGroup {
            group: "legal".into(),
            users: users.iter().map(|&user| user.to_owned()).collect(),
        };
        let missing = execute(&state, &remove(&["ana", "eva"])).await.unwrap_err().to_string();
        assert!(missing.contains("`eva` is not in the group `legal`"), "{missing}");
        assert_eq!(state.groups_of("ana").await.unwrap(), ["legal"], "out though the command failed");
        execute(&state, &remove(&["ana", "luis"])).await.unwrap();
        assert!(state.groups().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_deleted_user_leaves_nothing_that_a_namesake_could_inherit() {
        let (_directory, state) = opened().await;
        let password = Some(password::hash("ana", "three words together").unwrap());
        let command = AccountCommand::CreateUser { name: "ana".into(), password, role: Role::Member };
        execute(&state, &command).await.unwrap();
        state.add_to_group("legal", &["ana".to_owned()]).await.unwrap();
        state.create_conversation("ana", "Leases").await.unwrap().unwrap();
        created_key(&state, &new_key("ana", &[], Role::Member, None)).await;
        // Nobody's affair but the key's own user's.
        created_key(&state, &new_key("bot", &[], Role::Member, None)).await;
        let delete = AccountCommand::DeleteUser { name: "ana".into() };
        let deleted = Deleted { sessions: 0, keys: 1, conversations: 1 };
        let gone = execute(&state, &delete).await.unwrap();
        assert_eq!(gone, AccountReply::UserDeleted { user: "ana".into(), deleted });
        execute(&state, &delete).await.unwrap_err();
        assert_eq!(state.keys().await.unwrap().len(), 1);

        execute(&state, &create("ana", Role::Member)).await.unwrap();
        assert!(state.groups_of("ana").await.unwrap().is_empty());
        assert_eq!(state.conversation_count("ana").await.unwrap(), 0);
        assert!(state.password_hash("ana").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_new_user_inherits_nothing_from_a_key_of_the_same_name() {
        let (_directory, state) = opened().await;
        let key = created_key(&state, &new_key("bot", &["legal"], Role::Admin, None)).await;
        state.create_conversation("bot", "Leases").await.unwrap().unwrap();
        let refused = execute(&state, &create("bot", Role::Member)).await.unwrap_err().to_string();
        assert!(refused.contains("1 keys and 1 conversations") && refused.contains("user delete bot"), "{refused}");
        assert!(state.users().await.unwrap().is_empty());
        // What a revoked key leaves is inherited no more than the key.
        execute(&state, &AccountCommand::RevokeKey { id: key.record.id }).await.unwrap();
        execute(&state, &create("bot", Role::Member)).await.unwrap_err();

        let delete = AccountCommand::DeleteUser { name: "bot".into() };
        let deleted = Deleted { sessions: 0, keys: 0, conversations: 1 };
        let gone = execute(&state, &delete).await.unwrap();
        assert_eq!(gone, AccountReply::UserDeleted { user: "bot".into(), deleted });
        assert!(matches!(execute(&state, &delete).await, Err(AccountError::NoSuchUser(_))));
        execute(&state, &create("bot", Role::Member)).await.unwrap();
        assert_eq!(state.conversation_count("bot").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_key_is_told_once_stored_as_a_hash_and_ends() {
        let (directory, state) = opened().await;
        let created = created_key(&state, &new_key("ana", &["legal", "hr", "legal"], Role::Admin, Some(1))).await;
        assert!(secret::is_key(&created.key));
        assert_eq!(created.record.groups.as_deref(), Some(&["hr".to_owned(), "legal".to_owned()][..]));
        assert_eq!(created.record.expires_ms, Some(created.record.created_ms + DAY_MS));
        assert!(!created.local_user);
        assert_eq!(created.unknown_groups, ["hr", "legal"]);
        let reply = serde_json::to_value(AccountReply::KeyCreated(created.clone())).unwrap();
        assert_eq!(serde_json::from_value::<AccountReply>(reply).unwrap(), AccountReply::KeyCreated(created.clone()));

        let hash = secret::hash(&created.key);
        assert_eq!(state.key_by_hash(&hash).await.unwrap().as_ref(), Some(&created.record));
        let over = KeyRecord { id: "over".into(), expires_ms: Some(now_ms() - 1), ..created.record.clone() };
        state.create_key(&over, "hash of another").await.unwrap();
        assert_eq!(state.key_by_hash("hash of another").await.unwrap(), None);
        assert!(state.keys().await.unwrap().iter().any(|key| key.id == "over" && key.is_expired()));

        let group = new_key("ana", &["a b"], Role::Member, None);
        assert!(matches!(execute(&state, &group).await, Err(AccountError::InvalidName { what: "group", .. })));
        let revoke = AccountCommand::RevokeKey { id: created.record.id.clone() };
        execute(&state, &revoke).await.unwrap();
        assert_eq!(state.key_by_hash(&hash).await.unwrap(), None);
        assert!(matches!(execute(&state, &revoke).await, Err(AccountError::NoSuchKey(_))));
        state.close().await;
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let secret = created.key.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the secret is on the disk");
        }
    }

    #[tokio::test]
    async fn a_key_for_a_group_that_nobody_has_is_told_so() {
        let (_directory, state) = opened().await;
        execute(&state, &create("ana", Role::Member)).await.unwrap();
        execute(&state, &AccountCommand::AddToGroup { group: "legal".into(), users: vec!["ana".into()] })
            .await
            .unwrap();
        let created = created_key(&state, &new_key("bot", &["legal", "lgeal"], Role::Member, None)).await;
        assert_eq!(created.unknown_groups, ["lgeal"]);
        let created = created_key(&state, &new_key("bot", &["legal"], Role::Member, None)).await;
        assert!(created.unknown_groups.is_empty());
    }

    #[tokio::test]
    async fn who_is_no_administrator_any_more_has_no_administrators_keys() {
        let (_directory, state) = opened().await;
        execute(&state, &create("iris", Role::Admin)).await.unwrap();
        let key = created_key(&state, &new_key("iris", &[], Role::Admin, None)).await.key;
        let lower = AccountCommand::SetRole { name: "iris".into(), role: Role::Member };
        let lowered = execute(&state, &lower).await.unwrap();
        assert_eq!(lowered, AccountReply::RoleSet { user: "iris".into(), role: Role::Member, keys_lowered: 1 });
        let record = state.key_by_hash(&secret::hash(&key)).await.unwrap().unwrap();
        assert_eq!(record.role, Role::Member);
    }
}
