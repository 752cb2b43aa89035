//! The application, built once: configuration, catalogue, state, and models and store opened when first needed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use intramuros_ingest::access::Caller;
use intramuros_models::catalog::{Catalog, Model, ModelRole};
use intramuros_models::{Embedder, Generator, ModelError, Reranker, weights};
use tokio::runtime::Handle;

use crate::answer::{Answer, AnswerError, AnswerEvent, AnswerMode, Answerer, Ask};
use crate::config::{Config, ConfigError, StoreKind};
use crate::lock::{DataLock, LockError};
use crate::reserve::Reserve;
use crate::retrieve::Retriever;
use crate::retrieve::vectors::TextVectors;
use crate::state::{State, StateError};
use crate::store::edge::EdgeStore;
use crate::store::server::{ServerOptions, ServerStore};
use crate::store::{EmbedderIdentity, StoreError, StoreInfo, StoredChunk, VectorStore};
use crate::uploads::Uploads;

/// An open data directory with all that works on it. Dropping it releases the directory.
pub struct App {
    config: Config,
    data_dir: PathBuf,
    catalog: Catalog,
    state: State,
    uploads: Uploads,
    runtime: Handle,
    embedder: OnceLock<Box<dyn Embedder>>,
    vectors: TextVectors,
    generator: OnceLock<Box<dyn Generator>>,
    reranker: OnceLock<Box<dyn Reranker>>,
    /// Held while a model is opened.
    loading: Mutex<()>,
    store: OnceLock<Arc<dyn VectorStore>>,
    changing: Mutex<()>,
    // Dropped in this order: the room is set aside again when store and state are closed, then the lock goes.
    _reserve: Reserve,
    _lock: DataLock,
}

/// What can keep the application from opening.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error("cannot use the data directory {path}: {source}; choose another one with --data-dir DIR")]
    DataDirectory {
        /// The directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its disk.
    #[error(
        "the disk of the data directory {directory} is full: free some space on it and run the same command again, nothing acknowledged is lost"
    )]
    DiskFull {
        /// The directory.
        directory: String,
    },
    /// Its owner.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state database.
    #[error(transparent)]
    State(#[from] StateError),
    /// A model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The vector store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds another index than the one that the record of documents describes.
    #[error(
        "the index is not the one that the record of documents describes: it was removed, replaced, or `store` in the configuration names another place. Set that back; or run `intramuros store rebuild`, then `intramuros ingest`, to make the index anew from the documents"
    )]
    OtherIndex,
    /// A question that cannot be taken, or a failure while answering.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl App {
    /// Takes the data directory for `command` and opens the state in it. `runtime` runs what is asynchronous; App's own
    /// functions block and must be called from outside of its threads.
    pub fn open(config: Config, command: &str, runtime: Handle) -> Result<Self, AppError> {
        let data_dir = config.data_dir()?;
        let in_directory = |source| AppError::DataDirectory { path: data_dir.display().to_string(), source };
        create_private(&data_dir).map_err(in_directory)?;
        let lock = DataLock::acquire(&data_dir, command)?;
        let reserve = Reserve::settle(&data_dir).map_err(in_directory)?;
        let catalog = Catalog::load(config.models.catalog.as_deref())?;
        let named = |error| with_directory(error, &data_dir);
        let state = runtime.block_on(State::open(&data_dir.join("state.sqlite"))).map_err(named)?;
        runtime.block_on(state.settle_abandoned_jobs()).map_err(named)?;
        let uploads = Uploads::open(&data_dir).map_err(in_directory)?;
        Ok(Self {
            config,
            data_dir,
            catalog,
            state,
            uploads,
            runtime,
            embedder: OnceLock::new(),
            vectors: TextVectors::default(),
            generator: OnceLock::new(),
            reranker: OnceLock::new(),
            loading: Mutex::new(()),
            store: OnceLock::new(),
            changing: Mutex::new(()),
            _reserve: reserve,
            _lock: lock,
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The models known by name.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Where everything is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The state database.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The files that came over HTTP.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// The right to change the index, of which there is one, unless somebody has it now. [`crate::index`] takes it.
    pub fn try_change(&self) -> Option<MutexGuard<'_, ()>> {
        match self.changing.try_lock() {
            Ok(right) => Some(right),
            // Whoever panicked left what a crash leaves, and the next pass brings that in order.
            Err(TryLockError::Poisoned(right)) => Some(right.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A failure of the state database with the directory named where its disk is full.
    pub fn state_error(&self, error: StateError) -> AppError {
        with_directory(error, &self.data_dir)
    }

    /// Runs something asynchronous to its end.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The embedder, loaded when first asked for.
    pub fn embedder(&self) -> Result<&dyn Embedder, AppError> {
        let embedder = self.loaded(&self.embedder, || {
            let files = weights::locate(&self.config.models_dir(), embedder_entry(&self.config, &self.catalog)?)?;
            Ok(intramuros_models::open_embedder(&files, self.config.models.precision)?)
        })?;
        Ok(embedder.as_ref())
    }

    /// The generator, loaded when first asked for.
    pub fn generator(&self) -> Result<&dyn Generator, AppError> {
        let generator = self.loaded(&self.generator, || {
            let files = weights::locate(&self.config.models_dir(), generator_entry(&self.config, &self.catalog)?)?;
            Ok(intramuros_models::open_generator(&files, &self.config.engine())?)
        })?;
        Ok(generator.as_ref())
    }

    /// The reranker, loaded when first asked for; none where there is none or it is not to be used.
    pub fn reranker(&self) -> Result<Option<&dyn Reranker>, AppError> {
        let Some(entry) = reranker_entry(&self.config, &self.catalog)? else { return Ok(None) };
        let reranker = self.loaded(&self.reranker, || {
            let files = weights::locate(&self.config.models_dir(), entry)?;
            Ok(intramuros_models::open_reranker(&files, self.config.models.precision)?)
        })?;
        Ok(Some(reranker.as_ref()))
    }

    /// A model, opened by whoever asks first: two at once would need the memory of both.
    fn loaded<'a, T>(
        &self,
        model: &'a OnceLock<T>,
        open: impl FnOnce() -> Result<T, AppError>,
    ) -> Result<&'a T, AppError> {
        if let Some(model) = model.get() {
            return Ok(model);
        }
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match model.get() {
            Some(model) => Ok(model),
            None => {
                let opened = open()?;
                Ok(model.get_or_init(|| opened))
            }
        }
    }

    /// The vector store of the configured embedder, opened when first asked for.
    pub fn store(&self) -> Result<&Arc<dyn VectorStore>, AppError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = self.open_store(self.config.store.kind)?;
        self.check_described(&store.info()?)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// An index that the record of documents does not describe holds other documents, or older rights.
    fn check_described(&self, index: &StoreInfo) -> Result<(), AppError> {
        if self.wait(self.state.described_index())? == Some(index.index_id) {
            return Ok(());
        }
        if index.chunks > 0 || !self.wait(self.state.is_empty())? {
            return Err(AppError::OtherIndex);
        }
        Ok(self.wait(self.state.describe_index(index.index_id))?)
    }

    /// Opens a store of this kind, whatever the configuration says: for moving from one to the other.
    pub fn open_store(&self, kind: StoreKind) -> Result<Arc<dyn VectorStore>, AppError> {
        let embedder = self.embedder()?;
        let identity = EmbedderIdentity { name: embedder.identity().to_owned(), dimensions: embedder.dimensions() };
        Ok(match kind {
            StoreKind::Edge => Arc::new(EdgeStore::open(&self.data_dir.join("index"), &identity)?),
            StoreKind::Server => {
                let settings = &self.config.store;
                let options = ServerOptions {
                    url: settings.url.clone(),
                    api_key: (!settings.api_key.is_empty()).then(|| settings.api_key.clone()),
                    collection: settings.collection.clone(),
                    ..ServerOptions::default()
                };
                Arc::new(ServerStore::open(&options, self.runtime.clone(), &identity)?)
            }
        })
    }

    /// What search needs.
    pub fn retriever(&self) -> Result<Retriever<'_>, AppError> {
        let entry = embedder_entry(&self.config, &self.catalog)?;
        Ok(Retriever {
            store: self.store()?.as_ref(),
            embedder: self.embedder()?,
            vectors: &self.vectors,
            unrelated_cosine: entry.unrelated_cosine,
            languages: &entry.languages,
            reranker: self.reranker()?,
            settings: &self.config.retrieve,
        })
    }

    /// Answers a question inside the caller's rights. The generator is loaded only for mode `generate`. `listener` hears
    /// checked text while it is made; when it returns `false`, nobody listens any more and the work stops.
    pub fn ask(
        &self,
        caller: &Caller,
        ask: &Ask,
        listener: &mut dyn FnMut(AnswerEvent<'_>) -> bool,
    ) -> Result<Answer, AppError> {
        let generator = if ask.mode == AnswerMode::Generate { Some(self.generator()?) } else { None };
        self.ask_with(generator, caller, ask, listener)
    }

    /// [`App::ask`] with a generator of the caller's choice.
    pub fn ask_with(
        &self,
        generator: Option<&dyn Generator>,
        caller: &Caller,
        ask: &Ask,
        listener: &mut dyn FnMut(AnswerEvent<'_>) -> bool,
    ) -> Result<Answer, AppError> {
        let page_at = |chunk: &StoredChunk, offset: usize| self.page_at(caller, chunk, offset);
        let text_of = |chunk: &StoredChunk, range: Range<usize>| {
            let part = self.wait(self.state.document_part(caller, chunk.document_id, range)).ok().flatten();
            part.map(|part| part.text)
        };
        let entry = generator.map(|_| generator_entry(&self.config, &self.catalog)).transpose()?;
        let answerer = Answerer {
            retriever: self.retriever()?,
            generator,
            languages: entry.map_or(&[], |entry| &entry.languages),
            reads: entry.map(|entry| entry.reads).unwrap_or_default(),
            settings: &self.config.answer,
            page_at: &page_at,
            text_of: &text_of,
        };
        Ok(answerer.ask(caller, ask, listener)?)
    }

    /// The page of a character offset in a chunk's document, read with the caller's rights.
    fn page_at(&self, caller: &Caller, chunk: &StoredChunk, offset: usize) -> Option<u32> {
        // Formats without pages have none anywhere, and need no look-up.
        chunk.page?;
        let record = self.wait(self.state.document(caller, chunk.document_id)).ok().flatten();
        record.map_or(chunk.page, |record| record.page_at(offset))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A request that was cut off may hold the last handle, in a thread that must not block. What was committed is safe
        // without closing, too.
        if Handle::try_current().is_err() {
            self.runtime.block_on(self.state.close());
        }
    }
}

/// The configured embedder's catalogue entry.
pub fn embedder_entry<'a>(config: &Config, catalog: &'a Catalog) -> Result<&'a Model, ModelError> {
    let own = &config.models.embedder;
    let name = if own.is_empty() { &catalog.profile(&config.models.profile)?.embedder } else { own };
    catalog.model_for(ModelRole::Embedder, name)
}

/// The configured generator's catalogue entry.
pub fn generator_entry<'a>(config: &Config, catalog: &'a Catalog) -> Result<&'a Model, ModelError> {
    let own = &config.models.generator;
    let name = if own.is_empty() { &catalog.profile(&config.models.profile)?.generator } else { own };
    catalog.model_for(ModelRole::Generator, name)
}

/// The catalogue entry of the configured reranker; none where the profile has none or `retrieve.rerank` is off.
pub fn reranker_entry<'a>(config: &Config, catalog: &'a Catalog) -> Result<Option<&'a Model>, ModelError> {
    if !config.retrieve.rerank {
        return Ok(None);
    }
    let own = Some(&config.models.reranker).filter(|own| !own.is_empty());
    let name = match own {
        Some(own) => Some(own),
        None => catalog.profile(&config.models.profile)?.reranker.as_ref(),
    };
    name.map(|name| catalog.model_for(ModelRole::Reranker, name)).transpose()
}

fn with_directory(error: StateError, directory: &Path) -> AppError {
    match error {
        StateError::DiskFull => AppError::DiskFull { directory: directory.display().to_string() },
        other => other.into(),
    }
}

/// Makes a directory that only its owner can look into, also where it was there before: it holds the documents' text.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_data_directory_is_closed_to_others_whoever_made_it() {
        let outer = tempfile::tempdir().unwrap();
        let data = outer.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
        create_private(&data).unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
