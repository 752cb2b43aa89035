//! The pages: templates, words, style and scripts, all inside the binary, nothing loaded from elsewhere.
//!
//! Knows nothing of HTTP and of who may read what: [`crate::http`] hands in what a page shows and sends what is rendered.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

mod reading;
mod reference;
mod strings;

pub use reading::{PART, Place, Reading, checksum, read};
pub use reference::Reference;
use strings::Strings;
pub use strings::{Language, Words};

const TEMPLATES: &[(&str, &str)] = &[
    ("api.html", include_str!("templates/api.html")),
    ("base.html", include_str!("templates/base.html")),
    ("chat.html", include_str!("templates/chat.html")),
    ("dialog.html", include_str!("templates/dialog.html")),
    ("document.html", include_str!("templates/document.html")),
    ("documents.html", include_str!("templates/documents.html")),
    ("error.html", include_str!("templates/error.html")),
    ("fields.html", include_str!("templates/fields.html")),
    ("icons.html", include_str!("templates/icons.html")),
    ("menu.html", include_str!("templates/menu.html")),
    ("prose.html", include_str!("templates/prose.html")),
    ("sign_in.html", include_str!("templates/sign_in.html")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, media type, content.
const ASSETS: &[(&str, &str, &[u8])] = &[
    ("answer.js", SCRIPT, include_bytes!("assets/answer.js")),
    ("chat.js", SCRIPT, include_bytes!("assets/chat.js")),
    ("common.js", SCRIPT, include_bytes!("assets/common.js")),
    ("documents.js", SCRIPT, include_bytes!("assets/documents.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    ("panel.js", SCRIPT, include_bytes!("assets/panel.js")),
    ("preferences.js", SCRIPT, include_bytes!("assets/preferences.js")),
    ("rail.js", SCRIPT, include_bytes!("assets/rail.js")),
    ("stream.js", SCRIPT, include_bytes!("assets/stream.js")),
    ("style.css", "text/css; charset=utf-8", include_bytes!("assets/style.css")),
];

/// Renders pages; made once.
pub struct Pages {
    templates: Environment<'static>,
    strings: Strings,
    english: Value,
    spanish: Value,
    /// Changes with any asset, as the scripts refer to each other by name.
    version: String,
    reference: Value,
}

/// A file that pages load.
pub struct Asset {
    /// For `Content-Type`.
    pub media_type: &'static str,
    /// As it is sent.
    pub content: &'static [u8],
}

/// How somebody wants to see pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of all words but the documents' own.
    pub language: Language,
    /// Colours.
    pub theme: Theme,
}

/// Colours of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// Reads the choice of a cookie; what is not understood is the system's.
    pub fn of(choice: Option<&str>) -> Self {
        match choice {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::Auto,
        }
    }
}

/// Who looks at a page, as far as pages show it.
#[derive(Clone, Debug, Serialize)]
pub struct Viewer {
    /// The name.
    pub user: String,
    /// Whether to show what only administrators may do.
    pub admin: bool,
    /// Their groups.
    pub groups: Vec<String>,
    /// What scripts send with whatever changes something.
    pub csrf_token: String,
}

impl Pages {
    /// Reads templates and words, which are part of the binary.
    ///
    /// # Panics
    /// If they are broken, which the tests find out.
    pub fn new(reference: &Reference) -> Self {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source).expect("the built-in templates are well formed");
        }
        let mut hash = Sha256::new();
        for (name, _, content) in ASSETS {
            hash.update(name);
            hash.update(content);
        }
        let version = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let strings = Strings::new();
        let (english, spanish) = (value(strings.words(Language::English)), value(strings.words(Language::Spanish)));
        Self { templates, strings, english, spanish, version, reference: value(reference) }
    }

    /// Renders a page: `name` with what it shows itself, beside what every page has.
    pub fn render(
        &self,
        name: &str,
        look: Look,
        viewer: Option<&Viewer>,
        own: Value,
    ) -> Result<String, minijinja::Error> {
        let words = match look.language {
            Language::English => &self.english,
            Language::Spanish => &self.spanish,
        };
        let everywhere = context! {
            lang => look.language.code(),
            theme => value(&look.theme),
            t => words.clone(),
            assets => Value::from_safe_string(format!("/assets/{}", self.version)),
            session => viewer.map(value),
            here => "",
        };
        self.templates.get_template(name)?.render(context! { ..own, ..everywhere })
    }

    /// The page that explains the API.
    pub fn render_reference(&self, look: Look, viewer: Option<&Viewer>) -> Result<String, minijinja::Error> {
        self.render("api.html", look, viewer, context! { here => "api", api => self.reference.clone() })
    }

    /// All words in a language.
    pub fn words(&self, language: Language) -> &Words {
        self.strings.words(language)
    }

    /// A file of this version; one of another version is not here.
    pub fn asset(&self, version: &str, name: &str) -> Option<Asset> {
        if version != self.version {
            return None;
        }
        let &(_, media_type, content) = ASSETS.iter().find(|(known, ..)| *known == name)?;
        Some(Asset { media_type, content })
    }

    /// The icon, for browsers that ask at its old address.
    pub fn icon(&self) -> Asset {
        Asset { media_type: "image/svg+xml", content: include_bytes!("assets/icon.svg") }
    }
}

/// What templates can show of it.
///
/// # Panics
/// If it has maps whose keys are no strings.
pub fn value<T: Serialize>(shown: &T) -> Value {
    fn converted(json: Json) -> Value {
        match json {
            Json::Null => Value::from(()),
            Json::Bool(yes) => Value::from(yes),
            Json::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(natural), _) => Value::from(natural),
                (_, Some(integer)) => Value::from(integer),
                _ => Value::from(number.as_f64()),
            },
            Json::String(text) => Value::from(text),
            Json::Array(items) => Value::from(items.into_iter().map(converted).collect::<Vec<Value>>()),
            Json::Object(entries) => {
                let entries: BTreeMap<String, Value> =
                    entries.into_iter().map(|(name, json)| (name, converted(json))).collect();
                Value::from(entries)
            }
        }
    }
    converted(serde_json::to_value(shown).expect("what pages show serialises"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LOOK: Look = Look { language: Language::Spanish, theme: Theme::Dark };

    fn pages() -> Pages {
        Pages::new(&Reference::new(&serde_json::json!({}), "http://127.0.0.1:8080"))
    }

    fn viewer(user: &str) -> Viewer {
        Viewer { user: user.to_owned(), admin: true, groups: vec!["legal".to_owned()], csrf_token: "TOKEN".to_owned() }
    }

    #[test]
    fn what_people_wrote_stays_text() {
        let own = context! { user => "\"><script>alert(1)</script>", error => () };
        let page = pages().render("sign_in.html", LOOK, None, own).unwrap();
        assert!(page.contains("lang=\"es\" data-theme=\"dark\""), "{page}");
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");

        let own = context! { max_question_chars => 2000, mode => "extract" };
        let page = pages().render("chat.html", LOOK, Some(&viewer("<b>ana")), own).unwrap();
        assert!(page.contains("content=\"&lt;b&gt;ana\"") && !page.contains("<b>ana"), "{page}");
        assert!(page.contains("value=\"extract\" checked"), "{page}");
    }

    /// The policy forbids what stands inline; then it must not stand there.
    #[test]
    fn no_page_holds_inline_script_or_style_or_an_address_elsewhere() {
        for (name, source) in TEMPLATES {
            for forbidden in ["style=", "<style", "onclick", "onload", "javascript:", "https:", "http:", "src=\"/"] {
                let source = source.replace("http://www.w3.org/2000/svg", "");
                assert!(!source.contains(forbidden), "{name} holds {forbidden}");
            }
            for script in source.split("<script").skip(1) {
                let tag = script.split('>').next().unwrap_or_default();
                assert!(tag.contains("src=\"{{ assets }}/") || tag.contains("application/json"), "{name}: {tag}");
            }
        }
        for (name, _, content) in ASSETS {
            let source = std::str::from_utf8(content).unwrap().replace("http://www.w3.org/2000/svg", "");
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!source.contains(forbidden), "{name} holds {forbidden}");
            }
            for line in source.lines().filter(|line| line.contains("://")) {
                assert!(line.starts_with("//"), "{name}: {line}");
            }
        }
    }

    /// Templates and scripts use words that exist, and none that exists goes unused.
    #[test]
    fn every_word_is_known_and_used() {
        let pages = pages();
        let known: BTreeSet<&str> = pages.words(Language::English).keys().map(String::as_str).collect();
        let mut sources: String = TEMPLATES.iter().map(|(_, source)| *source).collect();
        for (_, _, content) in ASSETS {
            sources.push_str(std::str::from_utf8(content).unwrap());
        }
        sources.push_str(include_str!("../http/pages.rs"));

        let mut used = BTreeSet::new();
        for prefix in ["t.", "t(\"", "count(\""] {
            for (at, _) in sources.match_indices(prefix) {
                let alone = !sources[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
                let rest = &sources[at + prefix.len()..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let is_key = prefix == "t." || rest[end..].starts_with('"');
                if !alone || !is_key {
                    continue;
                }
                let key = &rest[..end];
                if prefix == "count(\"" {
                    used.insert(format!("{key}_one"));
                    used.insert(format!("{key}_other"));
                } else if !key.is_empty() {
                    used.insert(key.to_owned());
                }
            }
        }
        let missing: Vec<&String> = used.iter().filter(|key| !known.contains(key.as_str())).collect();
        assert!(missing.is_empty(), "not in strings.toml: {missing:?}");
        assert!(used.len() > 100, "{}", used.len());

        // Words that are chosen by a value: `t(`job_${state}`)`.
        let by_value = ["job_", "state_", "removed_", "report_", "took_"];
        let unused: Vec<&&str> = known
            .iter()
            .filter(|key| !used.contains(**key) && !by_value.iter().any(|prefix| key.starts_with(prefix)))
            .filter(|key| !sources.contains(&format!("\"{key}\"")))
            .collect();
        assert!(unused.is_empty(), "in strings.toml and nowhere else: {unused:?}");
    }

    #[test]
    fn assets_are_of_one_version() {
        let pages = pages();
        let page = pages.render("sign_in.html", LOOK, None, context! { user => "", error => () }).unwrap();
        let version = page.split("/assets/").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        assert_eq!(pages.asset(version, "style.css").unwrap().media_type, "text/css; charset=utf-8");
        assert!(pages.asset(version, "strings.toml").is_none());
        assert!(pages.asset("0000000000000000", "style.css").is_none());
    }
}
