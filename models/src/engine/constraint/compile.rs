//! From a grammar to the state that follows it, within fixed limits: whoever asks may send any schema.

use std::fmt::Display;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::{Value, json};

use super::schema;
use crate::{Grammar, ModelError};

/// Bytes of the longest regular expression.
const LONGEST_REGEX: usize = 4096;
/// Characters of what is told of a failure.
const LONGEST_REASON: usize = 200;
/// Stack of the thread that compiles. References may lead into each other as far as a schema's size lets them, and each
/// takes a few KiB; what is not used is never given by the system.
const STACK: usize = 64 << 20;

/// Bounds of the work for one answer. A unit of fuel takes some 20 to 70 ns.
pub fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 100_000,
        step_max_items: 50_000,
        // 1 to 2 KiB each.
        max_lexer_states: 50_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: true,
        // They would quote the answer.
        verbose_errors: false,
    }
}

/// Compiles a grammar for the tokens of a factory.
///
/// # Errors
/// [`ModelError::Grammar`] naming what cannot be done and where.
pub fn compile(grammar: &Grammar, factory: &ParserFactory) -> Result<Matcher, ModelError> {
    let top = match grammar {
        Grammar::JsonSchema(schema) => json_grammar(schema::prepare(schema).map_err(ModelError::Grammar)?),
        Grammar::JsonObject => json_grammar(json!({ "type": "object" })),
        Grammar::Regex(regex) => regex_grammar(regex)?,
    };
    let parse = || factory.create_parser(top);
    let parser = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("grammar".into()).stack_size(STACK);
        let thread = thread
            .spawn_scoped(scope, parse)
            .map_err(|error| ModelError::Compute(format!("no thread for the grammar: {error}")))?;
        match thread.join() {
            Ok(parser) => parser.map_err(|error| ModelError::Grammar(reason(grammar, &error.to_string()))),
            Err(_) => Err(ModelError::Grammar(reason(grammar, ""))),
        }
    })?;
    Ok(Matcher::new(Ok(parser)))
}

/// JSON as short as it can be written: no blanks between its parts, which a small model would go on writing.
fn json_grammar(mut schema: Value) -> TopLevelGrammar {
    let options = JsonCompileOptions { whitespace_flexible: false, ..JsonCompileOptions::default() };
    options.apply_to(&mut schema);
    TopLevelGrammar::from_json_schema(schema)
}

fn regex_grammar(regex: &str) -> Result<TopLevelGrammar, ModelError> {
    if regex.len() > LONGEST_REGEX {
        let length = regex.len();
        return Err(ModelError::Grammar(format!(
            "the regular expression has {length} bytes and may have {LONGEST_REGEX}: shorten it"
        )));
    }
    schema::check_regex(regex).map_err(|reason| ModelError::Grammar(format!("the regular expression: {reason}")))?;
    // As a group of its own, since what is empty or begins with `/` would be read as something else.
    Ok(TopLevelGrammar::from_regex(&format!("(?:{regex})")))
}

/// What `llguidance` says of a grammar, in words of the one who wrote it.
fn reason(grammar: &Grammar, said: &str) -> String {
    let what = match grammar {
        Grammar::Regex(_) => "the regular expression",
        Grammar::JsonSchema(_) | Grammar::JsonObject => "the schema",
    };
    // The first line says it; what follows is a dump of its state, or of a panic.
    let said = said.lines().next().unwrap_or_default().trim();
    if said.is_empty() || said.starts_with("panic") {
        return format!("{what} cannot be followed");
    }
    if said.contains("oneOf constraints") {
        return format!("{what}: options of a `oneOf` are not told apart by a constant: use `anyOf`");
    }
    if said.contains("too big") || said.contains("too large") || said.contains("fuel") || said.contains("precompute") {
        return format!("{what} is too large or too deep: make it smaller ({said})");
    }
    // Some of it quotes whole expressions.
    let short: String = said.chars().take(LONGEST_REASON).collect();
    format!("{what}: {short}{}", if short.len() < said.len() { "…" } else { "" })
}

/// A failure in the middle of an answer. What `llguidance` says of it may quote the answer.
pub fn broken(error: impl Display) -> ModelError {
    let said = error.to_string();
    // Its names for the limits above; what it says of a wrong token begins with capitals.
    let too_much = ["lexer error:", "parser error:", " items; max"].iter().any(|part| said.contains(part));
    let reason =
        if too_much { "following it takes too much work: make it simpler" } else { "the text so far cannot go on" };
    ModelError::Grammar(reason.into())
}
