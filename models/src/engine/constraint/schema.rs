//! A JSON Schema before it is compiled: what cannot be done is found by its place, what can be done better is rewritten.

use regex_syntax::hir::{Hir, HirKind, Look};
use serde_json::{Map, Value};

/// Bytes of the largest schema, written without blanks.
const LARGEST: usize = 32 << 10;
/// Lists and objects within each other.
const DEEPEST: usize = 64;
/// Steps from a reference that leads to another one.
const REFERENCES_IN_A_ROW: usize = 16;
/// The largest length or number of items that is compared with.
const LARGEST_COUNT: u64 = 1_000_000_000;
/// Bytes that the shortest match of a regular expression may have: what is forced is looked at as a whole.
const LONGEST_LEAST: usize = 10_000;
/// Bytes of the longest `pattern`.
const LONGEST_PATTERN: usize = 1024;

/// What `type` can be.
const TYPES: &[&str] = &["null", "boolean", "integer", "number", "string", "array", "object"];
/// What `format` can be.
const FORMATS: &[&str] = &["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];
/// Keywords that say something about the schema or its reader, not about values.
const NOTES: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "$vocabulary",
    "components",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "id",
    "readOnly",
    "title",
    "writeOnly",
];
/// Keywords that JSON Schema knows and a grammar cannot follow.
const NOT_DONE: &[&str] = &[
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords that may stand there: notes, those of tools, and what is looked at elsewhere.
fn is_noted(name: &str) -> bool {
    NOTES.contains(&name) || name.starts_with("x-") || ["const", UNIQUE].contains(&name)
}

/// Some tools write that items need not be different.
const UNIQUE: &str = "uniqueItems";

fn is_not_done(name: &str, value: &Value) -> bool {
    NOT_DONE.contains(&name) || (name == UNIQUE && *value != Value::Bool(false))
}

/// What stands behind a keyword.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Schema,
    /// A schema or a list of them.
    SchemaOrList,
    Schemas,
    /// Schemas by name.
    Members,
    /// Schemas by a regular expression for the name.
    Patterns,
    Type,
    Format,
    Regex,
    Reference,
    Names,
    Values,
    Count,
    Number,
    /// A number, in old drafts yes or no.
    NumberOrFlag,
}

const KEYWORDS: &[(&str, Kind)] = &[
    ("$defs", Kind::Members),
    ("$ref", Kind::Reference),
    ("additionalItems", Kind::Schema),
    ("additionalProperties", Kind::Schema),
    ("allOf", Kind::Schemas),
    ("anyOf", Kind::Schemas),
    ("definitions", Kind::Members),
    ("enum", Kind::Values),
    ("exclusiveMaximum", Kind::NumberOrFlag),
    ("exclusiveMinimum", Kind::NumberOrFlag),
    ("format", Kind::Format),
    ("items", Kind::SchemaOrList),
    ("maxItems", Kind::Count),
    ("maxLength", Kind::Count),
    ("maxProperties", Kind::Count),
    ("maximum", Kind::Number),
    ("minItems", Kind::Count),
    ("minLength", Kind::Count),
    ("minProperties", Kind::Count),
    ("minimum", Kind::Number),
    ("multipleOf", Kind::Number),
    ("oneOf", Kind::Schemas),
    ("pattern", Kind::Regex),
    ("patternProperties", Kind::Patterns),
    ("prefixItems", Kind::Schemas),
    ("properties", Kind::Members),
    ("required", Kind::Names),
    ("type", Kind::Type),
];

/// Looks a schema through and returns it as it is to be compiled.
///
/// # Errors
/// What cannot be done, with its place as a JSON pointer.
pub fn prepare(schema: &Value) -> Result<Value, String> {
    let bytes = schema.to_string().len();
    if bytes > LARGEST {
        return Err(format!("the schema has {bytes} bytes and may have {LARGEST}: make it smaller"));
    }
    let mut walk = Walk { root: schema, composes: false };
    walk.schema(schema, &Place::Root, DEEPEST)?;
    let composes = walk.composes;
    let mut prepared = match schema {
        Value::Bool(true) => Value::Object(Map::new()),
        Value::Bool(false) => return Err("the schema is `false`, which nothing matches".into()),
        other => other.clone(),
    };
    rewrite(&mut prepared, &|members| tell_options_apart(members, schema));
    if prepared.to_string().len() > 2 * LARGEST {
        return Err("the references in `oneOf` make the schema too large: use `anyOf`".into());
    }
    if !composes {
        rewrite(&mut prepared, &close);
    }
    Ok(prepared)
}

/// Refuses a regular expression that cannot be followed.
///
/// # Errors
/// What is wrong and at which character.
pub fn check_regex(regex: &str) -> Result<(), String> {
    let at = |span: &regex_syntax::ast::Span| regex[..span.start.offset].chars().count() + 1;
    let parsed = regex_syntax::Parser::new().parse(regex).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => format!("{} at character {}", error.kind(), at(error.span())),
        regex_syntax::Error::Translate(error) => format!("{} at character {}", error.kind(), at(error.span())),
        other => other.to_string(),
    })?;
    match parsed.properties().minimum_len() {
        None => return Err("nothing matches it".into()),
        Some(bytes) if bytes > LONGEST_LEAST => {
            return Err(format!("a match has {bytes} bytes at least; it may have {LONGEST_LEAST}"));
        }
        Some(_) => {}
    }
    if regex.contains("<stop>") {
        return Err("a group cannot be called `stop`: give it another name".into());
    }
    looks(&parsed)
}

/// Only the beginning and the end of the text can be looked for.
fn looks(hir: &Hir) -> Result<(), String> {
    match hir.kind() {
        HirKind::Look(Look::Start | Look::End) => Ok(()),
        HirKind::Look(_) => Err("word boundaries and line anchors cannot be followed: leave them out".into()),
        // The parser keeps to its own limit of depth.
        kind => kind.subs().iter().try_for_each(looks),
    }
}

/// Where a part of a schema stands.
enum Place<'a> {
    Root,
    Of(&'a Place<'a>, &'a str),
    At(&'a Place<'a>, usize),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => write!(out, "#"),
            // As JSON pointers are written (RFC 6901).
            Self::Of(outer, name) => write!(out, "{outer}/{}", name.replace('~', "~0").replace('/', "~1")),
            Self::At(outer, index) => write!(out, "{outer}/{index}"),
        }
    }
}

struct Walk<'a> {
    root: &'a Value,
    /// Whether several parts of the schema speak of the same object.
    composes: bool,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, place: &Place<'_>, deeper: usize) -> Result<(), String> {
        let members = match schema {
            Value::Object(members) => members,
            Value::Bool(_) => return Ok(()),
            _ => return Err(wrong(place, "a schema is an object, `true` or `false`")),
        };
        let Some(deeper) = deeper.checked_sub(1) else {
            return Err(wrong(place, &format!("there may be {DEEPEST} levels at most")));
        };
        let asserts = |name: &&String| !NOTES.contains(&name.as_str());
        let several = members.keys().filter(asserts).count() > 1;
        self.composes |= members.contains_key("allOf") || members.contains_key("oneOf");
        self.composes |= several && (members.contains_key("$ref") || members.contains_key("anyOf"));
        for (name, value) in members {
            let place = Place::Of(place, name);
            if is_not_done(name, value) {
                return Err(wrong(&place, "this keyword cannot be followed: leave it out"));
            }
            match KEYWORDS.iter().find(|(known, _)| known == name) {
                Some((_, kind)) => self.keyword(*kind, value, &place, deeper)?,
                None if is_noted(name) => {}
                None => return Err(wrong(&place, "there is no such keyword: correct it or leave it out")),
            }
        }
        Ok(())
    }

    fn keyword(&mut self, kind: Kind, value: &Value, place: &Place<'_>, deeper: usize) -> Result<(), String> {
        match (kind, value) {
            (Kind::Schema, _) => self.schema(value, place, deeper),
            (Kind::SchemaOrList, Value::Object(_) | Value::Bool(_)) => self.schema(value, place, deeper),
            (Kind::SchemaOrList | Kind::Schemas, Value::Array(items)) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| self.schema(item, &Place::At(place, index), deeper))
            }
            (Kind::Members | Kind::Patterns, Value::Object(members)) => {
                for (name, member) in members {
                    let place = Place::Of(place, name);
                    if kind == Kind::Patterns {
                        pattern(name, &place)?;
                    }
                    self.schema(member, &place, deeper)?;
                }
                Ok(())
            }
            (Kind::Type, Value::String(name)) => one_of(name, TYPES, "type", place),
            (Kind::Type, Value::Array(names)) if !names.is_empty() => {
                names.iter().try_for_each(|name| one_of(name.as_str().unwrap_or_default(), TYPES, "type", place))
            }
            (Kind::Format, Value::String(name)) => one_of(name, FORMATS, "format", place),
            (Kind::Regex, Value::String(regex)) => pattern(regex, place),
            (Kind::Reference, Value::String(reference)) => match target(self.root, reference) {
                Some(_) => Ok(()),
                None => Err(wrong(place, &format!("`{}` is not in the schema", shortened(reference)))),
            },
            (Kind::Names, Value::Array(names)) if names.iter().all(Value::is_string) => Ok(()),
            (Kind::Values, Value::Array(values)) if !values.is_empty() => Ok(()),
            (Kind::Count, Value::Number(number)) if number.as_u64().is_some_and(|count| count <= LARGEST_COUNT) => {
                Ok(())
            }
            (Kind::Number | Kind::NumberOrFlag, Value::Number(_)) | (Kind::NumberOrFlag, Value::Bool(_)) => Ok(()),
            _ => Err(wrong(place, expected(kind))),
        }
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Schema | Kind::SchemaOrList => "a schema is an object, `true` or `false`",
        Kind::Schemas => "this is a list of schemas",
        Kind::Members | Kind::Patterns => "this is an object of schemas",
        Kind::Type => "this is the name of a type, or a list of them",
        Kind::Format | Kind::Regex | Kind::Reference => "this is a text",
        Kind::Names => "this is a list of names",
        Kind::Values => "this is a list of values, one at least",
        Kind::Count => "this is a whole number from 0 to 1000000000",
        Kind::Number | Kind::NumberOrFlag => "this is a number",
    }
}

fn wrong(place: &Place<'_>, what: &str) -> String {
    format!("the schema at `{}`: {what}", shortened(&place.to_string()))
}

/// The end of a long text, which is the more telling part of a place.
fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    let characters = text.chars().count();
    if characters <= MOST {
        text.to_owned()
    } else {
        format!("…{}", text.chars().skip(characters - MOST).collect::<String>())
    }
}

fn one_of(name: &str, known: &[&str], what: &str, place: &Place<'_>) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    Err(wrong(place, &format!("no {what} `{}`; known: {}", shortened(name), known.join(", "))))
}

fn pattern(regex: &str, place: &Place<'_>) -> Result<(), String> {
    if regex.len() > LONGEST_PATTERN {
        let length = regex.len();
        return Err(wrong(place, &format!("a pattern of {length} bytes; it may have {LONGEST_PATTERN}")));
    }
    check_regex(regex).map_err(|reason| wrong(place, &reason))
}

/// What a reference leads to: `#`, or a place below it.
fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    if matches!(reference, "#" | "#/") {
        return Some(root);
    }
    // Escapes are not read, as `llguidance` does not read them.
    reference.strip_prefix("#/")?.split('/').try_fold(root, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// Changes each schema of a schema, the inner ones first.
fn rewrite(schema: &mut Value, change: &dyn Fn(&mut Map<String, Value>)) {
    let Value::Object(members) = schema else { return };
    for (name, kind) in KEYWORDS {
        let Some(value) = members.get_mut(*name) else { continue };
        match (kind, value) {
            (Kind::Schema | Kind::SchemaOrList, value @ Value::Object(_)) => rewrite(value, change),
            (Kind::SchemaOrList | Kind::Schemas, Value::Array(items)) => {
                items.iter_mut().for_each(|item| rewrite(item, change));
            }
            (Kind::Members | Kind::Patterns, Value::Object(inner)) => {
                inner.values_mut().for_each(|member| rewrite(member, change));
            }
            _ => {}
        }
    }
    change(members);
}

/// Puts what they refer to in the place of options of `oneOf` that are nothing but references: only then is it seen that
/// a constant tells them apart, as the schemas of tagged unions have one. That items need not be different goes away, too.
fn tell_options_apart(members: &mut Map<String, Value>, root: &Value) {
    members.retain(|name, _| name != UNIQUE);
    let Some(Value::Array(options)) = members.get_mut("oneOf") else { return };
    for option in options {
        if let Some(found) = behind(option, root) {
            *option = found.clone();
        }
    }
}

/// What a chain of bare references leads to.
fn behind<'a>(option: &Value, root: &'a Value) -> Option<&'a Value> {
    let mut found = target(root, bare_reference(option)?)?;
    for _ in 0..REFERENCES_IN_A_ROW {
        let Some(next) = bare_reference(found) else { break };
        found = target(root, next)?;
    }
    Some(found)
}

fn bare_reference(schema: &Value) -> Option<&str> {
    let members = schema.as_object()?;
    let alone = members.keys().all(|name| name == "$ref" || NOTES.contains(&name.as_str()));
    members.get("$ref").filter(|_| alone)?.as_str()
}

/// Says that an object with listed members has no others, where nothing is said: each such object is valid, and a small
/// model would go on inventing members. Only for schemas whose objects are each spoken of in one place.
fn close(members: &mut Map<String, Value>) {
    let Some(Value::Object(listed)) = members.get("properties") else { return };
    let says = ["additionalProperties", "patternProperties", "minProperties"];
    let required = members.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let needs_others = required.iter().filter_map(Value::as_str).any(|name| !listed.contains_key(name));
    if !needs_others && !says.iter().any(|name| members.contains_key(*name)) {
        members.insert("additionalProperties".into(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: Value, parts: &[&str]) {
        let reason = prepare(&schema).expect_err(&schema.to_string());
        for part in parts {
            assert!(reason.contains(part), "`{part}` is not in: {reason}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named_with_its_place() {
        let inside = |member: Value| json!({ "type": "object", "properties": { "a/b": { "items": member } } });
        let place = "`#/properties/a~1b/items";
        refused(inside(json!({ "type": "money" })), &[place, "/type`", "`money`", "known: null, boolean"]);
        refused(inside(json!({ "type": ["null", 1] })), &[place, "/type`"]);
        refused(inside(json!({ "format": "phone" })), &[place, "/format`", "`phone`", "date-time"]);
        refused(inside(json!({ "pattern": "a(b" })), &[place, "/pattern`", "unclosed group", "character 2"]);
        refused(inside(json!({ "pattern": r"\bword" })), &[place, "boundaries"]);
        refused(inside(json!({ "not": {} })), &[place, "/not`", "leave it out"]);
        refused(inside(json!({ "typo": "string" })), &[place, "/typo`", "no such keyword"]);
        assert!(prepare(&inside(json!({ "x-note": 1, "title": "A", "const": 3 }))).is_ok());
        refused(inside(json!({ "uniqueItems": true })), &[place, "/uniqueItems`"]);
        refused(inside(json!({ "$ref": "#/$defs/none" })), &[place, "/$ref`", "`#/$defs/none` is not in the schema"]);
        refused(inside(json!({ "$ref": "https://example.org/schema" })), &[place, "is not in the schema"]);
        refused(inside(json!({ "anyOf": [{}, 3] })), &[place, "/anyOf/1`", "a schema is"]);
        refused(inside(json!({ "properties": [] })), &[place, "/properties`", "an object of schemas"]);
        refused(inside(json!({ "minLength": -1 })), &[place, "/minLength`", "whole number"]);
        refused(inside(json!({ "maximum": "9" })), &[place, "/maximum`", "a number"]);
        refused(inside(json!({ "required": ["a", 1] })), &[place, "/required`", "list of names"]);
        refused(inside(json!({ "enum": [] })), &[place, "/enum`", "one at least"]);
        refused(json!([]), &["`#`", "a schema is"]);
        refused(json!(false), &["nothing matches"]);
    }

    #[test]
    fn size_and_depth_are_bounded() {
        refused(json!({ "enum": ["x".repeat(LARGEST)] }), &["bytes and may have"]);
        let deep = (0..DEEPEST + 1).fold(json!({}), |inner, _| json!({ "items": inner }));
        refused(deep, &["levels at most", "`…"]);
        refused(json!({ "pattern": "x".repeat(LONGEST_PATTERN + 1) }), &["/pattern`", "may have"]);
        let large = json!({ "enum": ["x".repeat(LARGEST / 2)] });
        let options = vec![json!({ "$ref": "#/$defs/a" }); 8];
        refused(json!({ "oneOf": options, "$defs": { "a": large } }), &["use `anyOf`"]);
    }

    #[test]
    fn listed_members_are_all_members_where_nothing_else_is_said() {
        let closed = |schema: Value| prepare(&schema).unwrap();
        let made = closed(
            json!({ "properties": { "a": { "properties": {} }, "b": { "additionalProperties": true, "properties": {} } } }),
        );
        assert_eq!(made["additionalProperties"], json!(false));
        assert_eq!(made["properties"]["a"]["additionalProperties"], json!(false));
        assert_eq!(made["properties"]["b"]["additionalProperties"], json!(true));
        let anything = json!({ "properties": { "title": { "title": "a member, not a note" } } });
        assert_eq!(closed(anything)["properties"]["title"], json!({ "title": "a member, not a note" }));
        for open in [
            json!({ "properties": { "a": {} }, "required": ["b"] }),
            json!({ "properties": { "a": {} }, "anyOf": [{ "required": ["a"] }] }),
            json!({ "allOf": [{ "properties": { "a": {} } }, { "properties": { "b": {} } }] }),
            json!({ "properties": { "a": {} }, "minProperties": 2 }),
        ] {
            assert_eq!(closed(open.clone()), open);
        }
    }

    #[test]
    fn options_that_are_references_are_put_in_their_place() {
        let schema = json!({
            "oneOf": [{ "$ref": "#/$defs/b", "title": "B" }, { "type": "null" }],
            "$defs": { "a": { "type": "string" }, "b": { "$ref": "#/$defs/a" }, "c": { "$ref": "#/$defs/c" } },
        });
        assert_eq!(prepare(&schema).unwrap()["oneOf"], json!([{ "type": "string" }, { "type": "null" }]));
        // One that leads to itself ends somewhere.
        assert!(
            prepare(&json!({ "oneOf": [{ "$ref": "#/$defs/c" }], "$defs": { "c": { "$ref": "#/$defs/c" } } })).is_ok()
        );
    }

    #[test]
    fn items_that_need_not_be_different_are_nothing_to_follow() {
        let made = prepare(&json!({ "items": { "uniqueItems": false, "type": "array" } })).unwrap();
        assert_eq!(made, json!({ "items": { "type": "array" } }));
    }
}
