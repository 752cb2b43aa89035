//! JSON files of models: objects whose fields are read one by one, with errors that name them.

use serde::Deserialize;
use serde_json::Value;

/// An object of JSON. What is null counts as absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Json {
    values: serde_json::Map<String, Value>,
}

impl Json {
    /// Reads JSON.
    ///
    /// # Errors
    /// A reason, when it is no object.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let values = serde_json::from_slice(text).map_err(|error| format!("it is damaged: {error}"))?;
        Ok(Self { values })
    }

    /// What stands under a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Whether something is said about it, be it null.
    pub fn mentions(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A section of its own.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn section(&self, key: &str) -> Result<Option<Json>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(Json { values: values.clone() })),
            Some(_) => Err(format!("`{key}` is no section")),
        }
    }

    /// The same with values for what is absent.
    pub fn with_defaults(&self, defaults: &[(&str, Value)]) -> Json {
        let mut values = self.values.clone();
        for (key, value) in defaults {
            if self.get(key).is_none() {
                values.insert((*key).to_owned(), value.clone());
            }
        }
        Json { values }
    }

    /// A whole number that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn number(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("`{key}` is no whole number"))
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// A reason.
    pub fn require(&self, key: &str) -> Result<usize, String> {
        self.number(key)?.ok_or_else(|| format!("it lacks `{key}`"))
    }

    /// A number that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn float(&self, key: &str) -> Result<Option<f32>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map(|number| Some(number as f32)).ok_or_else(|| format!("`{key}` is no number"))
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// A reason.
    pub fn require_float(&self, key: &str) -> Result<f32, String> {
        self.float(key)?.ok_or_else(|| format!("it lacks `{key}`"))
    }

    /// A truth that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| format!("`{key}` is neither true nor false"))
    }

    /// A text that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| format!("`{key}` is no text"))
    }

    /// A list that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else, or when `read` makes nothing of an element.
    pub fn list<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<Vec<T>>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().and_then(|values| values.iter().map(read).collect());
        list.map(Some).ok_or_else(|| format!("`{key}` is no list of what it should hold"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_they_should_be_or_named() {
        let text = br#"{"n": 3, "x": 0.5, "t": "a", "f": true, "none": null, "l": [1, 2], "s": {"n": 1}}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!((json.require("n"), json.number("none"), json.number("absent")), (Ok(3), Ok(None), Ok(None)));
        assert_eq!((json.float("x"), json.float("n")), (Ok(Some(0.5)), Ok(Some(3.0))));
        assert_eq!(
            (json.text("t"), json.flag("f", false), json.flag("none", true)),
            (Ok(Some("a")), Ok(true), Ok(true))
        );
        assert_eq!(json.list("l", Value::as_u64), Ok(Some(vec![1, 2])));
        assert_eq!(json.section("s").unwrap().unwrap().require("n"), Ok(1));
        assert!(json.mentions("none") && !json.mentions("absent"));
        let filled = json.with_defaults(&[("none", Value::from(7)), ("n", Value::from(8))]);
        assert_eq!((filled.require("none"), filled.require("n")), (Ok(7), Ok(3)));
        for error in [
            json.require("absent").unwrap_err(),
            json.number("x").unwrap_err(),
            json.float("t").unwrap_err(),
            json.flag("n", true).unwrap_err(),
            json.text("n").unwrap_err(),
            json.section("l").err().unwrap(),
            json.list("l", Value::as_bool).unwrap_err(),
        ] {
            assert!(error.contains('`'), "{error}");
        }
        assert!(Json::parse(b"[]").is_err() && Json::parse(b"{").is_err());
    }
}
