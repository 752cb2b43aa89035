//! Answers in a given form: on a tiny model whose tokens are single characters and whose
//! weights are noise, so that nothing but the grammar makes its text what it is.

use std::time::{Duration, Instant};

use intramuros_models::engine::DecoderGenerator;
use intramuros_models::{CompiledGrammar, Finish, GenerateRequest, Grammar, ModelError, Sampling};
use serde_json::{Value, json};

use crate::common::write;
use crate::tiny::TinyModel;

/// More than any match of a bounded grammar needs.
const ENOUGH: usize = 400;

fn request(grammar: Grammar, sampling: Sampling, max_tokens: usize) -> GenerateRequest {
    GenerateRequest { sampling, grammar: Some(grammar), ..GenerateRequest::new("abc", max_tokens) }
}

fn random(seed: u64) -> Sampling {
    Sampling::Random { temperature: 1.3, top_p: 1.0, top_k: 0, seed }
}

/// Greedy, and drawn with several seeds.
fn samplings() -> Vec<Sampling> {
    (0..12).map(|seed| if seed == 0 { Sampling::Greedy } else { random(seed) }).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A schema, and what its values must fulfil.
type Case = (Value, fn(&Value) -> bool);

/// Schemas with bounded values.
fn schemas() -> Vec<Case> {
    let text = json!({ "type": "string", "maxLength": 9 });
    vec![
        (
            json!({ "type": "object", "properties": { "name": text, "age": { "type": "integer", "minimum": 7, "maximum": 120 },
                "kind": { "enum": ["lease", "loan"] } }, "required": ["name", "age", "kind"], "additionalProperties": false }),
            |value| {
                keys(value) == ["name", "age", "kind"]
                    && value["name"].as_str().unwrap().chars().count() <= 9
                    && (7..=120).contains(&value["age"].as_i64().unwrap())
                    && ["lease", "loan"].contains(&value["kind"].as_str().unwrap())
            },
        ),
        (
            json!({ "type": "array", "items": { "$ref": "#/$defs/day" }, "minItems": 1, "maxItems": 3,
                "$defs": { "day": { "type": "string", "format": "date" } } }),
            |value| {
                let days = value.as_array().unwrap();
                let is_day = |day: &Value| {
                    let parts: Vec<u32> = day.as_str().unwrap().split('-').map(|part| part.parse().unwrap()).collect();
                    parts.len() == 3 && (1..=12).contains(&parts[1]) && (1..=31).contains(&parts[2])
                };
                (1..=3).contains(&days.len()) && days.iter().all(is_day)
            },
        ),
        (
            json!({ "type": "object", "properties": { "note": { "anyOf": [text, { "type": "null" }] }, "done": { "type": "boolean" } },
                "required": ["done"] }),
            |value| {
                let note =
                    value.get("note").is_none_or(|note| note.is_null() || note.as_str().unwrap().chars().count() <= 9);
                note && value["done"].is_boolean() && keys(value).iter().all(|key| ["note", "done"].contains(key))
            },
        ),
        (
            json!({ "oneOf": [{ "$ref": "#/$defs/cat" }, { "$ref": "#/$defs/dog" }], "$defs": {
                "cat": { "type": "object", "properties": { "is": { "const": "cat" }, "lives": { "type": "integer", "minimum": 1, "maximum": 9 } },
                    "required": ["is", "lives"], "additionalProperties": false },
                "dog": { "type": "object", "properties": { "is": { "const": "dog" }, "code": { "type": "string", "pattern": "^[A-Z]{2}-\\d{4}$" } },
                    "required": ["is", "code"], "additionalProperties": false } } }),
            |value| match value["is"].as_str().unwrap() {
                "cat" => (1..=9).contains(&value["lives"].as_i64().unwrap()) && keys(value) == ["is", "lives"],
                "dog" => {
                    let code = value["code"].as_str().unwrap();
                    let (letters, digits) = code.split_once('-').unwrap();
                    letters.len() == 2
                        && digits.len() == 4
                        && digits.parse::<u32>().is_ok()
                        && keys(value) == ["is", "code"]
                }
                _ => false,
            },
        ),
        (json!({ "const": { "a": [1, "\"\\", null] } }), |value| *value == json!({ "a": [1, "\"\\", null] })),
        (json!({ "type": "number", "minimum": 0.5, "maximum": 2, "multipleOf": 0.25 }), |value| {
            let number = value.as_f64().unwrap();
            (0.5..=2.0).contains(&number) && (number * 4.0).fract() == 0.0
        }),
    ]
}

#[test]
fn json_always_parses_and_is_valid() {
    let generator = TinyModel::new().load();
    let mut whole = 0;
    let mut different = std::collections::HashSet::new();
    for (schema, is_valid) in schemas() {
        let compiled = CompiledGrammar::new(Grammar::JsonSchema(schema.clone())).unwrap();
        for sampling in samplings() {
            let request = request(Grammar::JsonSchema(schema.clone()), sampling, ENOUGH);
            let (text, summary) = write(&generator, request).unwrap();
            if summary.finish == Finish::Length {
                // Zeros behind a decimal point have no end.
                assert_eq!(summary.completion_tokens, ENOUGH, "{schema}: {text}");
                continue;
            }
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert!(is_valid(&value), "{schema}: {text}");
            assert!(compiled.matches(&text), "{schema}: {text}");
            whole += 1;
            different.insert(text);
        }
    }
    assert!(whole >= 60 && different.len() >= 40, "{whole} whole answers, {} different ones", different.len());
}

#[test]
fn a_match_of_a_regular_expression_from_beginning_to_end() {
    let generator = TinyModel::new().load();
    type Case = (&'static str, fn(&str) -> bool);
    let cases: [Case; 4] = [
        (r"\d{1,3}(,\d)? %", |text| {
            let number = text.strip_suffix(" %").unwrap();
            number.replace(',', ".").parse::<f64>().is_ok() && number.split(',').next().unwrap().len() <= 3
        }),
        ("^(yes|no|not stated)$", |text| ["yes", "no", "not stated"].contains(&text)),
        ("/[a-c]{2}/|//", |text| text == "//" || (text.len() == 4 && text.starts_with('/') && text.ends_with('/'))),
        ("(ab){0,40}", |text| text.len() <= 80 && text == "ab".repeat(text.len() / 2)),
    ];
    for (regex, is_match) in cases {
        for sampling in samplings() {
            let (text, summary) = write(&generator, request(Grammar::Regex(regex.into()), sampling, ENOUGH)).unwrap();
            assert_eq!(summary.finish, Finish::Stop, "{regex}: {text}");
            assert!(is_match(&text), "{regex}: {text}");
        }
    }
}

#[test]
fn only_a_whole_match_ends_by_itself() {
    let generator = TinyModel::new().load();
    const MOST: usize = 34;
    let (mut stopped, mut cut) = (0, 0);
    let lists = |items: Value| Grammar::JsonSchema(json!({ "type": "array", "items": items, "minItems": 3 }));
    for grammar in [lists(json!({ "type": "integer" })), lists(json!({ "type": "string", "minLength": 2 }))] {
        for seed in 0..40 {
            let (text, summary) = write(&generator, request(grammar.clone(), random(seed), MOST)).unwrap();
            let parsed = serde_json::from_str::<Value>(&text);
            match summary.finish {
                Finish::Stop => {
                    assert!(parsed.is_ok(), "{text}");
                    stopped += 1;
                }
                Finish::Length => {
                    assert_eq!(summary.completion_tokens, MOST);
                    assert!(parsed.is_err(), "{text}");
                    cut += 1;
                }
            }
        }
    }
    assert!(stopped > 2 && cut > 2, "{stopped} ended by themselves, {cut} were cut");
    // The last token allowed makes it whole.
    let (text, summary) = write(&generator, request(Grammar::Regex("abc".into()), Sampling::Greedy, 3)).unwrap();
    assert_eq!((text.as_str(), summary.finish), ("abc", Finish::Stop));
    let (text, summary) = write(&generator, request(Grammar::Regex("abc".into()), Sampling::Greedy, 2)).unwrap();
    assert_eq!((text.as_str(), summary.finish), ("ab", Finish::Length));
    let (text, summary) = write(&generator, request(Grammar::Regex(String::new()), Sampling::Greedy, 9)).unwrap();
    assert_eq!((text.as_str(), summary.finish, summary.completion_tokens), ("", Finish::Stop, 0));
}

#[test]
fn a_seed_decides_and_a_grammar_that_allows_everything_changes_nothing() {
    let generator = TinyModel::new().load();
    let free = |grammar| GenerateRequest { grammar, ..request(Grammar::JsonObject, random(3), 60) };
    let (text, _) = write(&generator, free(None)).unwrap();
    let (same, _) = write(&generator, free(Some(Grammar::Regex(r"[\s\S]*".into())))).unwrap();
    assert_eq!(text, same);
    let drawn = |seed| write(&generator, request(Grammar::Regex("[a-h]{20}".into()), random(seed), 60)).unwrap().0;
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn guesses_change_nothing_and_what_is_forced_is_guessed_right() {
    let generator = TinyModel::new().load();
    let mut accepted = 0;
    for (schema, _) in schemas() {
        for sampling in samplings() {
            let plain = request(Grammar::JsonSchema(schema.clone()), sampling, ENOUGH);
            let ahead = GenerateRequest { speculate: true, ..plain.clone() };
            let plain = write(&generator, GenerateRequest { speculate: false, ..plain }).unwrap();
            let ahead = write(&generator, ahead).unwrap();
            assert_eq!((plain.0, plain.1.finish), (ahead.0, ahead.1.finish), "{schema}");
            accepted += ahead.1.accepted_tokens;
        }
    }
    assert!(accepted > 500, "{accepted} tokens were guessed right");
    // Nothing of a constant is left to choose.
    let constant = Grammar::JsonSchema(json!({ "const": "an answer that is known from its beginning to its end" }));
    let (_, summary) =
        write(&generator, GenerateRequest { speculate: true, ..request(constant, Sampling::Greedy, ENOUGH) }).unwrap();
    assert_eq!(summary.accepted_tokens, summary.drafted_tokens, "{summary:?}");
    assert!(summary.passes < summary.completion_tokens / 3, "{summary:?}");
}

fn refusal(generator: &DecoderGenerator, grammar: Grammar) -> String {
    let checked = CompiledGrammar::new(grammar.clone()).expect_err("it cannot be followed").to_string();
    match write(generator, request(grammar, Sampling::Greedy, 10)) {
        Err(ModelError::Grammar(reason)) => {
            assert!(checked.ends_with(&reason), "{checked}\n{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let generator = TinyModel::new().load();
    for (schema, parts) in [
        (json!({ "properties": { "when": { "format": "moment" } } }), ["#/properties/when/format", "moment"]),
        (json!({ "items": { "not": { "type": "null" } } }), ["#/items/not", "leave it out"]),
        (json!({ "type": "integer", "minimum": 5, "maximum": 4 }), ["schema", "minimum"]),
        (json!({ "type": "string", "const": 5 }), ["schema", "incompatible"]),
        (json!({ "oneOf": [{ "minLength": 2 }, { "maxLength": 4 }] }), ["oneOf", "anyOf"]),
        (
            json!({ "properties": { "a": { "enum": ["x"], "maxLength": 0 } }, "required": ["a"], "type": "object" }),
            ["schema", "unsatisfiable"],
        ),
    ] {
        let reason = refusal(&generator, Grammar::JsonSchema(schema));
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
    }
    for (regex, parts) in [
        ("a(b", ["unclosed group", "character 2"]),
        (r"(?<=a)b", ["look-around", "character 1"]),
        (r"\bword", ["regular expression", "word boundaries"]),
        (r"(a)\1", ["backreference", "character 4"]),
        ("ñ[z-a]", ["invalid character class range", "character 3"]),
        ("end\\", ["incomplete escape", "character 4"]),
        (r"a[^\s\S]", ["regular expression", "nothing matches"]),
        ("(a{500}){500}", ["250000 bytes", "10000"]),
        ("(?P<stop>a)b", ["stop", "another name"]),
    ] {
        let reason = refusal(&generator, Grammar::Regex(regex.into()));
        assert!(parts.iter().all(|part| reason.contains(part)), "{regex}: {reason}");
    }
    // That nothing matches is found without a model.
    let nothing =
        json!({ "type": "object", "properties": { "a": { "enum": ["x"], "maxLength": 0 } }, "required": ["a"] });
    let error = CompiledGrammar::new(Grammar::JsonSchema(nothing)).expect_err("nothing matches");
    assert!(error.to_string().contains("unsatisfiable"), "{error}");
    let stop = GenerateRequest { stop: vec!["x".into()], ..request(Grammar::JsonObject, Sampling::Greedy, 10) };
    assert!(matches!(write(&generator, stop), Err(ModelError::Grammar(reason)) if reason.contains("stop text")));
}

/// Schemas and expressions made to take long.
fn hostile() -> Vec<Grammar> {
    let chain = |member: &dyn Fn(usize) -> Value| {
        let mut defs = serde_json::Map::new();
        for i in 0.. {
            defs.insert(format!("{i}"), member(i + 1));
            if json!(defs).to_string().len() > 32_000 {
                defs.insert(format!("{}", i + 1), json!({ "type": "string" }));
                break;
            }
        }
        json!({ "$ref": "#/$defs/0", "$defs": defs })
    };
    let next = |i: usize| json!(format!("#/$defs/{i}"));
    let doubling: serde_json::Map<String, Value> = (0..60)
        .map(|i| (format!("{i}"), json!({ "allOf": [{ "$ref": next(i + 1) }, { "$ref": next(i + 1) }] })))
        .collect();
    let mut doubling = json!({ "$ref": "#/$defs/0", "$defs": doubling });
    doubling["$defs"]["60"] = json!({ "anyOf": (0..20).map(|i| json!({ "minLength": i })).collect::<Vec<_>>() });
    let wide: Vec<Value> = (0..900).map(|i| json!({ "const": format!("{i}") })).collect();
    let optional: serde_json::Map<String, Value> =
        (0..700).map(|i| (format!("member {i}"), json!({ "type": "string" }))).collect();
    let schemas = vec![
        chain(&|i| json!({ "$ref": next(i) })),
        chain(&|i| json!({ "type": "string", "$ref": next(i) })),
        chain(&|i| json!({ "allOf": [{ "$ref": next(i) }] })),
        chain(&|i| json!({ "properties": { "x": { "type": "object", "$ref": next(i) } } })),
        chain(&|i| json!({ "items": { "anyOf": [{ "$ref": next(i) }, { "type": "null" }] } })),
        doubling,
        json!({ "allOf": [{ "oneOf": wide }, { "oneOf": wide }] }),
        json!({ "oneOf": wide, "anyOf": wide }),
        json!({ "type": "object", "properties": optional }),
        json!({ "type": "object", "properties": optional, "minProperties": 1, "maxProperties": 1, "additionalProperties": false }),
        json!({ "type": "array", "minItems": u64::MAX }),
        json!({ "type": "array", "minItems": 4_000_000, "maxItems": 4_000_001, "items": { "type": "array", "minItems": 4_000_000 } }),
        json!({ "type": "string", "minLength": u64::MAX }),
        json!({ "type": "string", "minLength": 2_000_000_000, "maxLength": 2_000_000_001 }),
        json!({ "type": "string", "pattern": "(a?){500}(b?){500}x{900}", "minLength": 900, "format": "email" }),
        json!({ "type": "number", "multipleOf": 1e-300 }),
        json!({ "type": "number", "multipleOf": 4294967291u32, "minimum": -1e308, "maximum": 1e308 }),
        json!({ "type": "integer", "minimum": 3, "multipleOf": 999_999_937 }),
        json!({ "patternProperties": (0..40).map(|i| (format!("^(.*a.{{{i}}})*$"), json!({}))).collect::<serde_json::Map<_, _>>() }),
        json!({ "const": "é".repeat(15_000) }),
        json!({ "enum": [format!("{}é{}", "x".repeat(99), "y".repeat(99))], "maximum": "é".repeat(200) }),
    ];
    let regexes = [
        "((a{1000}){1000}){1000}".to_owned(),
        "(.*a.{30}){20}".to_owned(),
        "(a|b|ab)*c(.{0,500}x){0,500}".to_owned(),
        format!("({})", vec!["(a*)*"; 600].join("")),
        format!("({})", vec!["a?"; 1500].join("")),
        vec![r"[\p{L}\p{N}]{0,999}"; 100].join("|"),
        format!("{}a{}", "(".repeat(200), ")*".repeat(200)),
        (0..400).map(|i| format!("(.{{{i}}}x)?")).collect(),
    ];
    schemas.into_iter().map(Grammar::JsonSchema).chain(regexes.map(Grammar::Regex)).collect()
}

/// Nothing that somebody sends may hang the server or end it.
#[test]
fn hostile_grammars_are_refused_or_followed_in_bounded_time() {
    let generator = TinyModel::new().load();
    for (number, grammar) in hostile().into_iter().enumerate() {
        for sampling in [Sampling::Greedy, random(number as u64)] {
            let started = Instant::now();
            let outcome = write(&generator, request(grammar.clone(), sampling, 60));
            let took = started.elapsed();
            let said = match &outcome {
                Ok((text, summary)) => format!("{:?} {}", summary.finish, text.chars().take(60).collect::<String>()),
                Err(error) => error.to_string(),
            };
            eprintln!("{number}: {took:?} {said}");
            assert!(took < Duration::from_secs(20), "{number} took {took:?}: {said}");
            assert!(matches!(outcome, Ok(_) | Err(ModelError::Grammar(_))), "{number}: {said}");
            assert!(said.len() < 600 && !said.contains("panic"), "{number}: {said}");
        }
    }
}
