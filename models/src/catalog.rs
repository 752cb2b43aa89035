//! The models known by name: the catalogue in this crate, and the one a company adds to it.
//!
//! Pure data, checked once when it is read: unknown fields, unknown architectures and dangling names are refused, so
//! that what a command lists is what it can load.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::TEMPLATE_FILES;
use crate::{ModelError, arch};

const BUILT_IN: &str = include_str!("../catalog.toml");

/// Every profile and model that has a name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Combinations of models.
    #[serde(rename = "profile", default)]
    pub profiles: Vec<Profile>,
    /// Single models.
    #[serde(rename = "model", default)]
    pub models: Vec<Model>,
}

/// Models that go well together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// As it is asked for.
    pub name: String,
    /// For whom it is, in a few words.
    pub summary: String,
    /// Name of the embedder.
    pub embedder: String,
    /// Name of the generator.
    pub generator: String,
    /// Name of the reranker, where there is one.
    pub reranker: Option<String>,
}

/// One model: what it is, what it needs and where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// As it is asked for; also the name of its directory.
    pub name: String,
    /// What it does.
    pub role: ModelRole,
    /// A name of [`arch::EMBEDDERS`], [`arch::RERANKERS`] or [`arch::DECODERS`].
    pub architecture: String,
    /// What it is, in a few words.
    pub summary: String,
    /// The languages it covers well, as ISO 639-1 codes.
    pub languages: Vec<String>,
    /// What must be said about its languages.
    #[serde(default)]
    pub language_note: String,
    /// SPDX identifier, or the name of its licence.
    pub licence: String,
    /// Memory it needs when in use, in MiB, roughly.
    pub memory_mib: u64,
    /// Length of its vectors (embedders).
    pub dimensions: Option<usize>,
    /// Longest input in tokens, special tokens counted.
    pub max_tokens: usize,
    /// How token vectors become one (embedders).
    pub pooling: Option<Pooling>,
    /// Written before a question (embedders trained with it).
    #[serde(default)]
    pub query_prefix: String,
    /// Written before a passage (embedders trained with it).
    #[serde(default)]
    pub passage_prefix: String,
    /// Cosine of texts that have nothing to do with each other (embedders). Those that were trained at a low temperature, as
    /// the E5 family, leave little room above it (see question 3 of their model cards).
    #[serde(default)]
    pub unrelated_cosine: f32,
    /// What it can make an answer of (generators).
    #[serde(default)]
    pub reads: Reads,
    /// The files of which it consists.
    #[serde(rename = "file")]
    pub files: Vec<ModelFile>,
    /// Where the files can be had, tried in this order.
    #[serde(rename = "source", default)]
    pub sources: Vec<Source>,
}

/// What a generator can make an answer of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// Whole passages, in which it finds what answers.
    #[default]
    Passages,
    /// The sentences that answer, which it says in its own words: of passages the smallest models take the wrong ones.
    Sentences,
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelRole {
    /// Texts to vectors.
    Embedder,
    /// A question and a passage to a score.
    Reranker,
    /// Prompts to text.
    Generator,
}

impl std::fmt::Display for ModelRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedder => "embedder",
            Self::Reranker => "reranker",
            Self::Generator => "generator",
        })
    }
}

/// How the vectors of a text's tokens become the text's vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's.
    Cls,
    /// The last token's.
    Last,
}

impl std::fmt::Display for Pooling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
        })
    }
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Name in the model's directory, without folders.
    pub name: String,
    /// Length, where it is known.
    pub bytes: Option<u64>,
    /// SHA-256 in lower-case hexadecimal. Absent: trusted on the first pull and recorded then.
    pub sha256: Option<String>,
}

/// A place that has a model's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A repository of the Hugging Face hub, or of what `HF_ENDPOINT` names.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Commit or branch; `main` when absent.
        revision: Option<String>,
        /// Where a file's path in the repository differs from its name: name to path.
        #[serde(default)]
        paths: BTreeMap<String, String>,
    },
    /// A wheel of the Python index that the machine's own pip uses.
    Python {
        /// Name in the index.
        package: String,
        /// Exact version.
        version: String,
        /// Length of the wheel, where it is known; for progress only.
        bytes: Option<u64>,
        /// Name of each file to its path inside the wheel.
        members: BTreeMap<String, String>,
    },
}

impl Catalog {
    /// Reads the built-in catalogue and, where `extra` names a file of the same format, adds that file's entries;
    /// an entry of the same name, in upper or lower case, replaces the built-in one.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Invalid`] naming the extra file and what is wrong with it.
    pub fn load(extra: Option<&Path>) -> Result<Self, ModelError> {
        let mut catalog = Self::parse("catalog.toml", BUILT_IN)?;
        if let Some(path) = extra {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| ModelError::Io { path: file.clone(), source })?;
            let added = Self::parse(&file, &text)?;
            let is_other = |new: &str, old: &str| !new.eq_ignore_ascii_case(old);
            catalog.models.retain(|old| added.models.iter().all(|new| is_other(&new.name, &old.name)));
            catalog.profiles.retain(|old| added.profiles.iter().all(|new| is_other(&new.name, &old.name)));
            catalog.models.extend(added.models);
            catalog.profiles.extend(added.profiles);
            catalog.check(&file)?;
        }
        catalog.check("catalog.toml")?;
        Ok(catalog)
    }

    /// Finds a model by name; upper and lower case are the same.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the names there are.
    pub fn model(&self, name: &str) -> Result<&Model, ModelError> {
        let found = self.models.iter().find(|model| model.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| self.unknown(name))
    }

    /// The same for a role.
    ///
    /// # Errors
    /// As [`Catalog::model`], and [`ModelError::Role`] with those that have the role.
    pub fn model_for(&self, role: ModelRole, name: &str) -> Result<&Model, ModelError> {
        let model = self.model(name)?;
        if model.role == role {
            return Ok(model);
        }
        let known = self.models.iter().filter(|model| model.role == role).map(|model| model.name.as_str());
        let known = known.collect::<Vec<_>>().join(", ");
        Err(ModelError::Role { name: model.name.clone(), found: model.role, role, known })
    }

    /// Finds a profile by name; upper and lower case are the same.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the names there are.
    pub fn profile(&self, name: &str) -> Result<&Profile, ModelError> {
        let found = self.profiles.iter().find(|profile| profile.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| self.unknown(name))
    }

    /// The models that a name stands for: a profile's, or the model itself.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the names there are.
    pub fn select(&self, name: &str) -> Result<Vec<&Model>, ModelError> {
        let Ok(profile) = self.profile(name) else { return Ok(vec![self.model(name)?]) };
        let names = [Some(&profile.embedder), Some(&profile.generator), profile.reranker.as_ref()];
        let mut models = Vec::new();
        for name in names.into_iter().flatten() {
            models.push(self.model(name)?);
        }
        Ok(models)
    }

    fn parse(file: &str, text: &str) -> Result<Self, ModelError> {
        toml::from_str(text).map_err(|error| invalid(file, error.to_string()))
    }

    fn unknown(&self, name: &str) -> ModelError {
        let profiles = self.profiles.iter().map(|profile| profile.name.as_str());
        let models = self.models.iter().map(|model| model.name.as_str());
        let known: Vec<&str> = profiles.chain(models).collect();
        ModelError::Unknown { name: name.to_owned(), known: known.join(", ") }
    }

    fn check(&self, file: &str) -> Result<(), ModelError> {
        only_once(self.models.iter().map(|model| &model.name)).map_err(|reason| invalid(file, reason))?;
        only_once(self.profiles.iter().map(|profile| &profile.name)).map_err(|reason| invalid(file, reason))?;
        for model in &self.models {
            model.check().map_err(|reason| invalid(file, format!("model `{}`: {reason}", model.name)))?;
        }
        for profile in &self.profiles {
            let wrong = |error: String| invalid(file, format!("profile `{}`: {error}", profile.name));
            self.select(&profile.name).map_err(|error| wrong(error.to_string()))?;
            let named = [(&profile.embedder, ModelRole::Embedder), (&profile.generator, ModelRole::Generator)];
            let reranker = profile.reranker.as_ref().map(|name| (name, ModelRole::Reranker));
            for (name, role) in named.into_iter().chain(reranker) {
                let own = self.model(name).map_err(|error| wrong(error.to_string()))?.role;
                if own != role {
                    return Err(wrong(format!("`{name}` is named as its {role} and is one of the role {own}")));
                }
            }
        }
        Ok(())
    }
}

impl Model {
    /// A model that no catalogue lists, of which nothing is known but what it takes to open it.
    pub fn unlisted(name: &str, role: ModelRole, architecture: &str, files: &[&str]) -> Self {
        let file = |name: &&str| ModelFile { name: (*name).to_owned(), bytes: None, sha256: None };
        Self {
            name: name.to_owned(),
            role,
            architecture: architecture.to_owned(),
            summary: String::new(),
            languages: Vec::new(),
            language_note: String::new(),
            licence: String::new(),
            memory_mib: 0,
            dimensions: None,
            max_tokens: 0,
            pooling: None,
            query_prefix: String::new(),
            passage_prefix: String::new(),
            unrelated_cosine: 0.0,
            reads: Reads::default(),
            files: files.iter().map(file).collect(),
            sources: Vec::new(),
        }
    }

    /// Whether one of its files is called so.
    pub fn lists(&self, file: &str) -> bool {
        self.files.iter().any(|own| own.name == file)
    }

    /// Length of all files in bytes, where the catalogue knows it.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Whether the catalogue has a hash for every file; else the first pull is trusted.
    pub fn pinned(&self) -> bool {
        self.files.iter().all(|file| file.sha256.is_some())
    }

    fn check(&self) -> Result<(), String> {
        if !is_plain_name(&self.name) {
            return Err("its name must be a plain file name".to_owned());
        }
        let known: Vec<&str> = match self.role {
            ModelRole::Embedder => arch::EMBEDDERS.iter().map(|(name, _)| *name).collect(),
            ModelRole::Reranker => arch::RERANKERS.iter().map(|(name, _)| *name).collect(),
            ModelRole::Generator => arch::generators(),
        };
        if !known.contains(&self.architecture.as_str()) {
            let (role, known) = (self.role, known.join(", "));
            return Err(format!("architecture `{}` of an {role} is not known; known: {known}", self.architecture));
        }
        if self.role == ModelRole::Embedder && (self.dimensions.is_none() || self.pooling.is_none()) {
            return Err("an embedder needs `dimensions` and `pooling`".to_owned());
        }
        if !(0.0..1.0).contains(&self.unrelated_cosine) {
            return Err("`unrelated_cosine` must be 0 or more and less than 1".to_owned());
        }
        if self.files.is_empty() {
            return Err("it has no files".to_owned());
        }
        let is_gguf = self.files.iter().any(|file| file.name.ends_with(".gguf"));
        if self.role == ModelRole::Generator && !is_gguf && !TEMPLATE_FILES.iter().any(|file| self.lists(file)) {
            let files = TEMPLATE_FILES.join("`, `");
            return Err(format!("a generator in safetensors needs a chat template: list the one it has of `{files}`"));
        }
        for file in &self.files {
            if !is_plain_name(&file.name) {
                return Err(format!("`{}` must be a plain file name", file.name));
            }
            let is_hash =
                |text: &String| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !file.sha256.as_ref().is_none_or(is_hash) {
                return Err(format!("sha256 of `{}` is not 64 lower-case hexadecimal digits", file.name));
            }
        }
        Ok(())
    }
}

/// Names are found whatever their case, so that a second one would never be.
fn only_once<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(format!("`{name}` is listed twice"));
        }
    }
    Ok(())
}

/// A name becomes part of a path, so it may neither leave its directory nor hide in it.
fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

fn invalid(file: &str, reason: String) -> ModelError {
    ModelError::Invalid { file: file.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPANY_MODEL: &str = r#"
        [[model]]
        name = "house-embedder"
        role = "embedder"
        architecture = "bert"
        summary = "ours"
        languages = ["es"]
        licence = "MIT"
        memory_mib = 100
        dimensions = 384
        max_tokens = 512
        pooling = "mean"
        [[model.file]]
        name = "model.safetensors"
    "#;

    fn with_extra(text: &str) -> Result<Catalog, ModelError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("company.toml");
        std::fs::write(&path, text).unwrap();
        Catalog::load(Some(&path))
    }

    #[test]
    fn the_starter_profile_is_pinned_and_has_both_ways() {
        let catalog = Catalog::load(None).unwrap();
        let models = catalog.select("starter").unwrap();
        assert_eq!(
            models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
            ["all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"]
        );
        for model in models {
            assert!(model.pinned(), "{}", model.name);
            assert!(model.bytes().is_some(), "{}", model.name);
            assert!(matches!(model.sources[..], [Source::Hub { .. }, Source::Python { .. }]), "{}", model.name);
        }
    }

    #[test]
    fn a_profile_brings_its_reranker() {
        let catalog = Catalog::load(None).unwrap();
        let roles: Vec<ModelRole> = catalog.select("standard").unwrap().iter().map(|model| model.role).collect();
        assert_eq!(roles, [ModelRole::Embedder, ModelRole::Generator, ModelRole::Reranker]);
        assert!(catalog.models.iter().any(|model| model.name == "bge-reranker-v2-m3" && !model.pinned()));
    }

    #[test]
    fn every_python_package_has_every_file() {
        for model in Catalog::load(None).unwrap().models {
            for source in &model.sources {
                let Source::Python { members, .. } = source else { continue };
                assert!(model.files.iter().all(|file| members.contains_key(&file.name)), "{}", model.name);
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = Catalog::load(None).unwrap().select("gpt-17").unwrap_err().to_string();
        assert!(
            error.contains("`gpt-17`") && error.contains("starter") && error.contains("SmolLM2-135M-Instruct"),
            "{error}"
        );
    }

    #[test]
    fn a_model_of_another_role_is_refused_with_those_of_the_right_one() {
        let catalog = Catalog::load(None).unwrap();
        assert!(catalog.model_for(ModelRole::Embedder, "all-MiniLM-L6-v2").is_ok());
        let error = catalog.model_for(ModelRole::Generator, "all-MiniLM-L6-v2").unwrap_err().to_string();
        assert!(error.contains("`all-MiniLM-L6-v2` is no generator but an embedder"), "{error}");
        assert!(error.contains("SmolLM2-135M-Instruct") && !error.contains("bge-m3"), "{error}");
    }

    #[test]
    fn a_company_catalogue_adds_and_replaces() {
        let catalog = with_extra(COMPANY_MODEL).unwrap();
        assert!(!catalog.model("House-Embedder").unwrap().pinned());
        assert!(catalog.model("all-minilm-l6-v2").is_ok());
        let replaced = with_extra(&COMPANY_MODEL.replace("house-embedder", "all-MiniLM-L6-v2")).unwrap();
        assert_eq!(replaced.model("all-MiniLM-L6-v2").unwrap().summary, "ours");
        let replaced = with_extra(&COMPANY_MODEL.replace("house-embedder", "All-minilm-l6-v2")).unwrap();
        assert_eq!(replaced.model("all-MiniLM-L6-v2").unwrap().summary, "ours");
    }

    #[test]
    fn what_is_wrong_in_a_company_catalogue_is_named() {
        let cases = [
            (COMPANY_MODEL.replace("licence", "license"), "license"),
            (COMPANY_MODEL.replace("\"bert\"", "\"bart\""), "known: bert"),
            (COMPANY_MODEL.replace("house-embedder", "../up"), "plain file name"),
            (format!("{COMPANY_MODEL}{}", COMPANY_MODEL.replace("house", "House")), "`House-embedder` is listed twice"),
            (
                COMPANY_MODEL.replace("\"embedder\"", "\"generator\"").replace("\"bert\"", "\"llama\""),
                "needs a chat template",
            ),
            (COMPANY_MODEL.replace("dimensions = 384", ""), "`dimensions`"),
            (format!("{COMPANY_MODEL}\nsha256 = \"ABC\""), "64 lower-case"),
            (
                format!(
                    "{COMPANY_MODEL}\n[[profile]]\nname = \"house\"\nsummary = \"ours\"\nembedder = \"house-embedder\"\n\
                     generator = \"house-embedder\""
                ),
                "named as its generator",
            ),
            (
                format!(
                    "{COMPANY_MODEL}\n[[profile]]\nname = \"house\"\nsummary = \"ours\"\nembedder = \"house-embedder\"\n\
                     generator = \"SmolLM2-135M-Instruct\"\nreranker = \"house-embedder\""
                ),
                "named as its reranker",
            ),
            (format!("{COMPANY_MODEL}\n[[model.source]]\nkind = \"hub\"\nrepo = \"a/b\"\nrev = \"x\""), "rev"),
        ];
        for (text, expected) in cases {
            let error = with_extra(&text).unwrap_err().to_string();
            assert!(error.contains("company.toml") && error.contains(expected), "{expected}: {error}");
        }
    }
}
