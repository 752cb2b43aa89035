//! Embedders and rerankers against Hugging Face transformers: `data/encoders/make.py` made tiny random checkpoints of each
//! architecture and the reference.

use std::path::Path;

use intramuros_models::catalog::{ModelRole, Pooling};
use intramuros_models::weights::ModelFiles;
use intramuros_models::{ModelError, Precision, open_embedder, open_reranker};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    max_tokens: usize,
    dimensions: usize,
    checkpoints: Vec<Checkpoint>,
}

#[derive(Deserialize)]
struct Checkpoint {
    architecture: String,
    texts: Vec<Text>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    mean: Vec<f32>,
    cls: Vec<f32>,
}

#[derive(Deserialize)]
struct Pair {
    query: String,
    passage: String,
    score: f32,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("data/encoders/reference.json")).unwrap()
}

/// A checkpoint as if it had been installed.
fn files(reference: &Reference, architecture: &str, role: ModelRole, pooling: Pooling) -> ModelFiles {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/encoders").join(architecture);
    let names = ["model.safetensors", "config.json", "tokenizer.json"];
    let mut files = ModelFiles::unlisted(&directory, role, architecture, &names);
    files.entry.dimensions = Some(reference.dimensions);
    files.entry.max_tokens = reference.max_tokens;
    files.entry.pooling = Some(pooling);
    files
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt()
}

#[test]
fn vectors_are_those_of_transformers() {
    let reference = reference();
    assert_eq!(reference.checkpoints.len(), 3);
    for checkpoint in &reference.checkpoints {
        let texts: Vec<&str> = checkpoint.texts.iter().map(|text| text.text.as_str()).collect();
        for pooling in [Pooling::Mean, Pooling::Cls] {
            let files = files(&reference, &checkpoint.architecture, ModelRole::Embedder, pooling);
            let exact = open_embedder(&files, Precision::F32).unwrap();
            let whole = open_embedder(&files, Precision::Int8).unwrap();
            assert!(exact.identity() != whole.identity() && whole.identity().ends_with("int8"));
            let longest = checkpoint.texts.iter().map(|text| exact.count_tokens(&text.text)).max();
            assert!(longest > Some(exact.max_tokens()), "no text is longer than the window");
            let vectors = exact.embed_passages(&texts).unwrap();
            let rough = whole.embed_passages(&texts).unwrap();
            for ((text, vector), rough) in checkpoint.texts.iter().zip(vectors).zip(rough) {
                let expected = if pooling == Pooling::Mean { &text.mean } else { &text.cls };
                let far = distance(&vector, expected);
                assert!(far < 1e-5, "{} {pooling}: {far} for {:?}", checkpoint.architecture, text.text);
                // Blocks of 32 are whole rows of this tiny network, so that it is rougher than a real one.
                let far = distance(&rough, expected);
                assert!(far < 0.1, "{} {pooling} int8: {far} for {:?}", checkpoint.architecture, text.text);
                assert!(distance(&exact.embed_query(&text.text).unwrap(), expected) < 1e-5);
            }
        }
    }
}

#[test]
fn what_torch_saved_gives_the_same_vectors() {
    let reference = reference();
    let checkpoint = reference.checkpoints.iter().find(|one| one.architecture == "xlm-roberta").unwrap();
    let mut files = files(&reference, "xlm-roberta", ModelRole::Embedder, Pooling::Mean);
    files.entry.files[0].name = "pytorch_model.bin".to_owned();
    let embedder = open_embedder(&files, Precision::F32).unwrap();
    for text in &checkpoint.texts {
        assert!(distance(&embedder.embed_query(&text.text).unwrap(), &text.mean) < 1e-5, "{:?}", text.text);
    }
    // A file that lost its end.
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(files.path(file), directory.path().join(file)).unwrap();
    }
    let whole = std::fs::read(files.path("pytorch_model.bin")).unwrap();
    std::fs::write(directory.path().join("pytorch_model.bin"), &whole[..whole.len() / 2]).unwrap();
    files.directory = directory.path().to_owned();
    let error = open_embedder(&files, Precision::F32).err().unwrap().to_string();
    assert!(error.contains("pytorch_model.bin"), "{error}");
}

#[test]
fn scores_are_those_of_transformers() {
    let reference = reference();
    for checkpoint in &reference.checkpoints {
        let files = files(&reference, &checkpoint.architecture, ModelRole::Reranker, Pooling::Cls);
        let exact = open_reranker(&files, Precision::F32).unwrap();
        let whole = open_reranker(&files, Precision::Int8).unwrap();
        assert!(exact.identity() != whole.identity());
        for pair in &checkpoint.pairs {
            let score = exact.score(&pair.query, &[&pair.passage]).unwrap()[0];
            let (far, expected) = ((score - pair.score).abs(), pair.score);
            assert!(far < 1e-4 * expected.abs(), "{}: {score} for {expected}", checkpoint.architecture);
            let rough = whole.score(&pair.query, &[&pair.passage]).unwrap()[0];
            assert!((rough - expected).abs() < 0.1, "{} int8: {rough} for {expected}", checkpoint.architecture);
        }
        // Several at once, among them one that fills the window.
        let passages: Vec<&str> = checkpoint.texts.iter().map(|text| text.text.as_str()).collect();
        let scores = exact.score("Who pays?", &passages).unwrap();
        assert_eq!(scores.len(), passages.len());
        for (passage, score) in passages.iter().zip(scores) {
            assert_eq!(exact.score("Who pays?", &[passage]).unwrap(), [score], "{passage:?}");
        }
        assert!(exact.score("Who pays?", &[]).unwrap().is_empty());
    }
}

#[test]
fn what_does_not_fit_together_is_named() {
    let reference = reference();
    let embedder = |files: &ModelFiles| open_embedder(files, Precision::F32).err().map(|error| error.to_string());
    let good = files(&reference, "bert", ModelRole::Embedder, Pooling::Mean);

    let mut wrong = good.clone();
    wrong.entry.dimensions = Some(48);
    assert!(embedder(&wrong).unwrap().contains("48"));
    let mut wrong = good.clone();
    wrong.entry.max_tokens = 41;
    assert!(embedder(&wrong).unwrap().contains("41 tokens"));
    let mut wrong = good.clone();
    wrong.entry.files.retain(|file| file.name != "tokenizer.json");
    assert!(embedder(&wrong).unwrap().contains("lists no `tokenizer.json`"));
    let mut wrong = good.clone();
    wrong.entry.architecture = "llama".to_owned();
    assert!(embedder(&wrong).unwrap().contains("known: bert, xlm-roberta, modernbert"));
    let mut wrong = good.clone();
    wrong.entry.architecture = "modernbert".to_owned();
    assert!(matches!(open_reranker(&wrong, Precision::F32), Err(ModelError::Invalid { .. })));
    let mut wrong = good.clone();
    wrong.entry.query_prefix = "x ".repeat(40);
    assert!(embedder(&wrong).unwrap().contains("leaves no room"));

    // Files of one model among those of another.
    let directory = tempfile::tempdir().unwrap();
    for (file, from) in [("config.json", "bert"), ("tokenizer.json", "bert"), ("model.safetensors", "xlm-roberta")] {
        let from = good.directory.with_file_name(from).join(file);
        std::fs::copy(from, directory.path().join(file)).unwrap();
    }
    let mut wrong = good.clone();
    wrong.directory = directory.path().to_owned();
    let error = embedder(&wrong).unwrap();
    assert!(error.contains("model.safetensors") && error.contains("embeddings"), "{error}");
    std::fs::copy(
        good.directory.with_file_name("modernbert").join("tokenizer.json"),
        directory.path().join("tokenizer.json"),
    )
    .unwrap();
    assert!(embedder(&wrong).unwrap().contains("tokenizer.json"));
}

/// Whatever stands in `config.json`, it is refused or accepted, and nothing of a length that it claims is made before.
#[test]
fn damaged_configurations_never_panic() {
    let reference = reference();
    for architecture in ["bert", "xlm-roberta", "modernbert"] {
        let copy = tempfile::tempdir().unwrap();
        let good = files(&reference, architecture, ModelRole::Embedder, Pooling::Mean);
        for file in ["tokenizer.json", "model.safetensors"] {
            std::fs::copy(good.path(file), copy.path().join(file)).unwrap();
        }
        let config = std::fs::read(good.path("config.json")).unwrap();
        let spoilt = ModelFiles { directory: copy.path().to_owned(), ..good };
        let open = |config: &[u8]| {
            std::fs::write(copy.path().join("config.json"), config).unwrap();
            open_embedder(&spoilt, Precision::F32).map(|_| ()).map_err(|error| error.to_string())
        };
        open(&config).unwrap();
        for index in (0..config.len()).step_by(7) {
            let mut bytes = config.clone();
            bytes[index] ^= 0x15;
            let _ = open(&bytes);
        }
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&config).unwrap();
        for (key, _) in fields.iter().filter(|(_, value)| value.is_u64()) {
            for size in [0, 1 << 40, u64::MAX] {
                let mut fields = fields.clone();
                fields[key] = size.into();
                let refused = open(serde_json::Value::from(fields).to_string().as_bytes()).err();
                let sizes = ["hidden_", "num_", "intermediate_", "vocab_", "max_position_"];
                if sizes.iter().any(|beginning| key.starts_with(beginning)) {
                    assert!(refused.is_some(), "{architecture}: {key} = {size}");
                }
            }
        }
    }
}
