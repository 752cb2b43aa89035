//! Configuration: embedded defaults, then a file, then the environment, then checks that name the bad field.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use intramuros_models::Precision;
use intramuros_models::engine::EngineOptions;
use serde::Deserialize;
use toml::{Table, Value};

/// The commented defaults, also the documentation of every field.
pub const DEFAULTS: &str = include_str!("config.default.toml");

const ENVIRONMENT_PREFIX: &str = "INTRAMUROS_";
/// What else begins so, and is read elsewhere.
const OTHER_VARIABLES: &[&str] = &["CONFIG", "DATA_DIR", "MODELS_DIR", "LOG"];

/// All settings. The comments of `config.default.toml` explain each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(deserialize_with = "optional_path")]
    data_dir: Option<PathBuf>,
    /// Which models, and where they are.
    pub models: Models,
    /// Where vectors are kept.
    pub store: Store,
    /// How files are read.
    pub ingest: Ingest,
    /// How passages are found.
    pub retrieve: Retrieve,
    /// How answers are made.
    pub answer: Answer,
    /// How the server behaves.
    pub server: Server,
    /// What `ingest` without a path goes through.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// Which models, and where they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// Name of a profile.
    pub profile: String,
    /// Overrides the profile's embedder unless empty.
    pub embedder: String,
    /// Overrides the profile's generator unless empty.
    pub generator: String,
    /// Overrides the profile's reranker unless empty.
    pub reranker: String,
    /// How the weights of embedder and reranker are multiplied.
    pub precision: Precision,
    /// Memory for the generator's keys and values.
    pub kv_mib: usize,
    /// Threads of the generator; 0 for one per processor.
    pub threads: usize,
    #[serde(deserialize_with = "optional_path")]
    dir: Option<PathBuf>,
    /// A local directory with model files.
    #[serde(deserialize_with = "optional_path")]
    pub mirror: Option<PathBuf>,
    /// A further catalogue.
    #[serde(deserialize_with = "optional_path")]
    pub catalog: Option<PathBuf>,
}

/// Where vectors are kept.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Embedded or served.
    pub kind: StoreKind,
    /// gRPC address of a Qdrant server.
    pub url: String,
    /// Its key, or empty.
    pub api_key: String,
    /// Name of the collection there.
    pub collection: String,
}

/// The key stays out of logs and messages.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("kind", &self.kind)
            .field("url", &self.url)
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

/// Embedded or served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Qdrant's engine in this process.
    Edge,
    /// A Qdrant server or cluster.
    Server,
}

/// How files are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Reader processes; 0: one per core.
    pub workers: usize,
    /// Seconds one file may take.
    pub timeout_s: u64,
    /// MiB one file may take in memory.
    pub memory_mib: u64,
    /// Chunk size aimed at, in tokens.
    pub target_tokens: usize,
}

/// How passages are found.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrieve {
    /// Passages returned.
    pub limit: usize,
    /// Hits per branch.
    pub candidates: usize,
    /// Share of the dense score.
    pub dense_weight: f32,
    /// Whether a reranker puts the best passages in order.
    pub rerank: bool,
    /// Passages that it reads.
    pub rerank_candidates: usize,
}

/// How answers are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Written or quoted.
    pub mode: AnswerMode,
    /// Longest answer in tokens.
    pub max_tokens: usize,
    /// Passages together in tokens.
    pub passage_tokens: usize,
    /// Milliseconds to the first word that the passages are fitted to; 0 for no such limit.
    pub first_token_ms: u32,
    /// Longest question in characters.
    pub max_question_chars: usize,
    /// Least probability that the passages answer.
    pub min_relevance: f32,
}

/// How the server behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: String,
    /// Connections at a time.
    pub connections: usize,
    /// Requests that may wait for search or an answer.
    pub queue: usize,
    /// Answers made at a time.
    pub answers_at_once: usize,
    /// Seconds a request may take.
    pub timeout_s: u64,
    /// Seconds in which a client must send its header, or the next piece of a body.
    pub slow_client_s: u64,
    /// Seconds that running requests and jobs get to end in.
    pub shutdown_s: u64,
    /// KiB of a JSON body.
    pub max_body_kib: usize,
    /// MiB of an upload, all its files together.
    pub max_upload_mib: usize,
    /// Hours after which a browser must sign in again.
    pub session_hours: u64,
}

/// Written or quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, clap::ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerMode {
    /// A model writes; each sentence is checked.
    Generate,
    /// Exact quotes only; needs no generator.
    Extract,
}

/// A configured source.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    /// Unique name.
    pub name: String,
    /// One of [`intramuros_ingest::source::KINDS`].
    #[serde(default = "folder")]
    pub kind: String,
    /// What this kind needs; decoded where the kind is implemented.
    #[serde(flatten)]
    pub settings: Table,
}

fn folder() -> String {
    "folder".into()
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{origin} is not valid TOML: {reason}")]
    Syntax {
        /// File or variable.
        origin: String,
        /// What the parser says.
        reason: String,
    },
    /// A field is unknown or has a wrong value.
    #[error("{origin}: `{field}`: {reason}; `intramuros doctor --print-config` shows every field with its default")]
    Field {
        /// File or variable.
        origin: String,
        /// Dotted name.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A variable that looks like a setting and is none.
    #[error(
        "the environment variable {name} is no setting: write INTRAMUROS_SECTION__FIELD with two underscores between, or unset it"
    )]
    Variable {
        /// Its name.
        name: String,
    },
    /// No home directory to put data in.
    #[error("cannot tell where to put the data: set `data_dir` in the configuration, or pass --data-dir DIR")]
    NoDataDirectory,
}

impl Config {
    /// Loads defaults, then the file, then the environment (`INTRAMUROS_SECTION__FIELD`).
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(
            file,
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        )
    }

    fn load_with(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: Table = DEFAULTS.parse().expect("the embedded defaults are valid");
        if let Some(path) = file {
            let origin = path.display().to_string();
            let text =
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: origin.clone(), source })?;
            let own: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
                origin: place(&origin, &text, &error),
                reason: error.message().to_owned(),
            })?;
            merge(&mut table, own);
            // Checked after each layer, so that the message can name the one to mend.
            parse(&table, &origin)?;
        }
        for (name, text) in environment {
            let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            if !path.contains("__") {
                if OTHER_VARIABLES.contains(&path) {
                    continue;
                }
                return Err(ConfigError::Variable { name });
            }
            let path = path.to_lowercase();
            let parts: Vec<&str> = path.split("__").collect();
            let mut value = environment_value(&text, default_of(&table, &parts));
            for part in parts.into_iter().rev() {
                value = Value::Table(Table::from_iter([(part.to_owned(), value)]));
            }
            if let Value::Table(layer) = value {
                merge(&mut table, layer);
            }
            parse(&table, &format!("environment variable {name}"))?;
        }
        parse(&table, "the built-in defaults")
    }

    /// The data directory: as configured, else the person's own.
    pub fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        let own = || {
            let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
            Some(data.join("intramuros"))
        };
        self.data_dir.clone().or_else(own).ok_or(ConfigError::NoDataDirectory)
    }

    /// Puts the data elsewhere, as `--data-dir` does.
    pub fn set_data_dir(&mut self, directory: PathBuf) {
        self.data_dir = Some(directory);
    }

    /// Puts the data into a directory apart, with no source and no server of the configuration's: for documents that must
    /// never answer a real question.
    pub fn use_alone(&mut self, directory: PathBuf) {
        self.data_dir = Some(directory);
        self.sources.clear();
        self.store.kind = StoreKind::Edge;
    }

    /// Where installed models are.
    pub fn models_dir(&self) -> PathBuf {
        self.models.dir.clone().unwrap_or_else(intramuros_models::weights::default_models_dir)
    }

    /// How the generator's engine is set up.
    pub fn engine(&self) -> EngineOptions {
        EngineOptions {
            threads: self.models.threads.min(processors()),
            kv_bytes: self.models.kv_mib << 20,
            sequences: self.server.answers_at_once,
        }
    }

    fn check(&self) -> Result<(), (String, String)> {
        let fail = |field: &str, reason: &str| Err((field.to_owned(), reason.to_owned()));
        if !(0.0..=1.0).contains(&self.retrieve.dense_weight) {
            return fail("retrieve.dense_weight", "must lie between 0 and 1");
        }
        for (field, value, most) in [
            ("retrieve.limit", self.retrieve.limit, 100),
            ("retrieve.candidates", self.retrieve.candidates, 1000),
            ("retrieve.rerank_candidates", self.retrieve.rerank_candidates, 1000),
            ("models.kv_mib", self.models.kv_mib, 1 << 20),
            ("answer.max_tokens", self.answer.max_tokens, 100_000),
            ("answer.passage_tokens", self.answer.passage_tokens, 1_000_000),
            ("answer.max_question_chars", self.answer.max_question_chars, 100_000),
            ("server.connections", self.server.connections, 100_000),
            ("server.queue", self.server.queue, 100_000),
            ("server.answers_at_once", self.server.answers_at_once, 1000),
            ("server.max_body_kib", self.server.max_body_kib, 1 << 20),
            ("server.max_upload_mib", self.server.max_upload_mib, 1 << 20),
        ] {
            if value == 0 || value > most {
                return fail(field, &format!("must lie between 1 and {most}"));
            }
        }
        for (field, value) in [
            ("server.timeout_s", self.server.timeout_s),
            ("server.slow_client_s", self.server.slow_client_s),
            ("server.shutdown_s", self.server.shutdown_s),
            ("server.session_hours", self.server.session_hours),
        ] {
            if value == 0 || value > 100_000 {
                return fail(field, "must lie between 1 and 100000");
            }
        }
        if self.server.listen.parse::<std::net::SocketAddr>().is_err() {
            return fail("server.listen", "must be an address with a port, such as 127.0.0.1:8080 or [::1]:8080");
        }
        for (field, value, range) in [
            ("models.threads", self.models.threads as u64, 0..=1024),
            ("ingest.workers", self.ingest.workers as u64, 0..=256),
            ("ingest.timeout_s", self.ingest.timeout_s, 1..=86_400),
            ("ingest.memory_mib", self.ingest.memory_mib, 64..=1 << 20),
            ("ingest.target_tokens", self.ingest.target_tokens as u64, 32..=100_000),
        ] {
            if !range.contains(&value) {
                return fail(field, &format!("must lie between {} and {}", range.start(), range.end()));
            }
        }
        if !(0.0..=1.0).contains(&self.answer.min_relevance) {
            return fail("answer.min_relevance", "must lie between 0 and 1");
        }
        let mut names = BTreeSet::new();
        for source in &self.sources {
            if source.name.is_empty() || !names.insert(&source.name) {
                return fail("sources", &format!("the name `{}` is empty or stands twice", source.name));
            }
            if source.name == crate::uploads::SOURCE {
                return fail("sources", "the name `uploads` belongs to the files that come over HTTP: choose another");
            }
            // Opening looks at the settings only, not at the place itself.
            if let Err(error) = intramuros_ingest::source::open(&source.name, &source.kind, source.settings.clone()) {
                return fail("sources", error.to_string().trim());
            }
        }
        Ok(())
    }
}

fn parse(table: &Table, origin: &str) -> Result<Config, ConfigError> {
    let field = |field: String, reason: String| ConfigError::Field { origin: origin.to_owned(), field, reason };
    let config: Config = serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
        let reason = error.inner().to_string();
        field(error.path().to_string(), reason.trim().to_owned())
    })?;
    config.check().map_err(|(name, reason)| field(name, reason))?;
    Ok(config)
}

fn merge(base: &mut Table, layer: Table) {
    for (key, value) in layer {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// File and line, without the line itself: a key may stand in it.
fn place(origin: &str, text: &str, error: &toml::de::Error) -> String {
    match error.span() {
        Some(span) => format!("{origin}, line {}", text[..span.start.min(text.len())].lines().count().max(1)),
        None => origin.to_owned(),
    }
}

fn default_of<'a>(table: &'a Table, parts: &[&str]) -> Option<&'a Value> {
    let (first, rest) = parts.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { default_of(value.as_table()?, rest) }
}

/// A text where the default is one; else a number or a truth value if it reads as one.
fn environment_value(text: &str, default: Option<&Value>) -> Value {
    if default.is_some_and(Value::is_str) {
        return Value::String(text.to_owned());
    }
    let scalar = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match scalar {
        Some(value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn optional_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// Processors that this process may use. Threads of a model look out for work all the time, so that more of them than
/// processors hold each other up.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load_with(Some(&path), environment)
    }

    #[test]
    fn layers_override_each_other() {
        let config = load("[retrieve]\nlimit = 3\n", &[("INTRAMUROS_RETRIEVE__CANDIDATES", "7")]).unwrap();
        assert_eq!((config.retrieve.limit, config.retrieve.candidates), (3, 7));
        assert_eq!(config.models.profile, "starter");
        assert!(config.sources.is_empty());
    }

    #[test]
    fn a_source_that_says_nothing_is_readable_by_nobody() {
        let config = load("[[sources]]\nname = 'a'\npath = '/a'\n", &[]).unwrap();
        let settings: intramuros_ingest::source::FolderSettings =
            config.sources[0].settings.clone().try_into().unwrap();
        assert!(settings.readers.is_nobody());
    }

    #[test]
    fn bad_fields_are_named_with_their_origin() {
        let error = |text, environment: &[_]| load(text, environment).unwrap_err().to_string();
        let unknown = error("[retrieve]\nlimits = 3\n", &[]);
        assert!(
            unknown.contains("own.toml") && unknown.contains("limits") && unknown.contains("candidates"),
            "{unknown}"
        );
        let kind = error("[store]\nkind = 'sqlite'\n", &[]);
        assert!(kind.contains("store.kind") && kind.contains("edge"), "{kind}");
        let range = error("[retrieve]\ndense_weight = 2.0\n", &[]);
        assert!(range.contains("retrieve.dense_weight") && range.contains("between 0 and 1"), "{range}");
        let variable = error("", &[("INTRAMUROS_ANSWER__MAX_TOKENS", "many")]);
        assert!(variable.contains("INTRAMUROS_ANSWER__MAX_TOKENS") && variable.contains("max_tokens"), "{variable}");
        let readers = error("[[sources]]\nname = 'a'\npath = '/a'\nreaders = ['ana']\n", &[]);
        assert!(readers.contains("source `a`") && readers.contains("group:NAME"), "{readers}");
        assert!(error("x = [", &[]).contains("not valid TOML"));
        let secret = error("[store]\napi_key = 'hidden\n", &[]);
        assert!(secret.contains("line 2") && !secret.contains("hidden"), "{secret}");
        let single = error("", &[("INTRAMUROS_RETRIEVE_LIMIT", "1")]);
        assert!(single.contains("INTRAMUROS_RETRIEVE_LIMIT") && single.contains("two underscores"), "{single}");
        let threads = error("[models]\nthreads = 1000000\n", &[]);
        assert!(threads.contains("models.threads") && threads.contains("between 0 and 1024"), "{threads}");
        let endless = error("[answer]\nmin_relevance = nan\n", &[]);
        assert!(endless.contains("answer.min_relevance"), "{endless}");
        assert!(load("", &[("INTRAMUROS_LOG", "info")]).is_ok());
        let digits = load("", &[("INTRAMUROS_STORE__API_KEY", "918273645")]).unwrap();
        assert_eq!(digits.store.api_key, "918273645");
    }
}
