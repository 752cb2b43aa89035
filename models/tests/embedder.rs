//! The embedder against sentence-transformers: `data/bert_reference.py` made the vectors.
//!
//! Needs the installed starter model. Where it is missing the tests say so and pass, except with `CI=true`.

mod common;

use intramuros_models::{Embedder, Precision, open_embedder};

const MODEL: &str = "all-MiniLM-L6-v2";

#[derive(serde::Deserialize)]
struct Reference {
    model: String,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    vector: String,
}

fn embedder() -> Option<Box<dyn Embedder>> {
    common::installed(MODEL).map(|files| open_embedder(&files, Precision::F32).unwrap())
}

fn reference() -> Vec<(String, Vec<f32>)> {
    let reference: Reference = serde_json::from_str(include_str!("data/bert_reference.json")).unwrap();
    assert_eq!(reference.model, MODEL);
    let mut cases = Vec::new();
    for case in reference.cases {
        let hexadecimal = case.vector.as_bytes().chunks_exact(8);
        let number = |digits| u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap().swap_bytes();
        cases.push((case.text, hexadecimal.map(|digits| f32::from_bits(number(digits))).collect()));
    }
    cases
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let Some(embedder) = embedder() else { return };
    let cases = reference();
    assert_eq!(cases.len(), 50);
    let longer = cases.iter().filter(|(text, _)| embedder.count_tokens(text) > embedder.max_tokens()).count();
    assert!(longer >= 3, "only {longer} texts are longer than the window");
    let mut worst = 1.0_f64;
    for (text, expected) in &cases {
        let cosine = cosine(&embedder.embed_query(text).unwrap(), expected);
        assert!(cosine >= 0.9999, "cosine {cosine} for {text:?}");
        worst = worst.min(cosine);
    }
    println!("least cosine {worst:.9}");
}

#[test]
fn a_batch_equals_its_singles_in_order() {
    let Some(embedder) = embedder() else { return };
    let cases = reference();
    let texts: Vec<&str> = cases.iter().map(|(text, _)| text.as_str()).collect();
    let batch = embedder.embed_passages(&texts).unwrap();
    assert_eq!(batch.len(), texts.len());
    for (text, vector) in texts.iter().zip(&batch) {
        let single = embedder.embed_passages(&[text]).unwrap();
        let cosine = cosine(vector, &single[0]);
        assert!(cosine >= 0.99999, "cosine {cosine} for {text:?}");
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "length {length} for {text:?}");
    }
    assert!(embedder.embed_passages(&[]).unwrap().is_empty());
}

#[test]
fn tokens_are_counted_without_cutting_and_without_special_ones() {
    let Some(embedder) = embedder() else { return };
    assert_eq!(embedder.dimensions(), 384);
    assert_eq!(embedder.max_tokens(), 254);
    assert_eq!(embedder.count_tokens(""), 0);
    assert_eq!(embedder.count_tokens("the office"), 2);
    assert_eq!(embedder.count_tokens(&"word ".repeat(1000)), 1000);
    assert!(embedder.identity().starts_with("all-MiniLM-L6-v2@") && embedder.identity().contains("mean"));
}

#[test]
fn what_lies_beyond_the_window_changes_nothing() {
    let Some(embedder) = embedder() else { return };
    let full = "word ".repeat(embedder.max_tokens());
    let beyond = format!("{full} contract");
    let less = "word ".repeat(embedder.max_tokens() - 1) + "contract";
    let vectors = embedder.embed_passages(&[&full, &beyond, &less]).unwrap();
    assert!(cosine(&vectors[0], &vectors[1]) > 0.999999);
    assert!(cosine(&vectors[0], &vectors[2]) < 0.9999);
}

#[test]
fn several_threads_may_embed_at_once() {
    let Some(embedder) = embedder() else { return };
    let cases = reference();
    std::thread::scope(|scope| {
        for part in cases.chunks(13) {
            let embedder = &embedder;
            scope.spawn(move || {
                for (text, expected) in part {
                    assert!(cosine(&embedder.embed_query(text).unwrap(), expected) >= 0.9999);
                }
            });
        }
    });
}
