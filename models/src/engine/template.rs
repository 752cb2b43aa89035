//! The chat template that a model carries, rendered.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};

use super::hub::HubFolder;
use super::tokenizer::Tokenizer;
use crate::{Message, ModelError, Role};

/// Used where a file has no template: what most small chat models understand.
const CHAT_ML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Where a folder of the hub has its template: in a file of its own since 2025, before in the tokenizer's configuration.
pub const TEMPLATE_FILES: [&str; 3] = ["chat_template.jinja", "tokenizer_config.json", "chat_template.json"];

const NAME: &str = "chat";

/// A chat template, compiled once.
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// Compiles a template, or ChatML where a model has none.
    ///
    /// # Errors
    /// A reason when the template is not understood.
    pub fn new(source: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, String> {
        Self::compile(source.unwrap_or(CHAT_ML), (tokenizer.begin_text(), tokenizer.end_text()), now)
    }

    /// The source of the template in a folder of the hub; in JSON it stands alone or by the name `default`.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Invalid`] when a file cannot be read.
    pub fn of_hub(folder: &HubFolder) -> Result<Option<String>, ModelError> {
        let [alone, configurations @ ..] = TEMPLATE_FILES;
        if let Some(source) = folder.text(alone)? {
            return Ok(Some(source));
        }
        for file in configurations {
            let Some(config) = folder.json(file)? else { continue };
            let source = match config.get("chat_template") {
                Some(serde_json::Value::String(source)) => Some(source.as_str()),
                Some(serde_json::Value::Array(named)) => {
                    let default = named.iter().find(|one| one["name"] == "default");
                    default.and_then(|one| one["template"].as_str())
                }
                _ => None,
            };
            if let Some(source) = source {
                return Ok(Some(source.to_owned()));
            }
        }
        tracing::warn!(
            "none of {} that the catalogue lists holds a chat template: ChatML is used",
            TEMPLATE_FILES.join(", ")
        );
        Ok(None)
    }

    fn compile(source: &str, (begin, end): (&str, &str), now: fn() -> u64) -> Result<Self, String> {
        let mut environment = Environment::new();
        // transformers renders with these two, and templates count on it.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: &str, _options: Kwargs| strftime(format, now()));
        let source = without_marks(source);
        environment.add_template_owned(NAME, source).map_err(|error| format!("its chat template: {error}"))?;
        Ok(Self { environment, begin: begin.to_owned(), end: end.to_owned() })
    }

    /// The messages as one prompt that ends where the model is to write. Special tokens inside contents are broken up,
    /// so that no document can end the turn it stands in.
    pub fn render(&self, messages: &[Message], tokenizer: &Tokenizer) -> Result<String, ModelError> {
        let mut turns: Vec<Value> = Vec::with_capacity(messages.len());
        for message in messages {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            turns.push(context! { role => role, content => tokenizer.disarm(&message.content) });
        }
        let template = self.environment.get_template(NAME).map_err(template_error)?;
        let prompt = template.render(context! {
            messages => turns,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
            add_generation_prompt => true,
            // Models that can think aloud before they answer must not: nobody reads it, and everything is cited.
            enable_thinking => false,
        });
        prompt.map_err(template_error)
    }
}

/// The kind and place of a failure; its details could quote a message.
fn template_error(error: minijinja::Error) -> ModelError {
    let detail = match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, _) => kind.to_string(),
    };
    ModelError::Template(format!("{detail} (line {})", error.line().unwrap_or(0)))
}

/// Some templates mark what the model writes, for training; what lies between the marks stays.
fn without_marks(source: &str) -> String {
    let mut output = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start + 2..].find("%}").map(|at| at + 2) else { break };
        let (tag, after) = rest[start..].split_at(length + 2);
        output.push_str(&rest[..start]);
        match tag[2..length].trim_matches('-').trim() {
            "generation" => output.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => output.push_str(&tag.replace("endgeneration", "endif")),
            _ => output.push_str(tag),
        }
        rest = after;
    }
    output + rest
}

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A date in the fields that chat templates ask for.
fn strftime(format: &str, seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    // Days to a date of the Gregorian calendar (https://howardhinnant.github.io/date_algorithms.html, civil_from_days).
    let days = seconds / 86_400 + 719_468;
    let era_day = days % 146_097;
    let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let shifted_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = days / 146_097 * 400 + era_year + u64::from(month <= 2);
    let month_name = MONTHS[month as usize - 1];
    format
        .replace("%d", &format!("{day:02}"))
        .replace("%m", &format!("{month:02}"))
        .replace("%Y", &year.to_string())
        .replace("%B", month_name)
        .replace("%b", &month_name[..3])
        .replace("%H", &format!("{:02}", seconds / 3600 % 24))
        .replace("%M", &format!("{:02}", seconds / 60 % 60))
        .replace("%S", &format!("{:02}", seconds % 60))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(strftime("%d %b %Y", 0), "01 Jan 1970");
        assert_eq!(strftime("%Y-%m-%d", 951_782_400), "2000-02-29");
        assert_eq!(strftime("%d %B %Y %H:%M:%S", 1_795_305_599), "21 November 2026 23:59:59");
    }

    #[derive(serde::Deserialize)]
    struct Reference {
        unix_seconds: u64,
        templates: Vec<Rendered>,
    }

    #[derive(serde::Deserialize)]
    struct Rendered {
        template: String,
        begin: String,
        end: String,
        /// By the conversation's name; nothing where the template refuses it.
        prompts: BTreeMap<String, Option<String>>,
    }

    #[derive(serde::Deserialize)]
    struct Conversation {
        id: String,
        messages: Vec<Message>,
    }

    #[test]
    fn published_templates_render_as_in_transformers() {
        const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/decoders");
        let read = |file: &str| std::fs::read_to_string(format!("{DATA}/{file}")).unwrap();
        let conversations: Vec<Conversation> = serde_json::from_str(&read("conversations.json")).unwrap();
        let reference: Reference = serde_json::from_str(&read("templates.json")).unwrap();
        assert_eq!((reference.unix_seconds, conversations.len()), (1_772_879_400, 10));
        assert!(reference.templates.len() >= 10);
        let tokenizer = Tokenizer::of_letters(1);
        for Rendered { template, begin, end, prompts } in &reference.templates {
            let source = read(&format!("templates/{template}.jinja"));
            let chat = ChatTemplate::compile(&source, (begin.as_str(), end.as_str()), || 1_772_879_400).unwrap();
            for conversation in &conversations {
                let rendered = chat.render(&conversation.messages, &tokenizer);
                let expected = &prompts[&conversation.id];
                assert_eq!(rendered.as_ref().ok(), expected.as_ref(), "{template}, {}: {rendered:?}", conversation.id);
            }
        }
    }

    #[test]
    fn marks_of_training_go_and_what_lies_between_stays() {
        let source = "a{%- generation -%} b {% endgeneration %}c{% if x %}generation{% endif %}{%";
        let expected = "a{%- if true -%} b {% endif %}c{% if x %}generation{% endif %}{%";
        assert_eq!(without_marks(source), expected);
        assert_eq!(without_marks("a {%} b"), "a {%} b");
    }
}
