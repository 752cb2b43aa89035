//! `intramuros demo`

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use intramuros_ingest::access::{Acl, Caller};
use intramuros_models::catalog::Catalog;
use serde::Deserialize;
use serde_json::json;

use super::{Session, ask, ingest, models, output, serve};
use crate::accounts::AccountError;
use crate::answer::{AnswerMode, Ask};
use crate::app::App;
use crate::auth::{Role, password, secret};
use crate::index;
use crate::state::users::Created;

#[derive(clap::Args)]
pub struct Args {
    /// End after the three answers instead of serving the chat page
    #[arg(long)]
    no_serve: bool,
    /// Address and port of the chat page, in place of `server.listen` of the configuration
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The sample intranet, where the command does not run in the source tree
    #[arg(long, value_name = "DIR")]
    samples: Option<PathBuf>,
}

/// The models that the demo runs on, whatever the configuration names.
const STARTER: &str = "starter";

/// Who asks what: a public question in each language, and one that only a group may see answered.
const QUESTIONS: &[(&str, &str)] = &[
    ("user:rosa", "What was the reason for the Miravela outage in August?"),
    ("user:rosa", "¿Cuántos días de vacaciones me corresponden este año con contrato español?"),
    ("user:ana,group:legal", "When is the last date to give notice for the break of the Quayside Row lease?"),
];

pub fn run(mut session: Session, args: &Args) -> anyhow::Result<()> {
    let samples = samples(args)?;
    let docs = samples.join("docs");
    // An index of its own: the sample documents must never answer a real question.
    let directory = session.config.data_dir()?.join("demo");
    session.config.use_alone(directory);
    session.config.models.profile = STARTER.to_owned();
    session.config.models.embedder.clear();
    session.config.models.generator.clear();
    session.config.models.reranker.clear();

    say(&session, "1. The starter models");
    let catalog = Catalog::load(session.config.models.catalog.as_deref())?;
    for pulled in models::pull_all(&session.config, &catalog, STARTER)? {
        say(&session, &format!("   {}", models::describe(&pulled)));
    }
    say(&session, &format!("\n2. The sample intranet, {}", docs.display()));
    let app = session.app("demo")?;
    let planned = index::source_of(&app, &docs, None)?;
    let report = ingest::run_one(&app, &planned, false, &ingest::cancel_on_ctrl_c(&session))?;
    if report.interrupted {
        bail!("interrupted; run the same command again to go on");
    }
    say(&session, report.to_string().trim_end());

    say(&session, "\n3. Three questions");
    let mut answers = Vec::new();
    for (principals, question) in QUESTIONS {
        let answer = ask_as(&session, &app, principals, question)?;
        answers.push(json!({ "as": principals, "question": question, "answer": answer }));
    }
    if session.json {
        return output::json(&json!({ "index": report, "answers": answers }));
    }
    if args.no_serve {
        return Ok(());
    }
    serve_people(&session, app, &samples, args.listen)
}

fn samples(args: &Args) -> anyhow::Result<PathBuf> {
    let in_tree =
        std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("samples/intranet");
    let samples = args.samples.clone().unwrap_or(in_tree);
    samples.canonicalize().with_context(|| {
        format!(
            "the sample intranet is not at {}: run the command in the source tree, or name it with --samples DIR",
            samples.display()
        )
    })
}

fn say(session: &Session, text: &str) {
    if !session.json {
        outln!("{text}");
    }
}

fn ask_as(session: &Session, app: &App, principals: &str, question: &str) -> anyhow::Result<crate::answer::Answer> {
    let acl: Acl = principals.parse()?;
    let caller = Caller::new(acl.readers().cloned());
    say(session, &format!("\n{question}   (asked as {principals})"));
    let ask = Ask::new(question.to_owned(), AnswerMode::Generate);
    let silent = session.json;
    let answer = app.ask(&caller, &ask, &mut |event| silent || ask::print_event(event))?;
    if !silent {
        outln!("");
        ask::print_rest(&answer);
    }
    Ok(answer)
}

/// A person of the sample intranet.
#[derive(Deserialize)]
struct Person {
    name: String,
    groups: Vec<String>,
}

#[derive(Deserialize)]
struct People {
    users: Vec<Person>,
}

/// Who brings documents in; the others ask.
const ADMIN: &str = "owen";

/// Serves the chat page to the people of the sample intranet, with passwords that count until the next demo.
fn serve_people(session: &Session, app: App, samples: &Path, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let path = samples.join("users.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let people: People = toml::from_str(&text).with_context(|| format!("{} is no list of users", path.display()))?;
    let mut rows = Vec::new();
    for person in &people.users {
        let word: String = secret::random()?.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let hash = password::hash(&person.name, &word)?;
        let role = if person.name == ADMIN { Role::Admin } else { Role::Member };
        let state = app.state();
        match app.wait(state.create_user(&person.name, Some(&hash), role))? {
            Created::New => {}
            Created::Exists => {
                app.wait(state.set_password(&person.name, Some(&hash)))?;
            }
            Created::InUse { keys, conversations } => {
                return Err(AccountError::NameInUse { name: person.name.clone(), keys, conversations }.into());
            }
        }
        for group in &person.groups {
            app.wait(state.add_to_group(group, std::slice::from_ref(&person.name)))?;
        }
        let groups = if person.groups.is_empty() { "none".to_owned() } else { person.groups.join(", ") };
        rows.push(vec![person.name.clone(), word, groups, role.to_string()]);
    }
    outln!("\n4. The chat page. Sign in as different people and see what each may read:\n");
    output::table(&["user", "password", "groups", "role"], &rows);
    // A demo beside a server of one's own takes another port.
    let address = match listen {
        Some(address) => address,
        None => {
            let wanted: SocketAddr = app.config().server.listen.parse().context("`server.listen`")?;
            let free = TcpListener::bind(wanted).is_ok();
            if free { wanted } else { SocketAddr::new(wanted.ip(), 0) }
        }
    };
    serve::serve(session, Arc::new(app), Some(address), |address| {
        outln!("\nOpen http://{address} in a browser. Ctrl-C ends it.");
    })
}
