//! An answer in a given form: JSON by a schema, or a match of a regular expression.
//!
//! The model cannot leave the form, and neither does the check: a value that no passage supports becomes `null` or goes away
//! where the form allows it, and is reported in either case. Where nothing holds there is no answer.

use std::collections::HashMap;

use intramuros_ingest::document::{ContentHash, Language};
use intramuros_models::{CompiledGrammar, Grammar};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Support;
use super::json::{self, Leaf, Member, Value};
use super::passage::Passage;
use super::values::{Judge, Prescribed, Verdict};
use super::{Draft, Removed};

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
    pub passages: &'a [Passage<'a>],
}

impl Draft<'_> {
    /// Takes a whole answer in its form: cites what holds, takes out what does not where the form allows it.
    pub(super) fn take_form(&mut self, written: &str, asked: &Asked<'_>) {
        let Some(checked) = check(written, asked, &mut || self.is_heard()) else {
            self.refuse(Refusal::Unsupported);
            return;
        };
        let is_refused = checked.states_nothing();
        self.answer.unsupported = checked.unsupported;
        if is_refused {
            self.answer.unsupported.iter_mut().for_each(|removed| removed.kept = false);
            self.refuse(Refusal::Unsupported);
            return;
        }
        for (path, passage, support) in checked.supported {
            let n = self.cite(asked.passages[passage].chunk, support.range);
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
                    "The answer did not come to its end within {tokens} tokens (`answer.max_tokens`): allow more of them, or ask for less."
                )
            }
            (Refusal::CutOff(tokens), true) => {
                format!("La respuesta no llegó a su fin en {tokens} tokens (`answer.max_tokens`): permite más o pide menos.")
            }
            (Refusal::NoRoom, false) => {
                "The passages that were found have no room beside this form: ask with a shorter schema or question.".to_owned()
            }
            (Refusal::NoRoom, true) => {
                "Los pasajes encontrados no caben junto a esta forma: pregunta con un esquema o una pregunta más cortos."
                    .to_owned()
            }
        };
        match refusal {
            Refusal::Unsupported => self.answer.abstained = true,
            Refusal::CutOff(_) => self.answer.cut_off = true,
            Refusal::NoRoom => self.answer.no_room = true,
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
    /// No passage fits into the prompt beside the form.
    NoRoom,
}

/// An answer after the check.
struct Checked {
    text: String,
    /// Path, passage and place of each value that holds.
    supported: Vec<(String, usize, Support)>,
    unsupported: Vec<Removed>,
}

impl Checked {
    /// Whether it is no answer: nothing in it holds, and it is not for want of something to look for.
    fn states_nothing(&self) -> bool {
        let is_wrong = |removed: &Removed| removed.reason.is_wrong();
        self.supported.is_empty() && (self.unsupported.is_empty() || self.unsupported.iter().any(is_wrong))
    }
}

/// Holds each value, and each name that the form does not prescribe, against the passages; `None` when the text cannot be
/// read or nobody listens any more.
fn check(written: &str, asked: &Asked<'_>, is_heard: &mut dyn FnMut() -> bool) -> Option<Checked> {
    let grammar = asked.form.grammar();
    let is_json = !matches!(grammar, Grammar::Regex(_));
    let prescribed = Prescribed::by(grammar);
    let judge = Judge { question: asked.question, prescribed: &prescribed, passages: asked.passages };
    let (named, mut unsupported) =
        if is_json { check_names(written, asked.form, &judge, is_heard)? } else { (written.to_owned(), Vec::new()) };
    let leaves = if is_json {
        json::leaves(&named)?
    } else {
        let whole = 0..named.len();
        let value = Value::Text(named.clone());
        vec![Leaf { path: String::new(), value, range: whole.clone(), whole, is_item: false }]
    };
    let mut verdicts = Vec::with_capacity(leaves.len());
    for leaf in &leaves {
        if !is_heard() {
            return None;
        }
        verdicts.push(judge.value(&leaf.value, &leaf.path));
    }

    let mut text = named.clone();
    // The places of values that were taken out, and whether nothing stands there instead.
    let mut taken = HashMap::new();
    // From the end, so that the places of those before stay where they are.
    for (index, leaf) in leaves.iter().enumerate().rev() {
        if let Verdict::Fails(reason) = &verdicts[index]
            && reason.is_wrong()
            && is_json
            && let Some((changed, is_gone)) = taken_out(&text, leaf, asked.form)
        {
            text = changed;
            taken.insert(index, is_gone);
        }
    }
    // Items behind one that went away have moved up.
    let places: Vec<String> =
        if is_json { json::leaves(&text)?.into_iter().map(|leaf| leaf.path).collect() } else { vec![String::new()] };
    let mut places = places.into_iter();
    let mut supported = Vec::new();
    for (index, (leaf, verdict)) in leaves.into_iter().zip(verdicts).enumerate() {
        let path = if taken.get(&index) == Some(&true) { leaf.path } else { places.next()? };
        match verdict {
            Verdict::Nothing => {}
            Verdict::Stands(passage, support) => supported.push((path, passage, support)),
            Verdict::Fails(reason) => {
                let sentence = match leaf.value {
                    Value::Text(text) => text,
                    Value::Number(number) => number,
                    Value::Flag | Value::Null => named[leaf.range].to_owned(),
                };
                let kept = !taken.contains_key(&index);
                unsupported.push(Removed { sentence, reason, path: Some(path), kept });
            }
        }
    }
    Some(Checked { text, supported, unsupported })
}

/// The text without the members whose names no passage supports, where the form allows it, and those names.
fn check_names(
    written: &str,
    form: &CompiledGrammar,
    judge: &Judge<'_>,
    is_heard: &mut dyn FnMut() -> bool,
) -> Option<(String, Vec<Removed>)> {
    let mut text = written.to_owned();
    let mut unsupported = Vec::new();
    let mut members = json::members(&text)?;
    let mut at = 0;
    while let Some(Member { path, name, whole }) = members.get(at).cloned() {
        if !is_heard() {
            return None;
        }
        at += 1;
        let Some(reason) = judge.name(&name) else { continue };
        let without = Some(json::without(&text, &whole)).filter(|changed| form.matches(changed));
        unsupported.push(Removed { sentence: name, reason, path: Some(path), kept: without.is_none() });
        if let Some(without) = without {
            // The members within it are gone as well.
            text = without;
            members = json::members(&text)?;
            at -= 1;
        }
    }
    Some((text, unsupported))
}

/// The text without a value, in the gentlest way that the form allows, and whether the value is gone: `null` for a member,
/// else no such member; for an item the other way round.
fn taken_out(text: &str, leaf: &Leaf, form: &CompiledGrammar) -> Option<(String, bool)> {
    let null = (json::with_null(text, leaf), false);
    let without = (json::without(text, &leaf.whole), true);
    let ways = if leaf.is_item { [without, null] } else { [null, without] };
    ways.into_iter().find(|(changed, _)| form.matches(changed))
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::DocumentId;
    use serde_json::json;

    use super::*;
    use crate::answer::Unsupported;
    use crate::store::StoredChunk;

    const LEASE: &str =
        "The lease ends on 31 March 2027. The tenant, Torrubia Ltd, pays £1,200 a month. Keys are with Ana Torres.";

    fn checked(schema: serde_json::Value, written: &str) -> Checked {
        checked_by(Grammar::JsonSchema(schema), written)
    }

    fn checked_by(grammar: Grammar, written: &str) -> Checked {
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
        let form = CompiledGrammar::new(grammar).unwrap();
        assert!(form.matches(written), "the test's own text is not valid: {written}");
        let question = "What are the terms of the lease and who is the tenant?";
        let passages = [Passage::read(&passage)];
        let checked = check(written, &Asked { question, form: &form, passages: &passages }, &mut || true).unwrap();
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
        let kept: Vec<bool> = made.unsupported.iter().map(|removed| removed.kept).collect();
        assert_eq!(kept, [false, false, false, true], "an item, an item, an optional member, a required one");
    }

    #[test]
    fn members_with_names_of_the_model_are_taken_out_with_all_that_is_in_them() {
        let written =
            r#"{"tenant":"Torrubia Ltd","The rent is £1,300":{"The lease is void":"Ana Torres"},"rent":1200}"#;
        let made = checked_by(Grammar::JsonObject, written);
        assert_eq!(made.text, r#"{"tenant":"Torrubia Ltd","rent":1200}"#);
        assert_eq!(supported(&made), ["/tenant", "/rent"]);
        let told: Vec<(&str, &str)> = unsupported(&made).iter().map(|(path, value, _)| (*path, *value)).collect();
        assert_eq!(told, [("/The rent is £1,300", "The rent is £1,300")]);
        let schema = json!({ "type": "object", "properties": { "The landlord owes money": { "type": "string" } } });
        assert!(checked(schema, r#"{"The landlord owes money":""}"#).unsupported.is_empty(), "the words of who asks");
        let schema = json!({ "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1 });
        let made = checked(schema, r#"{"The lease is void":"Ana Torres"}"#);
        assert!(made.unsupported[0].kept && made.unsupported[0].sentence == "The lease is void");
    }

    #[test]
    fn where_nothing_holds_there_is_no_answer() {
        let text = json!({ "type": ["string", "null"] });
        let schema = json!({ "type": "object", "properties": { "tenant": text, "signed": { "type": "boolean" } } });
        for nothing in [r#"{"tenant":null}"#, "{}", r#"{"tenant":""}"#, r#"{"tenant":"Luis Pardo","signed":true}"#] {
            assert!(checked(schema.clone(), nothing).states_nothing(), "{nothing}");
        }
        for something in [r#"{"tenant":"Torrubia Ltd"}"#, r#"{"signed":true}"#, r#"{"tenant":null,"signed":true}"#] {
            assert!(!checked(schema.clone(), something).states_nothing(), "{something}");
        }
    }

    #[test]
    fn nobody_listening_ends_the_check() {
        let form = CompiledGrammar::new(Grammar::JsonObject).unwrap();
        let asked = Asked { question: "?", form: &form, passages: &[] };
        assert!(check(r#"{"a":[1,2,3]}"#, &asked, &mut || false).is_none());
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
