//! The network that all decoders share: pre-norm layers of RMSNorm, rotary positions, grouped-query attention and gated
//! feed-forward halves (<https://arxiv.org/abs/2302.13971>).
//!
//! Architectures differ in what a [`Config`] says, and in where their files say it: each has a file of its own in `arch` that
//! reads that, and a line in [`super::DECODERS`]. None has a forward pass of its own.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | what can differ, and the bounds of it |
//! | `metadata` | reading that from GGUF metadata and from `config.json` |
//! | `rope` | turning queries and keys by their positions, with all ways to stretch contexts |
//! | `names`, `weights` | what files call the matrices, and finding them |
//! | `network` | the forward pass |
//! | `embedder` | [`crate::Embedder`] over it |

mod config;
pub mod embedder;
mod metadata;
mod names;
mod network;
mod rope;
mod weights;

pub use self::config::{Activation, Config, LayerConfig, MAX_CONTEXT};
pub use self::metadata::Metadata;
pub use self::network::Decoder;
pub use self::rope::{Divisors, Pairing, RopeConfig};
use self::weights::Weights;
use super::DECODERS;
use crate::engine::attention::Precision as KvPrecision;
use crate::engine::gguf::{Gguf, GgufFile};
use crate::engine::hub::HubFolder;
use crate::engine::json::Json;
use crate::{ModelError, Precision};

/// An architecture: what it is called and how its configuration is read.
pub struct Family {
    /// In the catalogue.
    pub name: &'static str,
    /// `general.architecture` of its GGUF files.
    pub gguf: &'static [&'static str],
    /// `model_type` of its `config.json`.
    pub hub: &'static [&'static str],
    /// From the metadata of a GGUF file.
    pub from_gguf: fn(&Metadata) -> Result<Config, String>,
    /// From `config.json`.
    pub from_hub: fn(&Json) -> Result<Config, String>,
}

/// What a network is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How keys and values are kept.
    pub kv: KvPrecision,
    /// Whether the weights of safetensors are kept as they are or in whole numbers; GGUF files have decided already.
    pub weights: Precision,
    /// Positions that a sequence will have at most; models with factors for long contexts take those for short ones where
    /// they do.
    pub positions: usize,
    /// Scores of the next token, or the last states only.
    pub purpose: Purpose,
}

/// What is wanted of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Scores, sequences that grow.
    Write,
    /// States of whole sequences. No output matrix is loaded, and all layers share the memory for keys and values.
    Embed,
}

impl Default for Options {
    fn default() -> Self {
        Self { kv: KvPrecision::F16, weights: Precision::F32, positions: MAX_CONTEXT, purpose: Purpose::Write }
    }
}

/// Loads the network of a GGUF file. `options` are asked for once the network's configuration is known.
///
/// # Errors
/// [`ModelError::Invalid`] when metadata or tensors are missing, contradict each other or are not supported.
pub fn from_gguf(
    file: &GgufFile,
    gguf: &Gguf<'_>,
    options: impl FnOnce(&Config) -> Options,
) -> Result<Decoder, ModelError> {
    let read = || {
        let name = gguf.text("general.architecture").ok_or("its metadata lacks `general.architecture`")?;
        let family = known(name, |family| family.gguf)?;
        if let Some(parts @ 2..) = gguf.unsigned("split.count") {
            return Err(format!("it is one of {parts} parts: join them with `llama-gguf-split --merge`"));
        }
        let config = (family.from_gguf)(&Metadata::new(gguf, name))?;
        config.check()?;
        let options = options(&config);
        Decoder::load(&Weights::of_gguf(gguf), config, options)
    };
    read().map_err(|reason| file.invalid(reason))
}

/// Loads the network of a folder of the hub. `options` are asked for once the network's configuration is known.
///
/// # Errors
/// [`ModelError::Invalid`] when `config.json` or tensors are missing, contradict each other or are not supported.
pub fn from_hub(folder: &HubFolder, options: impl FnOnce(&Config) -> Options) -> Result<Decoder, ModelError> {
    let read = || {
        let json = folder.config();
        let name = json.text("model_type")?.ok_or("it lacks `model_type`")?;
        let config = (known(name, |family| family.hub)?.from_hub)(json)?;
        config.check()?;
        Ok(config)
    };
    let config = read().map_err(|reason: String| folder.invalid("config.json", reason))?;
    let options = options(&config);
    let load = || Decoder::load(&Weights::of_hub(folder, &config, options.weights)?, config, options);
    let decoder = load().map_err(|reason| folder.invalid_weights(reason))?;
    folder.forget();
    Ok(decoder)
}

/// Finds an architecture by one of its names.
fn known(name: &str, names: fn(&Family) -> &'static [&'static str]) -> Result<&'static Family, String> {
    DECODERS.iter().copied().find(|family| names(family).contains(&name)).ok_or_else(|| {
        let all: Vec<&str> = DECODERS.iter().flat_map(|family| names(family)).copied().collect();
        format!("its architecture is `{name}`; known: {}", all.join(", "))
    })
}
