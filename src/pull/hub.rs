//! The second way: the Hugging Face hub, or a company's mirror of it, through the crate `hf-hub`.
//!
//! Honours `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE`. A file that the hub's own cache holds is not
//! fetched again. With `HF_HOME` set the download goes into that cache and is copied; otherwise it goes into the staging
//! area and is moved, so that large models are not stored twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};
use intramuros_models::catalog::{ModelFile, Source};
use intramuros_models::weights;

use super::staging::{Meter, Staging, remove};
use super::{Surroundings, Trouble};

/// How long the hub may say nothing before anything has come; `hf-hub` itself would wait for ever.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// How long a transfer may stand still.
const STANDSTILL: Duration = Duration::from_secs(60);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// This way in words.
pub(super) fn describe(repo: &str, revision: Option<&str>, surroundings: &Surroundings) -> String {
    let place = match &surroundings.hub_endpoint {
        // What stands before an `@` may be a password.
        Some(url) => format!("the hub at {}", url.rsplit('@').next().unwrap_or_default()),
        None => "the Hugging Face hub".to_owned(),
    };
    let revision: String = revision.unwrap_or("main").chars().take(12).collect();
    format!("{place} ({repo} at {revision})")
}

/// Fetches what is missing of the model.
pub(super) fn fetch(staging: &Staging, source: &Source, surroundings: &Surroundings) -> Result<(), Trouble> {
    let Source::Hub { repo, revision, paths } = source else {
        return Err(Trouble::Way("is no hub".to_owned()));
    };
    let revision = revision.clone().unwrap_or_else(|| "main".to_owned());
    let repo = Repo::with_revision(repo.clone(), RepoType::Model, revision);
    for file in staging.missing() {
        let path = path_in_repo(file, paths);
        let cached = shared_cache(surroundings).and_then(|cache| in_cache(&cache, &repo, &path));
        if let Some(cached) = cached
            && staging.copy(file, &cached).is_ok()
        {
            continue;
        }
        if surroundings.hub_offline {
            return Err(Trouble::Way(format!("HF_HUB_OFFLINE is set and its cache has no right `{path}`")));
        }
        download(staging, file, path, &repo, surroundings)?;
    }
    Ok(())
}

fn path_in_repo(file: &ModelFile, paths: &BTreeMap<String, String>) -> String {
    paths.get(&file.name).unwrap_or(&file.name).clone()
}

/// The cache that other programs of this person use.
fn shared_cache(surroundings: &Surroundings) -> Option<Cache> {
    let home = surroundings.hub_home.clone();
    let home = home.or_else(|| Some(surroundings.home.as_ref()?.join(".cache").join("huggingface")))?;
    Some(Cache::new(home.join("hub")))
}

/// A file that the hub's cache holds. A revision that is a commit has no reference there, only its snapshot.
fn in_cache(cache: &Cache, repo: &Repo, path: &str) -> Option<PathBuf> {
    let snapshot = cache.path().join(repo.folder_name()).join("snapshots").join(repo.revision()).join(path);
    cache.repo(repo.clone()).get(path).or_else(|| snapshot.is_file().then_some(snapshot))
}

fn download(
    staging: &Staging,
    file: &ModelFile,
    path: String,
    repo: &Repo,
    surroundings: &Surroundings,
) -> Result<(), Trouble> {
    let own = staging.directory("hub")?;
    let shared = surroundings.hub_home.is_some();
    let cache = if shared { shared_cache(surroundings) } else { Some(Cache::new(own.clone())) };
    let Some(cache) = cache else { return Err(Trouble::Way("no place for its cache".to_owned())) };
    if !shared && take_whole_part(staging, file, &own)? {
        return Ok(());
    }

    let mut builder = ApiBuilder::from_cache(cache).with_progress(false);
    if let Some(endpoint) = &surroundings.hub_endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    // The token of `huggingface-cli login` lies in the shared cache's home.
    let token = surroundings.hub_token.clone().or_else(|| shared_cache(surroundings)?.token());
    let api = builder.with_token(token).build().map_err(|error| Trouble::Way(error.to_string()))?;

    let counter = Arc::new(Counter::default());
    let (sender, receiver) = mpsc::channel();
    let (repo, theirs) = (api.repo(repo.clone()), Counting(counter.clone()));
    // A thread of its own, because hf-hub knows no time-outs: one that hangs is left to itself and ends with the process.
    std::thread::spawn(move || sender.send(repo.download_with_progress(&path, theirs)).ok());

    let meter = Meter::new(staging.progress, file.bytes, 0);
    let (mut seen, mut since) = (0, Instant::now());
    let pointer = loop {
        match receiver.recv_timeout(LOOK) {
            Ok(Ok(pointer)) => break pointer,
            Ok(Err(error)) => return Err(Trouble::Way(one_line(&error.to_string()))),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Trouble::Way("the answer was none that hf-hub understands".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let done = counter.0.load(Ordering::Relaxed);
        if done != seen {
            (seen, since) = (done, Instant::now());
            meter.report(done);
        }
        let patience = if seen == 0 { FIRST_ANSWER } else { STANDSTILL };
        if since.elapsed() > patience {
            return Err(Trouble::Way(format!("nothing came for {} seconds", patience.as_secs())));
        }
    };
    let blob = pointer.canonicalize().map_err(|error| Trouble::Way(error.to_string()))?;
    if shared { staging.copy(file, &blob) } else { staging.take(file, &blob) }
}

/// A download that stopped after its last byte cannot be resumed by range, so it is taken as it is, or thrown away.
fn take_whole_part(staging: &Staging, file: &ModelFile, cache: &Path) -> Result<bool, Trouble> {
    let (Some(bytes), Some(sha256)) = (file.bytes, &file.sha256) else { return Ok(false) };
    for part in parts(cache) {
        if part.metadata().is_ok_and(|metadata| metadata.len() == bytes) {
            if weights::sha256_of(&part).is_ok_and(|actual| actual == *sha256) {
                staging.take(file, &part)?;
                return Ok(true);
            }
            remove(&part);
        }
    }
    Ok(false)
}

/// Unfinished downloads: `CACHE/REPOSITORY/blobs/*.part`.
fn parts(cache: &Path) -> Vec<PathBuf> {
    let mut parts = Vec::new();
    for repository in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        for blob in std::fs::read_dir(repository.path().join("blobs")).into_iter().flatten().flatten() {
            if blob.path().extension().is_some_and(|extension| extension == "part") {
                parts.push(blob.path());
            }
        }
    }
    parts
}

#[derive(Default)]
struct Counter(AtomicU64);

/// Counts what hf-hub reports.
struct Counting(Arc<Counter>);

impl hf_hub::api::Progress for Counting {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.0.0.store(0, Ordering::Relaxed);
    }

    fn update(&mut self, size: usize) {
        self.0.0.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
