//! A decoder that embeds (Qwen3-Embedding, <https://arxiv.org/abs/2506.05176>): whole texts at once, each with the token at its
//! end whose last state is the text's vector.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::network::Decoder;
use super::{Options, Purpose, from_gguf, from_hub};
use crate::arch::encoder::tokens::Tokens;
use crate::arch::encoder::{self, BATCH_TOKENS, Input};
use crate::engine::Network as _;
use crate::engine::Span;
use crate::engine::attention::{KvCache, PAGE, PageId, Precision as KvPrecision};
use crate::engine::gguf::GgufFile;
use crate::engine::hub::HubFolder;
use crate::engine::team::Team;
use crate::engine::tokenizer::Tokenizer;
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision};

/// Opens an embedder from a GGUF file or from a folder of the hub.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Embedder>, ModelError> {
    let options = Options {
        kv: KvPrecision::F32,
        weights: precision,
        positions: files.entry.max_tokens,
        purpose: Purpose::Embed,
    };
    let (network, tokens) = match files.with_extension("gguf") {
        Ok(path) => open_gguf(&path, files.entry.max_tokens, options)?,
        Err(_) => {
            let folder = HubFolder::open(files)?;
            let decoder = from_hub(&folder, |_| options)?;
            let tokens = Tokens::open(files, decoder.vocabulary())?;
            (States::new(decoder, precision == Precision::F32)?, tokens)
        }
    };
    let (listed, context) = (files.entry.max_tokens, network.context);
    if listed > context {
        return Err(
            files.invalid(format!("the catalogue says {listed} tokens and the network has {context} positions"))
        );
    }
    encoder::embedder::open(files, Box::new(network), tokens, precision)
}

fn open_gguf(path: &Path, longest: usize, options: Options) -> Result<(States, Tokens), ModelError> {
    let file = GgufFile::open(path)?;
    let gguf = file.content()?;
    let decoder = from_gguf(&file, &gguf, |_| options)?;
    let tokens = Tokenizer::read(&gguf).and_then(|tokenizer| Tokens::of_gguf(tokenizer, longest));
    Ok((States::new(decoder, true)?, tokens.map_err(|reason| file.invalid(reason))?))
}

/// The states of a decoder's tokens.
struct States {
    hidden: usize,
    /// Positions that a text can have.
    context: usize,
    exact: bool,
    working: Mutex<Working>,
}

struct Working {
    decoder: Decoder,
    team: Team,
    /// Of one layer: texts are computed whole, and a layer's keys and values are not needed after it.
    cache: KvCache,
}

impl States {
    fn new(decoder: Decoder, exact: bool) -> Result<Self, ModelError> {
        let team = Team::of_all_processors("embedder")?;
        let cache = KvCache::new(decoder.kv_shape(), 0);
        let (hidden, context) = (decoder.config().width, decoder.context_length());
        Ok(Self { hidden, context, exact, working: Mutex::new(Working { decoder, team, cache }) })
    }
}

impl encoder::Network for States {
    fn hidden(&self) -> usize {
        self.hidden
    }

    fn is_exact(&self) -> bool {
        self.exact
    }

    fn forward(&self, inputs: &[&Input]) -> Result<Vec<f32>, ModelError> {
        // Whoever panicked left nothing behind that is not written again.
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let Working { decoder, team, cache } = &mut *working;
        let counts = inputs.iter().map(|input| input.ids.len().div_ceil(PAGE));
        let pages: Vec<PageId> = (0..counts.clone().sum::<usize>() as PageId).collect();
        if cache.pages() < pages.len() {
            *cache = KvCache::new(decoder.kv_shape(), pages.len());
        }
        let mut spans = Vec::with_capacity(inputs.len());
        let mut rest = pages.as_slice();
        for (input, count) in inputs.iter().zip(counts) {
            let (own, others) = rest.split_at(count);
            spans.push(Span { tokens: &input.ids, position: 0, pages: own, scored: input.ids.len() });
            rest = others;
        }
        let mut states = Vec::new();
        decoder.states(team, &spans, cache, &mut states)?;
        if spans.iter().map(|span| span.tokens.len()).sum::<usize>() > BATCH_TOKENS {
            decoder.shrink();
            *cache = KvCache::new(decoder.kv_shape(), 0);
        }
        Ok(states)
    }
}
