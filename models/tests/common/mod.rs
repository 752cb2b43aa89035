//! What several tests need.
#![allow(dead_code, reason = "no test needs all of it")]

use intramuros_models::catalog::Catalog;
use intramuros_models::weights::{self, ModelFiles};
use intramuros_models::{Event, GenerateRequest, Generator, ModelError, Summary};

/// An installed model. Where it is missing the tests say so and pass, except with `CI=true`.
pub fn installed(name: &str) -> Option<ModelFiles> {
    let catalog = Catalog::load(None).unwrap();
    match weights::locate(&weights::default_models_dir(), catalog.model(name).unwrap()) {
        Ok(files) => Some(files),
        Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => panic!("{error}"),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

/// All that a generator writes, and how it ended.
pub fn write(generator: &dyn Generator, request: GenerateRequest) -> Result<(String, Summary), ModelError> {
    let mut text = String::new();
    for event in generator.generate(request)? {
        match event? {
            Event::Text(more) => text.push_str(&more),
            Event::Done(summary) => return Ok((text, summary)),
        }
    }
    panic!("the stream ended without a summary");
}
