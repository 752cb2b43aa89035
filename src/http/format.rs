//! The form that an answer is asked for in, as OpenAI's clients say it.

use intramuros_models::Grammar;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The form of an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", expecting = "an object such as `{\"type\": \"json_object\"}`")]
pub enum ResponseFormat {
    /// Sentences with the marks of their citations.
    Text,
    /// A JSON object, whatever its members.
    JsonObject,
    /// JSON that is valid against a schema.
    JsonSchema {
        /// The schema, with what goes with it.
        json_schema: NamedSchema,
    },
    /// What a regular expression matches from its beginning to its end; an addition to OpenAI's form.
    Regex {
        /// In the syntax of Rust's `regex`, without word boundaries.
        #[schema(max_length = 4096, example = r"\d{1,3}(,\d)? %")]
        regex: String,
    },
}

/// A JSON Schema with its name.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NamedSchema {
    /// Says nothing to the model.
    #[serde(default, rename = "name")]
    #[schema(example = "contract")]
    _name: Option<String>,
    /// What the answer is for, told to the model.
    #[serde(default)]
    description: Option<String>,
    /// Up to 32 KiB and 64 levels. Followed are types, `enum`, `const`, `anyOf`, `allOf`, `oneOf` whose options a constant
    /// tells apart, `$ref` into the schema itself, and the bounds and formats of texts, numbers, lists and objects; anything
    /// else is refused with its place. Members of objects come in the order of `properties`; where `additionalProperties`
    /// is not said there are no others, unless the schema is put together of several.
    #[schema(value_type = Object)]
    schema: Value,
    /// Makes no difference: a schema is always followed.
    #[serde(default, rename = "strict")]
    _strict: Option<bool>,
}

impl ResponseFormat {
    /// What the answer must be; nothing for sentences.
    pub fn grammar(self) -> Option<Grammar> {
        match self {
            Self::Text => None,
            Self::JsonObject => Some(Grammar::JsonObject),
            Self::JsonSchema { json_schema: NamedSchema { description, mut schema, .. } } => {
                if let (Some(description), Value::Object(members)) = (description, &mut schema) {
                    members.entry("description").or_insert(description.into());
                }
                Some(Grammar::JsonSchema(schema))
            }
            Self::Regex { regex } => Some(Grammar::Regex(regex)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(format: Value) -> Result<Option<Grammar>, String> {
        serde_json::from_value::<ResponseFormat>(format).map(ResponseFormat::grammar).map_err(|error| error.to_string())
    }

    #[test]
    fn formats_of_openai_clients_are_read() {
        assert_eq!(read(json!({ "type": "text" })), Ok(None));
        assert_eq!(read(json!({ "type": "json_object" })), Ok(Some(Grammar::JsonObject)));
        let schema = json!({ "name": "a", "strict": true, "description": "A lease.", "schema": { "type": "object" } });
        let expected = json!({ "type": "object", "description": "A lease." });
        assert_eq!(
            read(json!({ "type": "json_schema", "json_schema": schema })),
            Ok(Some(Grammar::JsonSchema(expected)))
        );
        assert_eq!(read(json!({ "type": "regex", "regex": "a+" })), Ok(Some(Grammar::Regex("a+".into()))));
    }

    #[test]
    fn others_are_refused_by_name() {
        for (format, part) in [
            (json!({ "type": "grammar" }), "`grammar`"),
            (json!({ "type": "json_schema" }), "json_schema"),
            (json!({ "type": "json_schema", "json_schema": { "name": "a" } }), "schema"),
            (json!({ "type": "regex" }), "regex"),
            (json!({}), "type"),
            (json!("json"), "an object such as"),
        ] {
            let error = read(format.clone()).unwrap_err();
            assert!(error.contains(part), "{format}: {error}");
        }
    }
}
