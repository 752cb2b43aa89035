//! The calls other than ingest: what reads, what forgets a source, and users, groups and keys.

use std::sync::Arc;

use anyhow::bail;
use intramuros_ingest::access::Acl;
use intramuros_ingest::document::DocumentId;
use intramuros_models::{CompiledGrammar, Grammar};
use serde::{Deserialize, Serialize};

use super::{Call, Event, Listener, caller};
use crate::accounts::{self, AccountCommand, AccountReply};
use crate::answer::{self, Answer, AnswerEvent, AnswerMode, Ask};
use crate::app::App;
use crate::doctor::{self, Finding};
use crate::http::search::SearchResponse;
use crate::index;
use crate::state::conversations::FeedbackRecord;
use crate::state::documents::DocumentRecord;
use crate::state::jobs::JobRecord;

/// Finds passages.
#[derive(Debug, Serialize, Deserialize)]
pub struct Search {
    /// In the caller's words.
    pub question: String,
    /// Passages; as configured if not given.
    pub limit: Option<usize>,
    /// On whose behalf.
    pub principals: Option<Acl>,
}

impl Call for Search {
    type Reply = SearchResponse;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<SearchResponse> {
        let settings = app.config();
        answer::validate(&self.question, &settings.answer)?;
        let limit = self.limit.unwrap_or(settings.retrieve.limit);
        let retrieved = app.retriever()?.search(&caller(self.principals.as_ref()), &self.question, limit)?;
        Ok(SearchResponse::from(&retrieved))
    }
}

/// Answers a question; the text is heard while it is made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// In the caller's words.
    pub question: String,
    /// As configured if not given.
    pub mode: Option<AnswerMode>,
    /// Greedy unless given.
    pub seed: Option<u64>,
    /// What the answer must be valid against, as JSON; sentences if not given.
    pub schema: Option<serde_json::Value>,
    /// On whose behalf.
    pub principals: Option<Acl>,
}

impl Call for Question {
    type Reply = Answer;

    fn perform(&self, app: &App, listener: &mut Listener<'_>) -> anyhow::Result<Answer> {
        let settings = &app.config().answer;
        answer::validate(&self.question, settings)?;
        let mode = self.mode.unwrap_or(settings.mode);
        let grammar = self.schema.clone().map(Grammar::JsonSchema);
        let form = grammar.map(CompiledGrammar::new).transpose()?.map(Arc::new);
        let ask = Ask { seed: self.seed, form, ..Ask::new(self.question.clone(), mode) };
        Ok(app.ask(&caller(self.principals.as_ref()), &ask, &mut |event| match event {
            AnswerEvent::Text(text) | AnswerEvent::Refusal(text) => listener.tell(Event::Text(text.to_owned())),
            AnswerEvent::Citation(_) | AnswerEvent::Waiting => !listener.is_cancelled(),
        })?)
    }
}

/// Lists documents.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListDocuments {
    /// On whose behalf.
    pub principals: Option<Acl>,
}

impl Call for ListDocuments {
    type Reply = Vec<DocumentRecord>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Vec<DocumentRecord>> {
        Ok(app.wait(app.state().documents(&caller(self.principals.as_ref())))?)
    }
}

/// Shows a document's record; `None` where there is none that the caller may read.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShowDocument {
    /// Which.
    pub id: DocumentId,
    /// On whose behalf.
    pub principals: Option<Acl>,
}

impl Call for ShowDocument {
    type Reply = Option<DocumentRecord>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Option<DocumentRecord>> {
        Ok(app.wait(app.state().document(&caller(self.principals.as_ref()), self.id))?)
    }
}

/// Gives a document's extracted text; `None` where there is none that the caller may read.
#[derive(Debug, Serialize, Deserialize)]
pub struct DocumentText {
    /// Which.
    pub id: DocumentId,
    /// On whose behalf.
    pub principals: Option<Acl>,
}

impl Call for DocumentText {
    type Reply = Option<String>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Option<String>> {
        Ok(app.wait(app.state().document_text(&caller(self.principals.as_ref()), self.id))?)
    }
}

/// Takes all documents of a source out of the index and forgets the source; gives their number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Forget {
    /// Its name.
    pub source: String,
}

impl Call for Forget {
    type Reply = usize;

    fn perform(&self, app: &App, listener: &mut Listener<'_>) -> anyhow::Result<usize> {
        if !listener.wait_for_turn(app) {
            bail!("interrupted; nothing was forgotten");
        }
        let source = &self.source;
        let known = app.wait(app.state().sources())?.iter().any(|record| record.name == *source)
            || !app.wait(app.state().known(source))?.is_empty();
        if !known {
            bail!("no source `{source}`; `intramuros documents --json` shows the source of each document");
        }
        Ok(index::forget(app, source)?)
    }
}

/// Lists the latest jobs, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListJobs {
    /// How many.
    pub limit: u32,
}

impl Call for ListJobs {
    type Reply = Vec<JobRecord>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Vec<JobRecord>> {
        Ok(app.wait(app.state().jobs(self.limit))?)
    }
}

/// Shows a job.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShowJob {
    /// Which.
    pub id: String,
}

impl Call for ShowJob {
    type Reply = Option<JobRecord>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Option<JobRecord>> {
        Ok(app.wait(app.state().job(&self.id))?)
    }
}

/// Lists what people thought of their answers, the latest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListFeedback {
    /// How many.
    pub limit: u32,
}

impl Call for ListFeedback {
    type Reply = Vec<FeedbackRecord>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Vec<FeedbackRecord>> {
        Ok(app.wait(app.state().feedback(self.limit))?)
    }
}

/// Looks at what `intramuros doctor` shows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Examine {}

impl Call for Examine {
    type Reply = Vec<Finding>;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<Vec<Finding>> {
        Ok(doctor::examine(app))
    }
}

/// Users, groups and keys. What changes counts from the server's next request on.
impl Call for AccountCommand {
    type Reply = AccountReply;

    fn perform(&self, app: &App, _: &mut Listener<'_>) -> anyhow::Result<AccountReply> {
        Ok(app.wait(accounts::execute(app.state(), self))?)
    }
}
