//! A generator from a GGUF file.

use std::path::Path;
use std::sync::Arc;

use super::gguf::GgufFile;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use super::worker::{Task, Worker};
use super::{EngineOptions, Network};
use crate::{GenerateRequest, Generator, Message, ModelError, TokenStream, arch};

/// A model of the Llama family with its tokenizer and chat template, ready to write.
pub struct Llama {
    identity: String,
    context: usize,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    worker: Worker,
}

impl Llama {
    /// Loads a GGUF file; `name` and `fingerprint` become the generator's identity.
    ///
    /// # Errors
    /// [`ModelError::Io`] when the file cannot be read, [`ModelError::Invalid`] when it is not a usable model.
    pub fn load(path: &Path, name: &str, fingerprint: &str, options: &EngineOptions) -> Result<Self, ModelError> {
        let file = GgufFile::open(path)?;
        let gguf = file.content()?;
        let network = arch::llama::Llama::load(&file, &gguf)?;
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
        Self::over(Box::new(network), tokenizer, template, format!("{name}@{fingerprint}"), options)
    }

    fn over(
        network: Box<dyn Network>,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        identity: String,
        options: &EngineOptions,
    ) -> Result<Self, ModelError> {
        let context = network.context_length();
        let tokenizer = Arc::new(tokenizer);
        let worker = Worker::start(network, tokenizer.clone(), options)?;
        let context = context.min(worker.positions());
        Ok(Self { identity, context, tokenizer, template, worker })
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

impl Generator for Llama {
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
        let GenerateRequest { max_tokens, sampling, stop, scope, speculate, .. } = request;
        self.worker.submit(Task { prompt, max_tokens, sampling, stop, scope, speculate })
    }
}
