//! An answer in a given form: JSON by a schema, or a match of a regular expression.
//!
//! The model cannot leave the form, and neither does the check: a value that no passage supports becomes `null` or goes away
//! where the form allows it, and is reported in either case. Where nothing holds there is no answer.

use std::collections::HashSet;

use intramuros_ingest::document::{ContentHash, Language};
use intramuros_models::{CompiledGrammar, Grammar};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Support;
use super::json::{self, Leaf, Value};
use super::values::{self, Verdict};
use super::{Draft, Removed};
use crate::store::StoredChunk;

/// A value of an answer in a given form, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Supported {
    /// Where it is in the answer: a JSON pointer, empty for the whole of it.
    #[schema(example = "/parties/0/name")]
    pub path: String,
    /// The number of its citation.
    pub n: usize,
}

/// Pins the form an answer was asked for in.
pub fn hash(grammar: &Grammar) -> ContentHash {
    let text = match grammar {
        Grammar::JsonSchema(schema) => format!("json_schema {schema}"),
        Grammar::JsonObject => "json_object".to_owned(),
        Grammar::Regex(regex) => format!("regex {regex}"),
    };
    ContentHash::of(text.as_bytes())
}

/// What a question asks in this form of.
pub struct Asked<'a> {
    /// In the caller's words.
    pub question: &'a str,
    /// The form.
    pub form: &'a CompiledGrammar,
    /// What the model read.
    pub passages: &'a [StoredChunk],
}

impl Draft<'_> {
    /// Takes a whole answer in its form: cites what holds, takes out what does not where the form allows it.
    pub(super) fn take_form(&mut self, written: &str, asked: &Asked<'_>) {
        let Some(checked) = check(written, asked) else {
            self.refuse(Refusal::Unsupported);
            return;
        };
        self.answer.unsupported = checked.unsupported;
        if checked.supported.is_empty() && self.answer.unsupported.iter().any(|removed| removed.reason.is_wrong()) {
            self.refuse(Refusal::Unsupported);
            return;
        }
        for (path, passage, support) in checked.supported {
            let n = self.cite(&asked.passages[passage], support.range);
            self.answer.supported.push(Supported { path, n });
        }
        self.say(&checked.text);
    }

    /// Says in words that there is no answer in this form.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let spanish = self.answer.language == Some(Language::Spanish);
        let text = match (&refusal, spanish) {
            (Refusal::Unsupported, false) => {
                "Nothing in the documents you can read supports an answer in this form.".to_owned()
            }
            (Refusal::Unsupported, true) => {
                "Nada en los documentos que puedes leer sustenta una respuesta en esta forma.".to_owned()
            }
            (Refusal::CutOff(tokens), false) => {
                format!(
                    "The answer did not come to its end within {tokens} tokens: allow more of them, or ask for less."
                )
            }
            (Refusal::CutOff(tokens), true) => {
                format!("La respuesta no llegó a su fin en {tokens} tokens: permite más o pide menos.")
            }
        };
        match refusal {
            Refusal::Unsupported => self.answer.abstained = true,
            Refusal::CutOff(_) => self.answer.cut_off = true,
        }
        self.say_refusal(&text);
    }
}

/// Why there is no answer in the form asked for.
pub enum Refusal {
    /// No passage supports any of it.
    Unsupported,
    /// It was not whole when so many tokens were written.
    CutOff(usize),
}

/// An answer after the check.
struct Checked {
    text: String,
    /// Path, passage and place of each value that holds.
    supported: Vec<(String, usize, Support)>,
    unsupported: Vec<Removed>,
}

/// Holds each value against the passages; `None` when the text cannot be read.
fn check(written: &str, asked: &Asked<'_>) -> Option<Checked> {
    let grammar = asked.form.grammar();
    let leaves = match grammar {
        Grammar::JsonSchema(_) | Grammar::JsonObject => json::leaves(written)?,
        Grammar::Regex(_) => vec![Leaf {
            path: String::new(),
            value: Value::Text(written.to_owned()),
            range: 0..written.len(),
            whole: 0..written.len(),
            is_item: false,
        }],
    };
    let labels = labels(grammar);
    let verdicts: Vec<Verdict> = leaves
        .iter()
        .map(|leaf| {
            let name = values::name_of(&leaf.path);
            values::judge(&leaf.value, &name, asked.question, &labels, asked.passages)
        })
        .collect();

    let mut text = written.to_owned();
    let mut gone = HashSet::new();
    // From the end, so that the places of those before stay where they are.
    for (index, leaf) in leaves.iter().enumerate().rev() {
        if let Verdict::Fails(reason) = &verdicts[index]
            && reason.is_wrong()
            && !matches!(grammar, Grammar::Regex(_))
            && let Some((changed, is_gone)) = taken_out(&text, leaf, asked.form)
        {
            text = changed;
            if is_gone {
                gone.insert(index);
            }
        }
    }
    // Items behind one that went away have moved up.
    let places: Vec<String> = match grammar {
        Grammar::Regex(_) => vec![String::new()],
        _ => json::leaves(&text)?.into_iter().map(|leaf| leaf.path).collect(),
    };
    let mut places = places.into_iter();
    let mut checked = Checked { text, supported: Vec::new(), unsupported: Vec::new() };
    for (index, (leaf, verdict)) in leaves.into_iter().zip(verdicts).enumerate() {
        let path = if gone.contains(&index) { leaf.path } else { places.next()? };
        match verdict {
            Verdict::Nothing => {}
            Verdict::Stands(passage, support) => checked.supported.push((path, passage, support)),
            Verdict::Fails(reason) => {
                let sentence = match leaf.value {
                    Value::Text(text) => text,
                    Value::Number(number) => number,
                    Value::Flag | Value::Null => written[leaf.range].to_owned(),
                };
                checked.unsupported.push(Removed { sentence, reason, path: Some(path) });
            }
        }
    }
    Some(checked)
}

/// The text without a value, in the gentlest way that the form allows, and whether the value is gone: `null` for a member,
/// else no such member; for an item the other way round.
fn taken_out(text: &str, leaf: &Leaf, form: &CompiledGrammar) -> Option<(String, bool)> {
    let null = (json::with_null(text, leaf), false);
    let without = (json::without(text, leaf), true);
    let ways = if leaf.is_item { [without, null] } else { [null, without] };
    ways.into_iter().find(|(changed, _)| form.matches(changed))
}

/// The texts that a schema itself prescribes, as the words of a choice.
fn labels(grammar: &Grammar) -> HashSet<String> {
    let mut labels = HashSet::new();
    if let Grammar::JsonSchema(schema) = grammar {
        collect_labels(schema, &mut labels);
    }
    labels
}

fn collect_labels(schema: &serde_json::Value, labels: &mut HashSet<String>) {
    match schema {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("const", serde_json::Value::String(text)) => {
                        labels.insert(text.clone());
                    }
                    ("enum", serde_json::Value::Array(texts)) => {
                        labels.extend(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)));
                    }
                    (_, value) => collect_labels(value, labels),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_labels(item, labels)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::DocumentId;
    use serde_json::json;

    use super::*;
    use crate::answer::Unsupported;

    const LEASE: &str =
        "The lease ends on 31 March 2027. The tenant, Torrubia Ltd, pays £1,200 a month. Keys are with Ana Torres.";

    fn checked(schema: serde_json::Value, written: &str) -> Checked {
        let passage = StoredChunk {
            document_id: DocumentId::new("test", "a"),
            position: 0,
            source: "test".into(),
            title: "Lease".into(),
            uri: String::new(),
            section: Vec::new(),
            page: None,
            start: 0,
            end: LEASE.len(),
            language: Some(Language::English),
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: LEASE.into(),
        };
        let form = CompiledGrammar::new(Grammar::JsonSchema(schema)).unwrap();
        assert!(form.matches(written), "the test's own text is not valid: {written}");
        let question = "What are the terms of the lease and who is the tenant?";
        let checked = check(written, &Asked { question, form: &form, passages: &[passage] }).unwrap();
        assert!(form.matches(&checked.text), "edited into invalidity: {}", checked.text);
        checked
    }

    fn supported(checked: &Checked) -> Vec<&str> {
        checked.supported.iter().map(|(path, _, _)| path.as_str()).collect()
    }

    fn unsupported(checked: &Checked) -> Vec<(&str, &str, Unsupported)> {
        fn told(removed: &Removed) -> (&str, &str, Unsupported) {
            (removed.path.as_deref().unwrap(), removed.sentence.as_str(), removed.reason)
        }
        checked.unsupported.iter().map(told).collect()
    }

    #[test]
    fn what_holds_is_cited_and_what_does_not_becomes_null_where_it_may() {
        let text = json!({ "type": "string" });
        let schema = json!({ "type": "object", "properties": {
            "tenant": text, "landlord": { "type": ["string", "null"] }, "rent": { "type": "number" }, "ends": { "type": "string", "format": "date" } },
            "required": ["tenant", "landlord", "rent", "ends"] });
        let checked =
            checked(schema, r#"{"tenant":"Torrubia Ltd","landlord":"Luis Pardo","rent":1200,"ends":"2027-03-31"}"#);
        assert_eq!(checked.text, r#"{"tenant":"Torrubia Ltd","landlord":null,"rent":1200,"ends":"2027-03-31"}"#);
        assert_eq!(supported(&checked), ["/tenant", "/rent", "/ends"]);
        assert_eq!(unsupported(&checked), [("/landlord", "Luis Pardo", Unsupported::Words)]);
    }

    #[test]
    fn members_and_items_go_away_where_they_may_and_stay_where_they_must() {
        let schema = json!({ "type": "object", "properties": {
            "people": { "type": "array", "items": { "type": "string" } }, "floor": { "type": "integer" }, "rent": { "type": "integer" } },
            "required": ["people", "rent"] });
        let made = checked(
            schema.clone(),
            r#"{"people":["Luis Pardo","Ana Torres","Eva Gil","Torrubia Ltd"],"floor":7,"rent":1300}"#,
        );
        assert_eq!(made.text, r#"{"people":["Ana Torres","Torrubia Ltd"],"rent":1300}"#);
        assert_eq!(supported(&made), ["/people/0", "/people/1"]);
        let told: Vec<(&str, &str)> = unsupported(&made).iter().map(|(path, value, _)| (*path, *value)).collect();
        assert_eq!(told, [("/people/0", "Luis Pardo"), ("/people/2", "Eva Gil"), ("/floor", "7"), ("/rent", "1300")]);
    }

    #[test]
    fn what_cannot_be_looked_for_stays_and_is_told() {
        let schema = json!({ "type": "object", "properties": {
            "kind": { "enum": ["lease", "loan", "other"] }, "signed": { "type": ["boolean", "null"] }, "note": { "type": ["string", "null"] } } });
        let made = checked(schema.clone(), r#"{"kind":"other","signed":true,"note":null}"#);
        assert_eq!(made.text, r#"{"kind":"other","signed":true,"note":null}"#);
        let reason = Unsupported::Unchecked;
        assert_eq!(unsupported(&made), [("/kind", "other", reason), ("/signed", "true", reason)]);
        assert_eq!(supported(&checked(schema, r#"{"kind":"lease"}"#)), ["/kind"]);
    }
}
