//! The page that explains the API, made from its OpenAPI description.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What the page shows.
#[derive(Debug, Serialize)]
pub struct Reference {
    title: String,
    version: String,
    description: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    description: String,
    routes: Vec<Route>,
}

#[derive(Debug, Serialize)]
struct Route {
    /// For links.
    id: String,
    method: String,
    path: String,
    /// Paragraphs.
    text: Vec<String>,
    parameters: Vec<Field>,
    body: Option<Body>,
    curl: String,
    answers: Vec<Answer>,
    /// Statuses of errors, which all have one body.
    errors: Vec<String>,
    error_schema: Option<String>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    kind: String,
    /// The schema to link to.
    schema: Option<String>,
    required: bool,
    text: String,
    limits: String,
}

#[derive(Debug, Serialize)]
struct Body {
    media: String,
    schema: Option<String>,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: String,
    description: String,
    kinds: Vec<Media>,
}

#[derive(Debug, Serialize)]
struct Media {
    media: String,
    schema: Option<String>,
}

#[derive(Debug, Serialize)]
struct Schema {
    name: String,
    text: String,
    fields: Vec<Field>,
    /// Of an enumeration.
    values: Vec<String>,
}

const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

impl Reference {
    /// Reads an OpenAPI 3.1 description. `base` is the address in the examples.
    pub fn new(api: &Value, base: &str) -> Self {
        let reader = Reader { schemas: api.pointer("/components/schemas").and_then(Value::as_object), base };
        let mut groups: Vec<Group> = Vec::new();
        for tag in items(&api["tags"]) {
            groups.push(Group { name: text(&tag["name"]), description: text(&tag["description"]), routes: Vec::new() });
        }
        for (path, item) in entries(&api["paths"]) {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let tag = text(&operation["tags"][0]);
                let route = reader.route(method, path, operation);
                match groups.iter_mut().find(|group| group.name == tag) {
                    Some(group) => group.routes.push(route),
                    None => groups.push(Group { description: tag.clone(), name: tag, routes: vec![route] }),
                }
            }
        }
        groups.retain(|group| !group.routes.is_empty());
        let schemas = reader.schemas.into_iter().flatten().map(|(name, schema)| Schema {
            name: name.clone(),
            text: text(&schema["description"]),
            fields: reader.fields(schema),
            values: items(&schema["enum"]).iter().map(text).collect(),
        });
        Self {
            title: text(&api["info"]["title"]),
            version: text(&api["info"]["version"]),
            description: text(&api["info"]["description"]),
            groups,
            schemas: schemas.collect(),
        }
    }
}

struct Reader<'a> {
    schemas: Option<&'a Map<String, Value>>,
    base: &'a str,
}

impl Reader<'_> {
    fn route(&self, method: &str, path: &str, operation: &Value) -> Route {
        let mut paragraphs = vec![text(&operation["summary"])];
        paragraphs.extend(text(&operation["description"]).split("\n\n").map(str::to_owned));
        paragraphs.retain(|paragraph| !paragraph.trim().is_empty());

        let mut answers = Vec::new();
        let (mut errors, mut error_schema) = (Vec::new(), None);
        for (status, response) in entries(&operation["responses"]) {
            let kinds: Vec<Media> = entries(&response["content"])
                .map(|(media, content)| Media { media: media.clone(), schema: reference(&content["schema"]) })
                .collect();
            if status.starts_with('2') {
                answers.push(Answer { status: status.clone(), description: text(&response["description"]), kinds });
            } else {
                errors.push(status.clone());
                error_schema = kinds.into_iter().next().and_then(|kind| kind.schema).or(error_schema);
            }
        }
        Route {
            id: format!("{method}{}", path.replace(['/', '{', '}'], "-")),
            method: method.to_uppercase(),
            path: path.to_owned(),
            text: paragraphs,
            parameters: items(&operation["parameters"]).iter().map(|parameter| self.parameter(parameter)).collect(),
            body: self.body(operation),
            curl: self.curl(method, path, operation),
            answers,
            errors,
            error_schema,
        }
    }

    fn parameter(&self, parameter: &Value) -> Field {
        let required = parameter["required"].as_bool().unwrap_or(false);
        let mut field = self.field(&text(&parameter["name"]), &parameter["schema"], required);
        field.kind = format!("{} ({})", field.kind, text(&parameter["in"]));
        if field.text.is_empty() {
            field.text = text(&parameter["description"]);
        }
        field
    }

    fn body(&self, operation: &Value) -> Option<Body> {
        let (media, content) = entries(&operation["requestBody"]["content"]).next()?;
        let schema = &content["schema"];
        Some(Body { media: media.clone(), schema: reference(schema), fields: self.fields(self.resolved(schema)) })
    }

    fn fields(&self, schema: &Value) -> Vec<Field> {
        // What is flattened into a schema stands in `allOf`.
        let mut fields: Vec<Field> = Vec::new();
        for part in items(&schema["allOf"]) {
            fields.extend(self.fields(self.resolved(part)));
        }
        let required = items(&schema["required"]);
        for (name, property) in entries(&schema["properties"]) {
            fields.push(self.field(name, property, required.iter().any(|required| required == name)));
        }
        fields
    }

    fn field(&self, name: &str, schema: &Value, required: bool) -> Field {
        let (kind, linked) = kind(schema);
        let mut limits = Vec::new();
        for (key, words) in [
            ("minimum", "at least #"),
            ("maximum", "at most #"),
            ("minLength", "characters: at least #"),
            ("maxLength", "characters: at most #"),
            ("default", "default #"),
        ] {
            if let Some(limit) = schema.get(key).filter(|limit| !limit.is_null() && **limit != json!("")) {
                limits.push(words.replace('#', &shown(limit)));
            }
        }
        for (at, value) in items(&schema["enum"]).iter().enumerate() {
            limits.push(format!("{}{}", if at == 0 { "one of " } else { "" }, shown(value)));
        }
        // A schema that is named and may be null has its words beside the name.
        let either = items(&schema["oneOf"]).iter().map(|one| text(&one["description"]));
        let said = std::iter::once(text(&schema["description"])).chain(either).find(|words| !words.is_empty());
        let text = said.unwrap_or_default();
        Field { name: name.to_owned(), kind, schema: linked, required, text, limits: limits.join(", ") }
    }

    fn resolved<'b>(&'b self, schema: &'b Value) -> &'b Value {
        let target = reference(schema).and_then(|name| self.schemas?.get(&name));
        target.unwrap_or(schema)
    }

    /// A command that works once names and numbers are filled in.
    fn curl(&self, method: &str, path: &str, operation: &Value) -> String {
        let mut lines = vec![format!("curl {}{path}", self.base)];
        if method != "get" && method != "post" {
            lines[0] = format!("curl -X {} {}{path}", method.to_uppercase(), self.base);
        }
        let open = items(&operation["security"]).iter().any(|way| way.as_object().is_some_and(Map::is_empty));
        if !open {
            lines.push("-H \"Authorization: Bearer $INTRAMUROS_KEY\"".to_owned());
        }
        match entries(&operation["requestBody"]["content"]).next() {
            Some((media, _)) if media.starts_with("multipart/") => {
                lines.push("-F readers=group:legal".to_owned());
                lines.push("-F file=@contract.pdf".to_owned());
            }
            Some((media, content)) => {
                let body = content.get("example").cloned().unwrap_or_else(|| self.example(&content["schema"], 0));
                lines.push(format!("-H 'Content-Type: {media}'"));
                lines.push(format!("-d '{}'", body.to_string().replace('\'', "’")));
            }
            None if method == "post" => lines[0] = format!("curl -X POST {}{path}", self.base),
            None => {}
        }
        lines.join(" \\\n  ")
    }

    /// What must be there, and what has an example.
    fn example(&self, schema: &Value, depth: usize) -> Value {
        const DEEPEST: usize = 6;
        let schema = self.resolved(schema);
        if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
            return example.clone();
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        if depth > DEEPEST {
            return Value::Null;
        }
        let either = schema.get("oneOf").or_else(|| schema.get("anyOf"));
        if let Some(one) = either.and_then(|either| items(either).iter().find(|one| one["type"] != "null")) {
            return self.example(one, depth + 1);
        }
        let kinds = &schema["type"];
        let is = |kind: &str| kinds == kind || items(kinds).iter().any(|one| one == kind);
        if schema.get("properties").is_some() || schema.get("allOf").is_some() {
            let mut object = Map::new();
            for part in items(&schema["allOf"]) {
                if let Value::Object(fields) = self.example(part, depth + 1) {
                    object.extend(fields);
                }
            }
            let required = items(&schema["required"]);
            for (name, property) in entries(&schema["properties"]) {
                if required.iter().any(|required| required == name) || property.get("example").is_some() {
                    object.insert(name.clone(), self.example(property, depth + 1));
                }
            }
            return Value::Object(object);
        }
        if is("array") {
            return json!([self.example(&schema["items"], depth + 1)]);
        }
        if is("boolean") {
            return json!(false);
        }
        if is("integer") || is("number") {
            return schema.get("minimum").cloned().unwrap_or(json!(1));
        }
        match schema["format"].as_str() {
            Some("uuid") => json!("00000000-0000-0000-0000-000000000000"),
            _ => json!("…"),
        }
    }
}

/// What a schema is, in a few words, and the named schema in it.
fn kind(schema: &Value) -> (String, Option<String>) {
    if let Some(name) = reference(schema) {
        return (String::new(), Some(name));
    }
    let either = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    if let Some(either) = either {
        let mut words = Vec::new();
        let mut linked = None;
        for one in items(either) {
            let (word, name) = kind(one);
            linked = linked.or(name);
            if !word.is_empty() && !words.contains(&word) {
                words.push(word);
            }
        }
        if linked.is_some() && words == ["null"] {
            return ("nullable".to_owned(), linked);
        }
        return (words.join(" or "), linked);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().map(text).collect(),
        _ => Vec::new(),
    };
    let mut linked = None;
    let words: Vec<String> = types
        .iter()
        .map(|word| match (word.as_str(), schema["format"].as_str()) {
            ("array", _) => {
                let (of, name) = kind(&schema["items"]);
                linked = name;
                format!("list of {of}").trim_end().to_owned()
            }
            ("string", Some(format)) => format.to_owned(),
            (word, _) => word.to_owned(),
        })
        .collect();
    (words.join(" or "), linked)
}

fn reference(schema: &Value) -> Option<String> {
    Some(schema["$ref"].as_str()?.rsplit('/').next()?.to_owned())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Value {
        json!({
            "info": { "title": "Intramuros", "version": "1", "description": "Send `Authorization`." },
            "tags": [{ "name": "ask", "description": "Questions" }, { "name": "empty", "description": "" }],
            "paths": {
                "/api/v1/ask": { "post": {
                    "tags": ["ask"], "summary": "Answers.", "description": "First.\n\nSecond.",
                    "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Ask" } } } },
                    "responses": {
                        "200": { "description": "", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Ask" } } } },
                        "429": { "description": "busy", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } } }
                    }
                } },
                "/api/v1/documents/{id}": { "delete": { "parameters": [
                    { "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } }
                ] } },
                "/healthz": { "get": { "tags": ["operations"], "security": [{}], "responses": {} } }
            },
            "components": { "schemas": {
                "Ask": { "type": "object", "required": ["question"], "properties": {
                    "question": { "type": "string", "example": "it's how many?", "minLength": 1 },
                    "mode": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Mode" }] },
                    "ids": { "type": "array", "items": { "type": "integer" } }
                } },
                "Mode": { "type": "string", "enum": ["generate", "extract"] },
                "ErrorBody": { "type": "object" }
            } }
        })
    }

    #[test]
    fn every_route_is_there_with_a_command_that_works() {
        let reference = Reference::new(&api(), "http://127.0.0.1:8080");
        let names: Vec<&str> = reference.groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["ask", "", "operations"]);
        let ask = &reference.groups[0].routes[0];
        assert_eq!((ask.id.as_str(), ask.method.as_str()), ("post-api-v1-ask", "POST"));
        assert_eq!(ask.text, ["Answers.", "First.", "Second."]);
        assert_eq!((ask.errors.join(","), ask.error_schema.as_deref()), ("429".to_owned(), Some("ErrorBody")));
        assert_eq!(
            ask.curl,
            "curl http://127.0.0.1:8080/api/v1/ask \\\n  -H \"Authorization: Bearer $INTRAMUROS_KEY\" \\\n  \
             -H 'Content-Type: application/json' \\\n  -d '{\"question\":\"it’s how many?\"}'"
        );
        assert_eq!(reference.groups[2].routes[0].curl, "curl http://127.0.0.1:8080/healthz");
        let delete = &reference.groups[1].routes[0];
        assert!(delete.curl.starts_with("curl -X DELETE http://127.0.0.1:8080/api/v1/documents/{id} \\\n"));
        assert_eq!((delete.parameters[0].kind.as_str(), delete.parameters[0].required), ("uuid (path)", true));
    }

    #[test]
    fn fields_tell_kind_limits_and_schema() {
        let reference = Reference::new(&api(), "");
        let body = reference.groups[0].routes[0].body.as_ref().unwrap();
        let told: Vec<String> = body
            .fields
            .iter()
            .map(|field| {
                format!("{} {} {:?} {} {}", field.name, field.kind, field.schema, field.required, field.limits)
            })
            .collect();
        assert!(told.contains(&"question string None true characters: at least 1".to_owned()), "{told:?}");
        assert!(told.contains(&"mode nullable Some(\"Mode\") false ".to_owned()), "{told:?}");
        assert!(told.contains(&"ids list of integer None false ".to_owned()), "{told:?}");
        let mode = reference.schemas.iter().find(|schema| schema.name == "Mode").unwrap();
        assert_eq!(mode.values, ["generate", "extract"]);
    }
}
