//! A grammar without a model: what can be followed, and whether a text does.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llguidance::Matcher;
use llguidance::toktrie::ApproximateTokEnv;

use super::{Vocabulary, compile};
use crate::{Grammar, ModelError};

/// A grammar that a model can follow.
pub struct CompiledGrammar {
    grammar: Grammar,
    /// At its beginning, over single bytes.
    matcher: Mutex<Matcher>,
}

impl CompiledGrammar {
    /// Compiles a grammar. Takes some milliseconds, for what is made to take long a few seconds.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] naming what cannot be done and where.
    pub fn new(grammar: Grammar) -> Result<Self, ModelError> {
        let mut matcher = compile::compile(&grammar, bytes()?.factory())?;
        if matcher.compute_mask().is_err() {
            return Err(ModelError::Grammar(
                "nothing matches it, or its beginning takes too much work to follow".into(),
            ));
        }
        Ok(Self { grammar, matcher: Mutex::new(matcher) })
    }

    /// What was compiled.
    pub fn grammar(&self) -> &Grammar {
        &self.grammar
    }

    /// Whether a text is a whole match, as a model would write it: JSON without blanks, members in the schema's order.
    pub fn matches(&self, text: &str) -> bool {
        // Nothing is left half done by a panic: `llguidance` catches its own.
        let mut matcher = self.matcher.lock().unwrap_or_else(PoisonError::into_inner).deep_clone();
        let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
        let taken = matcher.try_consume_tokens(&tokens);
        // What is too much work to follow is no match.
        taken.is_ok_and(|taken| taken == tokens.len())
            && (matcher.is_stopped() || matcher.is_accepting().unwrap_or(false))
    }
}

impl fmt::Debug for CompiledGrammar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("CompiledGrammar").field(&self.grammar).finish()
    }
}

/// Bytes as tokens.
fn bytes() -> Result<&'static Vocabulary, ModelError> {
    static BYTES: OnceLock<Result<Vocabulary, String>> = OnceLock::new();
    let made = BYTES.get_or_init(|| Vocabulary::of(Arc::new(ApproximateTokEnv::single_byte())));
    made.as_ref().map_err(|reason| ModelError::Compute(reason.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_held_against_a_grammar() {
        let regex = CompiledGrammar::new(Grammar::Regex(r"^\d{2}(,\d)? %$".into())).unwrap();
        assert!(regex.matches("15 %") && regex.matches("15,5 %"));
        for text in ["15,5", "15 % ", "", "x"] {
            assert!(!regex.matches(text), "{text}");
        }
        let schema = json!({ "type": "object", "properties": { "a": { "type": ["string", "null"] }, "b": { "type": "integer" } },
            "required": ["a"], "additionalProperties": false });
        let schema = CompiledGrammar::new(Grammar::JsonSchema(schema)).unwrap();
        for text in [r#"{"a":null}"#, r#"{"a":"ñ","b":-3}"#] {
            assert!(schema.matches(text), "{text}");
        }
        for text in ["", "null", r#"{"a":1}"#, r#"{"b":1}"#, r#"{"a":null"#, r#"{"a":null}}"#, r#"{"a":null,"c":1}"#] {
            assert!(!schema.matches(text), "{text}");
        }
        let object = CompiledGrammar::new(Grammar::JsonObject).unwrap();
        assert!(object.matches(r#"{"x":[1,{"y":null}]}"#) && !object.matches("[1]"));
    }
}
