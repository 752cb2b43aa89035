//! A model as the Hugging Face hub lays it out: a folder with `config.json`, tokenizer and safetensors, perhaps cut into
//! several files.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::gguf::RawTensor;
use super::json::Json;
use super::safetensors::SafetensorsFile;
use crate::ModelError;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// Says which file holds which tensor, where there are several.
const INDEX: &str = "model.safetensors.index.json";

/// An opened folder; its weights are mapped, not read.
pub struct HubFolder {
    directory: PathBuf,
    config: Json,
    files: Vec<SafetensorsFile>,
    /// Where each tensor lies among `files`.
    places: HashMap<String, usize>,
}

impl HubFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file is missing, [`ModelError::Invalid`] when one is damaged.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let mut folder = Self {
            directory: directory.to_owned(),
            config: Json::default(),
            files: Vec::new(),
            places: HashMap::new(),
        };
        folder.config = folder.json(CONFIG)?.ok_or_else(|| folder.missing(CONFIG))?;
        let names = match folder.json(INDEX)? {
            Some(index) => files_of(&index).map_err(|reason| folder.invalid(INDEX, reason))?,
            None => vec![WEIGHTS.to_owned()],
        };
        for name in names {
            let file = SafetensorsFile::open(&folder.directory.join(name))?;
            let index = folder.files.len();
            folder.places.extend(file.tensor_names().map(|name| (name.to_owned(), index)));
            folder.files.push(file);
        }
        Ok(folder)
    }

    /// `config.json`.
    pub fn config(&self) -> &Json {
        &self.config
    }

    /// A file of text; nothing where there is none.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read.
    pub fn text(&self, file: &str) -> Result<Option<String>, ModelError> {
        let path = self.directory.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ModelError::Io { path: path.display().to_string(), source }),
        }
    }

    /// A file of JSON; nothing where there is none.
    ///
    /// # Errors
    /// As [`HubFolder::text`], and [`ModelError::Invalid`] when it is damaged.
    pub fn json(&self, file: &str) -> Result<Option<Json>, ModelError> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        Json::parse(text.as_bytes()).map(Some).map_err(|reason| self.invalid(file, reason))
    }

    /// Whether there is such a tensor.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// What its tensors are called, in no order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// A reason, when it is not there or not of floats.
    pub fn tensor(&self, name: &str) -> Result<RawTensor<'_>, String> {
        let place = self.places.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        self.files[*place].tensor(name)
    }

    /// Length of all weights.
    pub fn tensor_bytes(&self) -> u64 {
        self.files.iter().map(SafetensorsFile::bytes).sum()
    }

    /// Tells the system that the weights will not be needed again soon, so that they do not count as memory in use.
    pub fn forget(&self) {
        self.files.iter().for_each(SafetensorsFile::forget);
    }

    /// The error that says what is wrong with a file.
    pub fn invalid(&self, file: &str, reason: impl Into<String>) -> ModelError {
        ModelError::Invalid { file: self.directory.join(file).display().to_string(), reason: reason.into() }
    }

    /// The error that says that a file is not there.
    pub fn missing(&self, file: &str) -> ModelError {
        let path = self.directory.join(file).display().to_string();
        ModelError::Io { path, source: ErrorKind::NotFound.into() }
    }
}

/// The files that an index names, each once.
fn files_of(index: &Json) -> Result<Vec<String>, String> {
    let Some(Value::Object(places)) = index.get("weight_map") else { return Err("it lacks `weight_map`".into()) };
    let mut names = Vec::new();
    for file in places.values() {
        let name = file.as_str().ok_or("`weight_map` holds something other than names of files")?;
        // The name becomes part of a path, which must not lead out of the folder.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(format!("`weight_map` names `{name}`, which is no plain name of a file"));
        }
        names.push(name.to_owned());
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(name: &str) -> Vec<u8> {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(1.5f32.to_le_bytes());
        bytes
    }

    #[test]
    fn weights_in_several_files_are_one() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
        assert!(matches!(HubFolder::open(directory.path()), Err(ModelError::Io { .. })));
        write(CONFIG, b"{}");
        write("one.safetensors", &weights("a"));
        write("two.safetensors", &weights("b"));
        write(INDEX, br#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}}"#);
        let folder = HubFolder::open(directory.path()).unwrap();
        assert!(folder.has_tensor("a") && folder.has_tensor("b") && !folder.has_tensor("c"));
        folder.forget();
        assert_eq!(folder.tensor("b").unwrap().bytes, 1.5f32.to_le_bytes());
        assert!(folder.tensor("c").unwrap_err().contains("`c` is missing"));
        assert_eq!(folder.text("README.md").unwrap(), None);
        for index in [r#"{"weight_map": {"a": "../one.safetensors"}}"#, r#"{"weight_map": {"a": 1}}"#, "{}", "{"] {
            write(INDEX, index.as_bytes());
            assert!(matches!(HubFolder::open(directory.path()), Err(ModelError::Invalid { .. })), "{index}");
        }
    }
}
