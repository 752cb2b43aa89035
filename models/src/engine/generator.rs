//! A generator from a model's files.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::attention::PAGE;
use super::constraint::{Constraint, Vocabulary};
use super::gguf::GgufFile;
use super::hub::HubFolder;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use super::worker::{Task, Worker};
use super::{EngineOptions, Network};
use crate::arch::decoder::{self, Config, Options};
use crate::memory::Promise;
use crate::weights::ModelFiles;
use crate::{GenerateRequest, Generator, Grammar, Message, ModelError, TokenStream};

/// A decoder with its tokenizer and chat template, ready to write.
pub struct DecoderGenerator {
    identity: String,
    context: usize,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    worker: Worker,
    /// The tokens as grammars see them, made when the first one comes.
    vocabulary: OnceLock<Result<Vocabulary, String>>,
    /// Of its keys and values.
    _memory: Promise,
}

impl DecoderGenerator {
    /// Loads a GGUF file, or else a folder as the Hugging Face hub lays models out.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file cannot be read, [`ModelError::Invalid`] when it is not a usable model.
    pub fn load(files: &ModelFiles, options: &EngineOptions) -> Result<Self, ModelError> {
        let identity = format!("{}@{}", files.name, files.fingerprint);
        match files.with_extension("gguf") {
            Ok(path) => Self::from_gguf(&path, identity, options),
            Err(_) => Self::from_hub(files, identity, options),
        }
    }

    fn from_gguf(path: &Path, identity: String, options: &EngineOptions) -> Result<Self, ModelError> {
        let file = GgufFile::open(path)?;
        let gguf = file.content()?;
        let network = decoder::from_gguf(&file, &gguf, |config| network_options(config, options))?;
        let tokenizer = Tokenizer::read(&gguf).map_err(|reason| file.invalid(reason))?;
        if tokenizer.vocabulary() > network.vocabulary() {
            return Err(file.invalid(format!(
                "its tokenizer has {} tokens and its network {}",
                tokenizer.vocabulary(),
                network.vocabulary()
            )));
        }
        let template = ChatTemplate::new(gguf.text("tokenizer.chat_template"), &tokenizer);
        let template = template.map_err(|reason| file.invalid(reason))?;
        Self::over(Box::new(network), tokenizer, template, identity, options)
    }

    fn from_hub(files: &ModelFiles, identity: String, options: &EngineOptions) -> Result<Self, ModelError> {
        let folder = HubFolder::open(files)?;
        let network = decoder::from_hub(&folder, |config| network_options(config, options))?;
        let tokenizer = Tokenizer::from_hub(&folder, network.vocabulary())?;
        let template = ChatTemplate::new(ChatTemplate::of_hub(&folder)?.as_deref(), &tokenizer);
        let template = template.map_err(|reason| folder.invalid("tokenizer_config.json", reason))?;
        Self::over(Box::new(network), tokenizer, template, identity, options)
    }

    fn over(
        network: Box<dyn Network>,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        identity: String,
        options: &EngineOptions,
    ) -> Result<Self, ModelError> {
        let (context, page_bytes) = (network.context_length(), network.kv_shape().page_bytes());
        let tokenizer = Arc::new(tokenizer);
        let worker = Worker::start(network, tokenizer.clone(), options)?;
        let memory = Promise::new(worker.positions() / PAGE * page_bytes);
        let context = context.min(worker.positions());
        let vocabulary = OnceLock::new();
        Ok(Self { identity, context, tokenizer, template, worker, vocabulary, _memory: memory })
    }

    fn constraint(&self, grammar: &Grammar) -> Result<Constraint, ModelError> {
        let vocabulary = self.vocabulary.get_or_init(|| Vocabulary::new(self.tokenizer.clone()));
        let vocabulary = vocabulary.as_ref().map_err(|reason| ModelError::Grammar(reason.clone()))?;
        Constraint::new(vocabulary, grammar)
    }

    /// The tokens of a prompt as the network will see them.
    ///
    /// # Errors
    /// [`ModelError::Compute`] when the tokenizer fails.
    pub fn tokenize(&self, prompt: &str) -> Result<Vec<u32>, ModelError> {
        self.tokenizer
            .encode_prompt(prompt)
            .map_err(|_| ModelError::Compute("the tokenizer cannot split the prompt".into()))
    }
}

/// How a network is loaded: for no more positions than the memory for keys and values holds.
fn network_options(config: &Config, options: &EngineOptions) -> Options {
    let network = Options::default();
    let pages = options.kv_bytes / config.kv_shape(&network).page_bytes().max(1);
    Options { positions: config.context.min(pages * PAGE), ..network }
}

impl Generator for DecoderGenerator {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn context_length(&self) -> usize {
        self.context
    }

    fn prefill_rate(&self) -> Option<f32> {
        self.worker.prefill_rate()
    }

    fn count_tokens(&self, text: &str) -> usize {
        // A text that the tokenizer gives up on counts as one token per byte, the most it could be.
        self.tokenizer.encode(text).map_or(text.len(), |tokens| tokens.len())
    }

    fn render(&self, messages: &[Message]) -> Result<String, ModelError> {
        self.template.render(messages, &self.tokenizer)
    }

    fn generate(&self, request: GenerateRequest) -> Result<TokenStream, ModelError> {
        let prompt = self.tokenize(&request.prompt)?;
        if prompt.is_empty() {
            return Err(ModelError::Compute("the prompt is empty: ask something".into()));
        }
        if prompt.len() >= self.context {
            return Err(ModelError::PromptTooLong { tokens: prompt.len(), context: self.context });
        }
        let GenerateRequest { max_tokens, sampling, stop, grammar, scope, speculate, .. } = request;
        if grammar.is_some() && !stop.is_empty() {
            return Err(ModelError::Grammar(
                "a stop text would cut off what it asks for: leave one of them out".into(),
            ));
        }
        let constraint = grammar.as_ref().map(|grammar| self.constraint(grammar)).transpose()?;
        self.worker.submit(Task { prompt, max_tokens, sampling, stop, constraint, scope, speculate })
    }
}
