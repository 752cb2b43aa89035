//! `intramuros user`

use std::io::{IsTerminal, Read};

use anyhow::{Context, bail};
use clap::Subcommand;

use super::{Session, output};
use crate::accounts::{AccountCommand, AccountReply, check_user_name};
use crate::auth::Role;
use crate::auth::password::{self, MIN_CHARS, PasswordHash};
use crate::state::users::UserRecord;

#[derive(clap::Args)]
#[command(after_help = "\
What a user may read is what documents' readers say: `user:NAME`, `group:GROUP` for each of their groups (see \
`intramuros group`) and `everyone`. The role `admin` lets them bring documents in and run jobs over HTTP; it does not let \
them read more.

  intramuros user create ana
  intramuros group add legal ana")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a user; asks for a password twice, without showing it
    Create {
        /// The name that documents' readers call `user:NAME`; no spaces or commas
        name: String,
        /// `member` asks and searches; `admin` brings documents in and runs jobs besides
        #[arg(long, value_enum, default_value_t = Role::Member)]
        role: Role,
        #[command(flatten)]
        password: Password,
    },
    /// List users with their roles and groups
    List,
    /// Delete a user with their sessions, keys, memberships and conversations; documents stay. Takes the name of a program too,
    /// which has keys and is no user
    Delete {
        /// Whom
        name: String,
    },
    /// Give a user another password; all their browser sessions end
    Password {
        /// Whose
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Give a user another role; keys of a former admin become a member's
    Role {
        /// Whom
        name: String,
        /// Which
        #[arg(value_enum)]
        role: Role,
    },
}

/// Where the password comes from; from the terminal if nothing is said.
#[derive(clap::Args)]
struct Password {
    /// Read the password (10 characters or more) from the first line of standard input
    #[arg(long, conflicts_with = "no_password")]
    password_stdin: bool,
    /// No password: cannot sign in, but may have API keys
    #[arg(long)]
    no_password: bool,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let reply = session.accounts(&command(session, &args.command)?)?;
    if session.json {
        return output::json(&reply.document()?);
    }
    match reply {
        AccountReply::User(user) => outln!("{} is a user now: {}", user.user, described(&user)),
        AccountReply::Users { users } if users.is_empty() => {
            outln!("no users yet; `intramuros user create NAME` creates one");
        }
        AccountReply::Users { users } => list(&users),
        AccountReply::UserDeleted { user, deleted } => {
            let (sessions, keys, conversations) = (deleted.sessions, deleted.keys, deleted.conversations);
            outln!("{user} is gone, with {sessions} sessions, {keys} keys and {conversations} conversations");
        }
        AccountReply::PasswordSet { user, signs_in, sessions_ended } => {
            let now = if signs_in { "has a new password" } else { "cannot sign in any more" };
            outln!("{user} {now}; {sessions_ended} sessions ended");
        }
        AccountReply::RoleSet { user, role, keys_lowered } => {
            outln!("{user} is {} now", article(role));
            if keys_lowered > 0 {
                outln!("{keys_lowered} keys of the role admin have the role member now");
            }
        }
        other => bail!("another reply than asked for: {other:?}"),
    }
    Ok(())
}

fn command(session: &Session, command: &Command) -> anyhow::Result<AccountCommand> {
    Ok(match command {
        Command::Create { name, role, password } => {
            check_user_name(name)?;
            AccountCommand::CreateUser { name: name.clone(), password: password.read(name)?, role: *role }
        }
        Command::List => AccountCommand::ListUsers,
        Command::Delete { name } => AccountCommand::DeleteUser { name: name.clone() },
        Command::Password { name, password } => {
            // Nobody wants to hear after typing it twice that the name was wrong.
            session.accounts(&AccountCommand::ShowUser { name: name.clone() })?;
            AccountCommand::SetPassword { name: name.clone(), password: password.read(name)? }
        }
        Command::Role { name, role } => AccountCommand::SetRole { name: name.clone(), role: *role },
    })
}

impl Password {
    fn read(&self, user: &str) -> anyhow::Result<Option<PasswordHash>> {
        if self.no_password {
            return Ok(None);
        }
        let text = if self.password_stdin { from_stdin()? } else { from_terminal(user)? };
        Ok(Some(password::hash(user, &text)?))
    }
}

fn from_stdin() -> anyhow::Result<String> {
    const MOST: u64 = 64 << 10;
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MOST).read_to_end(&mut bytes).context("cannot read standard input")?;
    let text = String::from_utf8(bytes).context("the password is not valid UTF-8")?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("no password came by standard input: pipe one in, `--password-stdin < FILE`");
    }
    Ok(line.to_owned())
}

fn from_terminal(user: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask for the password on: pass it by `--password-stdin < FILE`, or `--no-password` for \
             a user who does not sign in"
        );
    }
    let ask = |prompt: String| rpassword::prompt_password(prompt).context("cannot ask for the password");
    let first = ask(format!("Password of {user} ({MIN_CHARS} characters or more, not shown): "))?;
    if first != ask("The same again: ".to_owned())? {
        bail!("the two are not the same: run the command again");
    }
    Ok(first)
}

fn described(user: &UserRecord) -> String {
    let sign_in = if user.signs_in { "signs in with the password" } else { "has no password" };
    format!("{}, {sign_in}", article(user.role))
}

fn article(role: Role) -> &'static str {
    match role {
        Role::Member => "a member",
        Role::Admin => "an admin",
    }
}

fn list(users: &[UserRecord]) {
    let mut rows = Vec::with_capacity(users.len());
    for user in users {
        let password = if user.signs_in { "yes" } else { "no" };
        rows.push(vec![user.user.clone(), user.role.to_string(), password.to_owned(), user.groups.join(",")]);
    }
    output::table(&["user", "role", "password", "groups"], &rows);
}
