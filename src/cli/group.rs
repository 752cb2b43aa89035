//! `intramuros group`

use anyhow::bail;
use clap::Subcommand;

use super::{Session, output};
use crate::accounts::{AccountCommand, AccountReply};

#[derive(clap::Args)]
#[command(after_help = "\
A group is there as long as somebody is in it, and counts from the next request on. Documents are given to it when they \
are brought in:

  intramuros group add legal ana luis
  intramuros ingest ./contracts --acl group:legal")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List groups with their members
    List,
    /// Put users into a group
    Add {
        /// The name that documents' readers call `group:NAME`
        group: String,
        /// Users that exist
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// Take users out of a group
    Remove {
        /// Its name
        group: String,
        /// Users that are in it
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let command = match &args.command {
        Command::List => AccountCommand::ListGroups,
        Command::Add { group, users } => AccountCommand::AddToGroup { group: group.clone(), users: users.clone() },
        Command::Remove { group, users } => {
            AccountCommand::RemoveFromGroup { group: group.clone(), users: users.clone() }
        }
    };
    let reply = session.accounts(&command)?;
    if session.json {
        return output::json(&reply.document()?);
    }
    match reply {
        AccountReply::Groups { groups } if groups.is_empty() => {
            outln!("no groups yet; `intramuros group add GROUP USER…` makes one");
        }
        AccountReply::Groups { groups } => {
            let rows: Vec<Vec<String>> =
                groups.into_iter().map(|record| vec![record.group, record.members.join(",")]).collect();
            output::table(&["group", "members"], &rows);
        }
        AccountReply::Group(record) if record.members.is_empty() => outln!("nobody is in {} any more", record.group),
        AccountReply::Group(record) => outln!("in {} are now: {}", record.group, record.members.join(", ")),
        other => bail!("another reply than asked for: {other:?}"),
    }
    Ok(())
}
