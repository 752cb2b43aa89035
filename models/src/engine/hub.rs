//! A model as the Hugging Face hub lays it out: a folder with `config.json`, tokenizer and safetensors, perhaps cut into
//! several files.

use std::collections::HashMap;
use std::path::PathBuf;

use super::gguf::RawTensor;
use super::json::Json;
use super::safetensors::SafetensorsFile;
use crate::ModelError;
use crate::weights::ModelFiles;

const CONFIG: &str = "config.json";

/// An opened folder; its weights are mapped, not read. Files that the catalogue does not list count as absent: nobody has
/// verified them.
pub struct HubFolder {
    directory: PathBuf,
    listed: Vec<String>,
    config: Json,
    files: Vec<SafetensorsFile>,
    /// Where each tensor lies among `files`.
    places: HashMap<String, usize>,
}

impl HubFolder {
    /// Opens the folder of a model.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file cannot be read, [`ModelError::Invalid`] when one is damaged or not listed.
    pub fn open(model: &ModelFiles) -> Result<Self, ModelError> {
        let mut folder = Self {
            directory: model.directory.clone(),
            listed: model.entry.files.iter().map(|file| file.name.clone()).collect(),
            config: Json::default(),
            files: Vec::new(),
            places: HashMap::new(),
        };
        folder.config = folder.json(CONFIG)?.ok_or_else(|| folder.missing(CONFIG))?;
        for path in model.all_with_extension("safetensors")? {
            let file = SafetensorsFile::open(&path)?;
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

    /// A file of text; nothing where none is listed.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read.
    pub fn text(&self, file: &str) -> Result<Option<String>, ModelError> {
        if !self.listed.iter().any(|listed| listed == file) {
            return Ok(None);
        }
        let path = self.directory.join(file);
        let text = std::fs::read_to_string(&path);
        text.map(Some).map_err(|source| ModelError::Io { path: path.display().to_string(), source })
    }

    /// A file of JSON; nothing where none is listed.
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

    /// All of its tensors of floats, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = RawTensor<'_>> {
        self.files.iter().flat_map(SafetensorsFile::tensors)
    }

    /// Tells the system that the weights will not be needed again soon, so that they do not count as memory in use.
    pub fn forget(&self) {
        self.files.iter().for_each(SafetensorsFile::forget);
    }

    /// The error that says what is wrong with a file.
    pub fn invalid(&self, file: &str, reason: impl Into<String>) -> ModelError {
        ModelError::Invalid { file: self.directory.join(file).display().to_string(), reason: reason.into() }
    }

    /// The error that says what is wrong with the weights: names their file, or the folder where there are several.
    pub fn invalid_weights(&self, reason: impl Into<String>) -> ModelError {
        let mut files = self.listed.iter().filter(|name| name.ends_with(".safetensors"));
        match (files.next(), files.next()) {
            (Some(only), None) => self.invalid(only, reason),
            _ => ModelError::Invalid { file: self.directory.display().to_string(), reason: reason.into() },
        }
    }

    /// The error that says that a file is needed and not listed.
    pub fn missing(&self, file: &str) -> ModelError {
        self.invalid(file, "the catalogue does not list it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ModelRole;

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
        let open = |names: &[&str]| {
            HubFolder::open(&ModelFiles::unlisted(directory.path(), ModelRole::Generator, "llama", names))
        };
        let names = [CONFIG, "one.safetensors", "two.safetensors"];
        assert!(matches!(open(&names), Err(ModelError::Io { .. })));
        write(CONFIG, b"{}");
        write("one.safetensors", &weights("a"));
        write("two.safetensors", &weights("b"));
        let folder = open(&names).unwrap();
        assert!(folder.has_tensor("a") && folder.has_tensor("b") && !folder.has_tensor("c"));
        assert_eq!(folder.tensors().map(|tensor| tensor.bytes.len()).sum::<usize>(), 8);
        folder.forget();
        assert_eq!(folder.tensor("b").unwrap().bytes, 1.5f32.to_le_bytes());
        assert!(folder.tensor("c").unwrap_err().contains("`c` is missing"));
        let both = folder.invalid_weights("odd").to_string();
        assert!(both.contains(&format!("`{}`: odd", directory.path().display())), "{both}");
        let one = open(&[CONFIG, "two.safetensors"]).unwrap().invalid_weights("odd").to_string();
        assert!(one.contains("two.safetensors`: odd"), "{one}");
    }

    #[test]
    fn what_is_not_listed_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            (CONFIG, b"{}".to_vec()),
            ("model.safetensors", weights("a")),
            ("more.safetensors", weights("b")),
            ("generation_config.json", b"{".to_vec()),
        ] {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        let open = |names: &[&str]| {
            HubFolder::open(&ModelFiles::unlisted(directory.path(), ModelRole::Generator, "llama", names))
        };
        let folder = open(&[CONFIG, "model.safetensors"]).unwrap();
        assert!(folder.has_tensor("a") && !folder.has_tensor("b"));
        assert!(folder.json("generation_config.json").unwrap().is_none());
        assert!(open(&["model.safetensors"]).err().unwrap().to_string().contains("does not list it"));
        assert!(open(&[CONFIG]).err().unwrap().to_string().contains("no `.safetensors`"));
    }
}
