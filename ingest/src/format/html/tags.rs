//! From tag soup to a balanced list of events.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

/// The deepest nesting that is kept; what lies deeper loses its tags, not its text.
const MAX_DEPTH: usize = 200;

/// The balanced form of a piece of HTML.
pub struct Soup {
    /// Opening and closing tags and the text between them.
    pub events: Vec<Event>,
    /// The content of the first `<title>` outside of drawings.
    pub title: Option<String>,
    /// Whether nesting was cut.
    pub flattened: bool,
}

/// One event. Every `Open` has its `Close`, properly nested.
pub enum Event {
    /// An element begins.
    Open(Element),
    /// The innermost open element ends.
    Close,
    /// Text with its entities decoded, white space as in the file.
    Text(String),
}

/// What is kept of a start tag.
#[derive(Default)]
pub struct Element {
    /// Lower-case name.
    pub name: String,
    /// Whether the page hides it, or it is no content (scripts, form fields, navigation by its role or class).
    pub skip: bool,
    /// Whether it says that it is the main content.
    pub main: bool,
    /// A table whose cells hold headings or tables: it arranges the page.
    pub layout: bool,
    /// `colspan`, at least 1.
    pub columns: usize,
    /// `rowspan`, at least 1.
    pub rows: usize,
    /// The first number of an ordered list.
    pub start: u64,
    /// The text that stands for an image.
    pub alt: Option<String>,
    /// How many events lie between this one and its `Close`.
    pub length: usize,
}

/// Elements that never have content.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// Elements whose content is not the document's text.
const NOT_CONTENT: [&str; 19] = [
    "script", "style", "noscript", "template", "head", "nav", "button", "select", "datalist", "textarea", "svg",
    "iframe", "object", "audio", "video", "canvas", "map", "noframes", "dialog",
];

/// Class and id words by which pages mark their frame.
const FRAME_WORDS: [&str; 15] = [
    "nav",
    "navbar",
    "navigation",
    "menu",
    "breadcrumb",
    "breadcrumbs",
    "sidebar",
    "cookie-banner",
    "cookie-consent",
    "skip-link",
    "site-header",
    "site-footer",
    "pagination",
    "toolbar",
    "advertisement",
];

/// Balances a piece of HTML.
pub fn balance(html: &str) -> Soup {
    let mut emitter = DefaultEmitter::default();
    // Scripts, styles and titles hold text that only looks like tags.
    emitter.naively_switch_states(true);
    let mut soup = Balancer::default();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Ok(Token::StartTag(tag)) => soup.open(&tag),
            Ok(Token::EndTag(tag)) => soup.close(&String::from_utf8_lossy(&tag.name)),
            Ok(Token::String(text)) => soup.text(&String::from_utf8_lossy(&text)),
            Ok(Token::Comment(_) | Token::Doctype(_) | Token::Error(_)) => {}
            Err(never) => match never {},
        }
    }
    soup.close_down_to(0);
    Soup { events: soup.events, title: soup.title.filter(|title| !title.trim().is_empty()), flattened: soup.flattened }
}

#[derive(Default)]
struct Balancer {
    events: Vec<Event>,
    /// Name of each open element and where its `Open` stands.
    open: Vec<(String, usize)>,
    title: Option<String>,
    in_title: bool,
    /// Start tags beyond the deepest level whose end tags are still to come.
    beyond: usize,
    flattened: bool,
}

impl Balancer {
    fn open(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        if name == "title" && !self.is_open("svg") {
            self.in_title = self.title.is_none();
            self.title.get_or_insert_default();
            return;
        }
        self.close_implied(&name);
        let element = element(name, tag);
        if VOID.contains(&element.name.as_str()) {
            self.events.push(Event::Open(element));
            self.events.push(Event::Close);
            return;
        }
        if self.open.len() >= MAX_DEPTH {
            self.beyond += 1;
            self.flattened = true;
            return;
        }
        if matches!(element.name.as_str(), "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "article" | "main") {
            self.mark_layout();
        }
        self.open.push((element.name.clone(), self.events.len()));
        self.events.push(Event::Open(element));
    }

    fn text(&mut self, text: &str) {
        if self.in_title {
            if let Some(title) = &mut self.title {
                title.push_str(text);
            }
        } else if let Some(Event::Text(last)) = self.events.last_mut() {
            last.push_str(text);
        } else {
            self.events.push(Event::Text(text.to_owned()));
        }
    }

    fn close(&mut self, name: &str) {
        if name == "title" {
            self.in_title = false;
            return;
        }
        if self.beyond > 0 {
            self.beyond -= 1;
            return;
        }
        if matches!(name, "p" | "br") && !self.is_open(name) {
            // Browsers make an empty element of a stray end tag; for text it is a break.
            self.events.push(Event::Open(Element { name: "br".to_owned(), ..Element::default() }));
            self.events.push(Event::Close);
            return;
        }
        let inline = is_inline(name);
        for at in (0..self.open.len()).rev() {
            let open = self.open[at].0.as_str();
            if open == name {
                self.close_down_to(at);
                return;
            }
            let wall = if inline { !is_inline(open) } else { is_wall(open) && !is_wall(name) };
            if wall {
                return;
            }
        }
    }

    /// Closes what the start tag of `name` ends by itself: `<li>` ends an open `<li>`, any block ends an open `<p>`.
    fn close_implied(&mut self, name: &str) {
        let (ends, within): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol", "menu"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl"]),
            "td" | "th" => (&["td", "th"], &["table"]),
            "tr" => (&["tr"], &["table"]),
            "thead" | "tbody" | "tfoot" => (&["thead", "tbody", "tfoot", "caption", "colgroup"], &["table"]),
            "option" => (&["option"], &["select"]),
            "body" => (&["head"], &[]),
            _ if is_inline(name) => return,
            _ => (&["p"], &["div", "td", "th", "li", "dd", "blockquote", "section", "article", "button"]),
        };
        for at in (0..self.open.len()).rev() {
            let open = self.open[at].0.as_str();
            if ends.contains(&open) {
                self.close_down_to(at);
                return;
            }
            if within.contains(&open) || is_wall(open) {
                return;
            }
        }
    }

    fn close_down_to(&mut self, level: usize) {
        while self.open.len() > level {
            let Some((_, at)) = self.open.pop() else { return };
            let length = self.events.len() - at - 1;
            if let Some(Event::Open(element)) = self.events.get_mut(at) {
                element.length = length;
            }
            self.events.push(Event::Close);
        }
    }

    fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|(open, _)| open == name)
    }

    fn mark_layout(&mut self) {
        for (name, at) in &self.open {
            if name == "table"
                && let Some(Event::Open(table)) = self.events.get_mut(*at)
            {
                table.layout = true;
            }
        }
    }
}

/// Elements whose end tag does not reach across a block.
fn is_inline(name: &str) -> bool {
    matches!(
        name,
        "a" | "abbr"
            | "acronym"
            | "b"
            | "bdi"
            | "bdo"
            | "big"
            | "br"
            | "cite"
            | "code"
            | "data"
            | "del"
            | "dfn"
            | "em"
            | "font"
            | "i"
            | "img"
            | "input"
            | "ins"
            | "kbd"
            | "label"
            | "mark"
            | "q"
            | "s"
            | "samp"
            | "small"
            | "span"
            | "strike"
            | "strong"
            | "sub"
            | "sup"
            | "time"
            | "tt"
            | "u"
            | "var"
            | "wbr"
    )
}

/// Elements that other elements' end tags do not reach across.
fn is_wall(name: &str) -> bool {
    matches!(name, "table" | "td" | "th" | "tr" | "caption" | "html" | "template" | "object")
}

/// Keeps what matters of a start tag.
fn element(name: String, tag: &StartTag<()>) -> Element {
    let attribute =
        |key: &str| tag.attributes.get(key.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned());
    let number = |key: &str, most: usize| {
        attribute(key).and_then(|value| value.trim().parse::<usize>().ok()).unwrap_or(1).clamp(1, most)
    };
    let role = attribute("role").unwrap_or_default();
    let style: String = attribute("style").unwrap_or_default().to_lowercase().split_whitespace().collect();
    let hidden = attribute("hidden").is_some_and(|value| value != "until-found")
        || attribute("aria-hidden").is_some_and(|value| value == "true")
        || style.contains("display:none")
        || style.contains("visibility:hidden");
    let framing = matches!(
        role.as_str(),
        "navigation" | "banner" | "contentinfo" | "search" | "menu" | "menubar" | "complementary"
    );
    let words = attribute("class").unwrap_or_default() + " " + &attribute("id").unwrap_or_default();
    let block = matches!(name.as_str(), "div" | "ul" | "ol" | "section" | "aside" | "p" | "a" | "table");
    let frame_word = block && words.to_lowercase().split_whitespace().any(|word| FRAME_WORDS.contains(&word));
    Element {
        skip: hidden || framing || frame_word || NOT_CONTENT.contains(&name.as_str()),
        main: name == "main" || role == "main",
        layout: role == "presentation" || role == "none",
        columns: number("colspan", 100),
        rows: number("rowspan", 1000),
        start: attribute("start").and_then(|value| value.trim().parse().ok()).unwrap_or(1),
        alt: (name == "img").then(|| attribute("alt")).flatten(),
        length: 0,
        name,
    }
}
