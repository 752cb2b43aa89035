//! The chat template that a GGUF file carries, rendered.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};

use super::tokenizer::Tokenizer;
use crate::{Message, ModelError, Role};

/// Used where a file has no template: what most small chat models understand.
const CHAT_ML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const NAME: &str = "chat";

/// A chat template, compiled once.
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// Compiles `tokenizer.chat_template`, or ChatML where the file has none.
    ///
    /// # Errors
    /// A reason when the template is not understood.
    pub fn new(source: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, String> {
        let mut environment = Environment::new();
        // transformers renders with these two, and templates count on it.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: &str, _options: Kwargs| strftime_now(format));
        let source = source.unwrap_or(CHAT_ML).to_owned();
        environment.add_template_owned(NAME, source).map_err(|error| format!("its chat template: {error}"))?;
        Ok(Self { environment, begin: tokenizer.begin_text().to_owned(), end: tokenizer.end_text().to_owned() })
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

/// Today's date in the fields that chat templates ask for.
fn strftime_now(format: &str) -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    strftime(format, seconds)
}

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
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(strftime("%d %b %Y", 0), "01 Jan 1970");
        assert_eq!(strftime("%Y-%m-%d", 951_782_400), "2000-02-29");
        assert_eq!(strftime("%d %B %Y %H:%M:%S", 1_795_305_599), "21 November 2026 23:59:59");
    }
}
