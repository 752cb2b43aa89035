//! The description of the API: what follows from the shape of its routes, so that they need not say it themselves.

use utoipa::PartialSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};

use super::envelope::{ErrorBody, OpenAiError, OpenAiErrorDetail};
use crate::auth::COOKIE;

/// What errors mean, for the description of the API. A route that answers one of them for a reason of its own says so
/// itself.
const MEANINGS: &[(&str, &str)] = &[
    ("400", "the request cannot be understood"),
    ("401", "nobody known asks"),
    ("403", "your role does not allow it, or the session's token is missing"),
    ("404", "there is no such thing that you can see"),
    ("408", "the client was too slow"),
    ("413", "the body is too large"),
    ("415", "the body is of another type"),
    ("429", "too many requests wait, or too many sign-ins failed; `Retry-After` says when to try again"),
    ("500", "the server failed"),
    ("503", "something that it needs is not there now"),
];

fn inline<T>(described: &RefOr<T>) -> Option<&T> {
    match described {
        RefOr::T(own) => Some(own),
        RefOr::Ref(_) => None,
    }
}

/// The errors that an operation can answer because of what it takes and who may use it.
fn errors_of(method: &str, operation: &Operation) -> Vec<&'static str> {
    let mut errors = vec!["500"];
    let strangers = operation.security.is_some();
    let body = operation.request_body.as_ref().and_then(inline);
    if !strangers || body.is_some() {
        errors.extend(["429", "503"]);
    }
    if !strangers {
        errors.push("401");
        // What administrators alone may look at says so itself.
        if method != "get" {
            errors.push("403");
        }
    }
    if let Some(body) = body {
        errors.extend(["400", "403", "408", "413"]);
        if body.content.contains_key("application/json") {
            errors.push("415");
        }
    }
    for parameter in operation.parameters.iter().flatten().filter_map(inline) {
        errors.push(if matches!(parameter.parameter_in, ParameterIn::Path) { "404" } else { "400" });
    }
    errors
}

/// Adds to the description what the routes themselves do not say: the errors that follow from their shape, the one body of
/// all errors, and how to sign in.
pub fn describe(api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    let key = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.add_security_scheme("key", key);
    let cookie = ApiKeyValue::with_description(
        COOKIE,
        "A browser's session. Whatever is not GET or HEAD needs its token in `X-CSRF-Token` too; `GET /api/v1/session` tells it.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.schemas.insert("ErrorBody".to_owned(), ErrorBody::schema());
    components.schemas.insert("OpenAiError".to_owned(), OpenAiError::schema());
    components.schemas.insert("OpenAiErrorDetail".to_owned(), OpenAiErrorDetail::schema());
    for (path, item) in &mut api.paths.paths {
        let schema = if path.starts_with("/v1/") { "OpenAiError" } else { "ErrorBody" };
        let methods = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in methods {
            let Some(operation) = operation else { continue };
            for status in errors_of(method, operation) {
                let meaning = MEANINGS.iter().find(|(own, _)| *own == status).map_or("", |(_, meaning)| meaning);
                let response = ResponseBuilder::new().description(meaning).build();
                operation.responses.responses.entry(status.to_owned()).or_insert(response.into());
            }
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                if !status.starts_with(['4', '5']) {
                    continue;
                }
                if response.content.is_empty() {
                    let content = Content::new(Some(Ref::from_schema_name(schema)));
                    response.content.insert("application/json".to_owned(), content.into());
                }
                if status == "429" {
                    let seconds = HeaderBuilder::new()
                        .schema(Some(Object::with_type(Type::Integer)))
                        .description(Some("Seconds"));
                    response.headers.insert("Retry-After".to_owned(), RefOr::T(seconds.build()));
                }
            }
        }
    }
    let any = ["key", "session"].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
    api.security = Some(any.into());
}
