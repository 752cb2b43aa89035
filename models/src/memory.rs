//! What a model needs in memory and what this machine has left, so that a model that does not fit is refused with the
//! numbers before it is loaded. The kernel's way is to kill the process afterwards.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::{Model, ModelRole};
use crate::engine::gguf::{Gguf, GgufFile};
use crate::engine::hub::HubFolder;
use crate::weights::ModelFiles;
use crate::{ModelError, Precision, arch};

/// Tokens that pass through a generator at once at most; intermediate results have room for them.
const GENERATOR_TOKENS: u64 = 512;

/// The same for an encoder.
const ENCODER_TOKENS: u64 = 1024;

/// Of a token in the tokenizer's tables: its text, its place, its merges.
const VOCABULARY_BYTES: u64 = 400;

/// Threads, queues, and what the allocator holds back.
const REST: u64 = 24 << 20;

/// An intermediate result, and an encoder's weight: f32.
const FLOAT_BYTES: u64 = 4;

/// Weights that share a step when they are kept in 8 bits, and what they take with it.
const INT8_BLOCK: u64 = 32;
const INT8_BLOCK_BYTES: u64 = INT8_BLOCK + 2;

/// The longest header of a safetensors file that is read; that of the largest models has some 100 KB.
const MAX_HEADER: u64 = 64 << 20;

/// What a model needs in memory when in use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The weights.
    pub weights: u64,
    /// Keys and values of what a generator reads and writes.
    pub kv: u64,
    /// Intermediate results, tokenizer, threads.
    pub working: u64,
    /// Whether this was read in the model's files; else the catalogue says it, roughly.
    pub from_files: bool,
}

impl Need {
    /// Of an installed model. A generator's keys and values get `kv_budget` bytes; an encoder's weights are kept in this
    /// precision.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Invalid`] when its files cannot be read.
    pub fn of_files(files: &ModelFiles, kv_budget: u64, precision: Precision) -> Result<Self, ModelError> {
        let kv_budget = if files.entry.role == ModelRole::Generator { kv_budget } else { 0 };
        if let Ok(path) = files.with_extension("gguf") {
            let file = GgufFile::open(&path)?;
            return Self::of_gguf(&file.content()?, kv_budget).map_err(|reason| file.invalid(reason));
        }
        let is_decoder = arch::generators().contains(&files.entry.architecture.as_str());
        if is_decoder { Self::of_decoder(files, kv_budget) } else { Self::of_encoder(files, precision) }
    }

    /// Of a model that is not here.
    pub fn of_catalogue(entry: &Model) -> Self {
        let all = entry.memory_mib << 20;
        let weights = entry.bytes().unwrap_or(all).min(all);
        Self { weights, kv: 0, working: all - weights, from_files: false }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.working)
    }

    fn of_gguf(gguf: &Gguf<'_>, kv_budget: u64) -> Result<Self, String> {
        let architecture = gguf.text("general.architecture").ok_or("its metadata lacks `general.architecture`")?;
        let key = |name: &str| format!("{architecture}.{name}");
        let require = |name: &str| gguf.require(&key(name)).map(|value| value as u64);
        let (width, feed_forward) = (require("embedding_length")?, require("feed_forward_length")?);
        let vocabulary = gguf.array("tokenizer.ggml.tokens").map_or(0, |tokens| tokens.len() as u64);
        Ok(Self {
            weights: gguf.tensor_bytes(),
            kv: kv_budget,
            working: working(GENERATOR_TOKENS, decoder_columns(width, feed_forward), vocabulary),
            from_files: true,
        })
    }

    /// Of a decoder in safetensors, whose weights stay as wide as they are.
    fn of_decoder(files: &ModelFiles, kv_budget: u64) -> Result<Self, ModelError> {
        let folder = HubFolder::open(&files.directory)?;
        let invalid = |reason| folder.invalid("config.json", reason);
        // With pictures, the text has a section of its own.
        let section = folder.config().section("text_config").map_err(invalid)?;
        let config = section.as_ref().unwrap_or(folder.config());
        let number = |key| config.require(key).map(|value| value as u64).map_err(invalid);
        let (width, feed_forward) = (number("hidden_size")?, number("intermediate_size")?);
        let vocabulary = config.number("vocab_size").map_err(invalid)?.unwrap_or(0) as u64;
        Ok(Self {
            weights: folder.tensor_bytes(),
            kv: kv_budget,
            working: working(GENERATOR_TOKENS, decoder_columns(width, feed_forward), vocabulary),
            from_files: true,
        })
    }

    fn of_encoder(files: &ModelFiles, precision: Precision) -> Result<Self, ModelError> {
        let path = files.path("config.json");
        let text = fs::read(&path).map_err(|source| ModelError::Io { path: path.display().to_string(), source })?;
        let invalid = |path: &Path, reason: String| ModelError::Invalid { file: path.display().to_string(), reason };
        let sizes: EncoderSizes = serde_json::from_slice(&text).map_err(|error| invalid(&path, error.to_string()))?;
        // Weights as torch saves them have no header that says how many there are.
        let Ok(path) = files.with_extension("safetensors") else { return Ok(Self::of_catalogue(&files.entry)) };
        let numbers = safetensors_numbers(&path).map_err(|reason| invalid(&path, reason))?;
        let columns = sizes.hidden_size.saturating_mul(8).saturating_add(sizes.intermediate_size.saturating_mul(2));
        // The words' embeddings stay in the file, of which single rows are read.
        let words = sizes.vocab_size.saturating_mul(sizes.hidden_size).min(numbers);
        let others = match precision {
            Precision::F32 => (numbers - words).saturating_mul(FLOAT_BYTES),
            Precision::Int8 => (numbers - words).saturating_mul(INT8_BLOCK_BYTES) / INT8_BLOCK,
        };
        Ok(Self {
            weights: words.saturating_mul(FLOAT_BYTES).saturating_add(others),
            kv: 0,
            working: working(ENCODER_TOKENS, columns, sizes.vocab_size),
            from_files: true,
        })
    }
}

/// Sizes in `config.json` on which an encoder's memory depends.
#[derive(Deserialize)]
struct EncoderSizes {
    hidden_size: u64,
    intermediate_size: u64,
    vocab_size: u64,
}

/// `98 MiB weights + 180 MiB keys and values + 60 MiB to work`, or what the catalogue says.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.from_files {
            return write!(f, "about {}", Mib(self.total()));
        }
        write!(f, "{} weights", Mib(self.weights))?;
        if self.kv > 0 {
            write!(f, " + {} keys and values", Mib(self.kv))?;
        }
        write!(f, " + {} to work", Mib(self.working))
    }
}

/// Bytes as people read them.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

/// Refuses a model that needs more than is left; where nobody can tell what is left, it is let through.
///
/// # Errors
/// [`ModelError::TooLarge`] with the numbers.
pub fn check(name: &str, need: &Need, available: Option<u64>) -> Result<(), ModelError> {
    match available {
        Some(available) if need.total() > available => Err(ModelError::TooLarge {
            name: name.to_owned(),
            need: need.total().div_ceil(1 << 20),
            parts: need.to_string(),
            available: available >> 20,
        }),
        _ => Ok(()),
    }
}

/// Memory that this process can still get, in bytes: the least of what the system has left and what its control groups
/// allow. `None` where the system tells neither.
pub fn available() -> Option<u64> {
    available_in(Path::new("/"))
}

/// The same, where `root` holds `proc` and `sys`.
fn available_in(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = meminfo.and_then(|text| Some(field(&text, "MemAvailable:")? << 10));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            V2.left(&root.join("sys/fs/cgroup"), group)
        } else if controllers.split(',').any(|controller| controller == "memory") {
            V1.left(&root.join("sys/fs/cgroup/memory"), group)
        } else {
            None
        }
    });
    limits.chain(machine).min()
}

/// Names of a version of control groups.
struct ControlGroups {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`: what the kernel gives back when somebody needs it.
    reclaimable: [&'static str; 2],
}

const V2: ControlGroups =
    ControlGroups { limit: "memory.max", usage: "memory.current", reclaimable: ["active_file", "inactive_file"] };
const V1: ControlGroups = ControlGroups {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_active_file", "total_inactive_file"],
};

impl ControlGroups {
    /// What is left in a group and in those around it. Inside a container the group's path may be the host's, which does
    /// not exist there: then its innermost part that does exist counts, the mount itself at last.
    fn left(&self, mount: &Path, group: &str) -> Option<u64> {
        let own = mount.join(group);
        let around = own.ancestors().take_while(|directory| directory.starts_with(mount));
        around.filter_map(|directory| self.left_in(directory)).min()
    }

    fn left_in(&self, directory: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        // "max", where nothing limits the group, is no number.
        let limit: u64 = read(self.limit)?.trim().parse().ok()?;
        let usage: u64 = read(self.usage)?.trim().parse().ok()?;
        let stat = read("memory.stat").unwrap_or_default();
        let reclaimable: u64 = self.reclaimable.iter().filter_map(|name| field(&stat, name)).sum();
        Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
    }
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut words =
        text.lines().map(str::split_whitespace).find_map(|mut words| (words.next()? == name).then_some(words))?;
    words.next()?.parse().ok()
}

/// Intermediate results of a token in a decoder: the stream, what its norm makes of it, queries, keys, values and what comes of
/// them; gates, ups and their product.
fn decoder_columns(width: u64, feed_forward: u64) -> u64 {
    width.saturating_mul(7).saturating_add(feed_forward.saturating_mul(3))
}

/// Room for `columns` intermediate results of each token, and for what there is of each entry of the vocabulary.
fn working(tokens: u64, columns: u64, vocabulary: u64) -> u64 {
    let results = product(&[tokens, columns, FLOAT_BYTES]);
    // Scores for every token of the vocabulary go along with its tables.
    let tables = vocabulary.saturating_mul(VOCABULARY_BYTES + FLOAT_BYTES);
    results.saturating_add(tables).saturating_add(REST)
}

/// Metadata of a damaged file may claim anything.
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}

/// How many numbers the tensors of a safetensors file hold, by its header: its length in eight bytes, then JSON
/// (<https://github.com/huggingface/safetensors#format>).
fn safetensors_numbers(path: &Path) -> Result<u64, String> {
    #[derive(Deserialize)]
    struct Tensor {
        shape: Vec<u64>,
    }
    let mut file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| error.to_string())?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(format!("its header claims {length} bytes: this is no safetensors file"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(|error| error.to_string())?;
    let tensors: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| format!("its header is no JSON: {error}"))?;
    let mut numbers = 0u64;
    for (name, tensor) in tensors {
        if name != "__metadata__" {
            let tensor: Tensor = serde_json::from_value(tensor).map_err(|error| format!("tensor `{name}`: {error}"))?;
            numbers = numbers.saturating_add(product(&tensor.shape));
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n";

    /// A machine of these files.
    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_in(root.path())
    }

    #[test]
    fn without_control_groups_the_machine_counts() {
        assert_eq!(machine(&[("proc/meminfo", MEMINFO)]), Some(8_000_000 << 10));
        assert_eq!(machine(&[]), None);
        let unlimited = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory.current", "5\n"),
        ];
        assert_eq!(machine(&unlimited), Some(8_000_000 << 10));
    }

    #[test]
    fn the_tightest_group_around_counts_and_files_in_its_cache_are_free() {
        let groups = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/service/worker\n"),
            ("sys/fs/cgroup/service/memory.max", "1000000\n"),
            ("sys/fs/cgroup/service/memory.current", "900000\n"),
            ("sys/fs/cgroup/service/memory.stat", "anon 1\nactive_file 100000\ninactive_file 200000\n"),
            ("sys/fs/cgroup/service/worker/memory.max", "max\n"),
            ("sys/fs/cgroup/service/worker/memory.current", "800000\n"),
        ];
        assert_eq!(machine(&groups), Some(400_000));
    }

    #[test]
    fn the_first_version_of_control_groups_counts_inside_a_container_too() {
        let groups = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/docker/1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1200\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 300\ntotal_active_file 50\n"),
        ];
        assert_eq!(machine(&groups), Some(150));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let need = Need { weights: 700 << 20, kv: 512 << 20, working: (80 << 20) - 1, from_files: true };
        check("big", &need, Some(1292 << 20)).unwrap();
        check("big", &need, None).unwrap();
        let error = check("big", &need, Some((1292 << 20) - 2)).unwrap_err().to_string();
        for part in ["`big`", "1292 MiB", "700 MiB weights", "512 MiB keys and values", "80 MiB to work", "1291 MiB"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn this_machine_has_memory() {
        #[cfg(target_os = "linux")]
        assert!(available().unwrap() > 1 << 20);
    }

    #[test]
    fn an_encoder_needs_its_numbers_as_floats() {
        let directory = tempfile::tempdir().unwrap();
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[3,5],"data_offsets":[0,30]},"b":{"dtype":"F32","shape":[],"data_offsets":[30,34]},"words":{"dtype":"F32","shape":[100,64],"data_offsets":[34,25634]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let path = directory.path().join("model.safetensors");
        fs::write(&path, &bytes).unwrap();
        let config = r#"{"hidden_size": 64, "intermediate_size": 256, "vocab_size": 100, "model_type": "bert"}"#;
        fs::write(directory.path().join("config.json"), config).unwrap();
        let entry = Catalog::load(None).unwrap().model("all-MiniLM-L6-v2").unwrap().clone();
        let files = ModelFiles {
            name: entry.name.clone(),
            directory: directory.path().to_owned(),
            entry,
            fingerprint: String::new(),
        };
        let need = Need::of_files(&files, 7 << 20, Precision::F32).unwrap();
        assert_eq!((need.weights, need.kv), (6416 * 4, 0));
        let need = Need::of_files(&files, 0, Precision::Int8).unwrap();
        assert_eq!(need.weights, 6400 * 4 + 17);
        for length in [4, 20, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(Need::of_files(&files, 0, Precision::F32).is_err(), "cut to {length} bytes");
        }
        fs::write(&path, [0xff; 64]).unwrap();
        assert!(Need::of_files(&files, 0, Precision::F32).unwrap_err().to_string().contains("no safetensors file"));
    }

    #[test]
    fn the_catalogue_knows_every_model_roughly() {
        for entry in Catalog::load(None).unwrap().models {
            let need = Need::of_catalogue(&entry);
            assert_eq!(need.total(), entry.memory_mib << 20, "{}", entry.name);
            assert!(need.to_string().starts_with("about "), "{}", entry.name);
        }
    }
}
