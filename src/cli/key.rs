//! `intramuros key`

use anyhow::bail;
use clap::Subcommand;

use super::{Session, output};
use crate::accounts::{AccountCommand, AccountReply, CreatedKey};
use crate::auth::Role;
use crate::state::keys::KeyRecord;
use crate::state::now_ms;

#[derive(clap::Args)]
#[command(after_help = "\
A key reads what its user may read. Without --group it has the groups of the local user, as they are at each request; \
with --group it has of these the ones that the local user is in at each request, and no others. The user need not exist: a \
key for a program may have a name of its own, and then has the groups that --group says.

  intramuros key create --user ana --label \"spreadsheet\" --expires-days 90
  intramuros key create --user wiki-bot --group engineering
  curl -H \"Authorization: Bearer KEY\" http://127.0.0.1:8080/api/v1/session")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a key and show its secret, this once: only a hash of it is kept
    Create {
        /// In whose name; documents' readers call it `user:NAME`
        #[arg(long, value_name = "NAME")]
        user: String,
        /// A group whose documents the key reads, in place of all groups of the user, who has to be in it; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// `member` asks and searches; `admin` brings documents in and runs jobs besides
        #[arg(long, value_enum, default_value_t = Role::Member)]
        role: Role,
        /// What it is for, shown in the list
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        /// Days after which it stops working; without it, never
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36500))]
        expires_days: Option<u32>,
    },
    /// List keys by user; secrets are not shown, nobody has them
    List,
    /// Take a key away; it stops working at once
    Revoke {
        /// Its id, from the list
        id: String,
    },
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let command = match &args.command {
        Command::Create { user, groups, role, label, expires_days } => AccountCommand::CreateKey {
            user: user.clone(),
            groups: (!groups.is_empty()).then(|| groups.clone()),
            role: *role,
            label: label.clone(),
            expires_days: *expires_days,
        },
        Command::List => AccountCommand::ListKeys,
        Command::Revoke { id } => AccountCommand::RevokeKey { id: id.clone() },
    };
    let reply = session.accounts(&command)?;
    if let AccountReply::KeyCreated(created) = &reply {
        for group in &created.unknown_groups {
            let group = output::printable(group);
            eprintln!("warning: nobody is in the group {group} and no document is open to it; is it written right?");
        }
    }
    if session.json {
        return output::json(&reply.document()?);
    }
    match reply {
        AccountReply::KeyCreated(created) => show(&created),
        AccountReply::Keys { keys } if keys.is_empty() => {
            outln!("no keys yet; `intramuros key create --user NAME` creates one");
        }
        AccountReply::Keys { keys } => list(&keys),
        AccountReply::KeyRevoked { revoked } => {
            outln!("the key {} of {} is revoked", revoked.id, output::printable(&revoked.user));
        }
        other => bail!("another reply than asked for: {other:?}"),
    }
    Ok(())
}

fn show(created: &CreatedKey) {
    let CreatedKey { key, reads, local_user, record, .. } = created;
    outln!("{key}\n");
    outln!("This is the only time that the key is shown: keep it where its program finds it, and nowhere else.");
    outln!("A program sends it with each request:  Authorization: Bearer KEY");
    let reads: Vec<String> = reads.iter().map(ToString::to_string).collect();
    outln!("It reads what these may read: {}", reads.join(", "));
    if record.groups.is_some() && *local_user {
        outln!("Of the groups given it has those that {} is in, as things are at each request.", record.user);
    } else if record.groups.is_none() && *local_user {
        outln!("With the groups of {}, as they are at each request.", record.user);
    } else if record.groups.is_none() {
        outln!("{} is no local user and the key has no groups of its own; --group gives it some.", record.user);
    }
    match record.expires_ms {
        Some(_) => outln!("It ends {}. To end it before: intramuros key revoke {}", ends(record), record.id),
        None => outln!("It does not end by itself. To end it: intramuros key revoke {}", record.id),
    }
}

fn list(keys: &[KeyRecord]) {
    let mut rows = Vec::with_capacity(keys.len());
    for key in keys {
        let groups = key.groups.as_ref().map_or_else(|| "as the user".to_owned(), |groups| groups.join(","));
        let label = output::printable(&key.label);
        rows.push(vec![key.id.clone(), key.user.clone(), key.role.to_string(), groups, ends(key), label]);
    }
    output::table(&["id", "user", "role", "groups", "ends", "label"], &rows);
}

fn ends(key: &KeyRecord) -> String {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    match key.expires_ms.map(|end| end - now_ms()) {
        None => "never".to_owned(),
        Some(..=0) => "expired".to_owned(),
        Some(left @ ..DAY_MS) => format!("in {} hours", (left as u64).div_ceil(3_600_000)),
        Some(left) => format!("in {} days", (left as u64).div_ceil(DAY_MS as u64)),
    }
}
