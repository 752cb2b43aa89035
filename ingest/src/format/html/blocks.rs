//! From balanced events to blocks.

use super::table::Table;
use super::tags::{Element, Event};
use crate::document::BlockKind;
use crate::format::builder::Builder;

/// The part of a page that is its content: what says it is the main part, else its only article, else everything.
pub fn main_content(events: &[Event]) -> &[Event] {
    let all = letters(events);
    let mut articles = Vec::new();
    let mut first_main = None;
    for (at, event) in events.iter().enumerate() {
        let Event::Open(element) = event else { continue };
        if element.main && first_main.is_none() {
            first_main = Some(&events[at..=at + element.length + 1]);
        }
        if element.name == "article" {
            articles.push(&events[at..=at + element.length + 1]);
        }
    }
    // A main part that is nearly empty is filled by scripts: what the page says elsewhere is then all there is.
    let main = first_main.filter(|part| letters(part) * 10 >= all);
    let only_article = if articles.len() == 1 { articles.pop() } else { None };
    main.or(only_article.filter(|part| letters(part) * 2 >= all)).unwrap_or(events)
}

/// Adds the blocks of some events.
pub fn add(events: &[Event], builder: &mut Builder) {
    let whole = matches!(events.first(), Some(Event::Open(element)) if element.main || element.name == "article");
    let mut walk = Walk {
        builder,
        whole_page: !whole,
        open: Vec::new(),
        inline: String::new(),
        lists: Vec::new(),
        marker: None,
        tables: Vec::new(),
    };
    let mut at = 0;
    while at < events.len() {
        match &events[at] {
            Event::Open(element) if walk.skips(element) => at += element.length + 1,
            Event::Open(element) => walk.open(element),
            Event::Close => walk.close(),
            Event::Text(text) => walk.text(text),
        }
        at += 1;
    }
    walk.flush();
}

fn letters(events: &[Event]) -> usize {
    let mut count = 0;
    let mut at = 0;
    while at < events.len() {
        match &events[at] {
            Event::Open(element) if element.skip => at += element.length + 1,
            Event::Text(text) => count += text.chars().filter(|c| c.is_alphanumeric()).count(),
            _ => {}
        }
        at += 1;
    }
    count
}

/// An open list.
struct List {
    /// The number of the next item; `None` where it has bullets.
    next: Option<u64>,
}

/// The state of one pass over the events.
struct Walk<'e, 'b> {
    builder: &'b mut Builder,
    /// Whether the page's own header and footer may be among the events.
    whole_page: bool,
    open: Vec<&'e Element>,
    /// Inline text since the last block; a line feed in it is a line break.
    inline: String,
    lists: Vec<List>,
    /// The marker of the item whose first text is still to come.
    marker: Option<String>,
    /// Open data tables. In a layout table there is none, whatever stands around it.
    tables: Vec<Option<Table>>,
}

impl<'e> Walk<'e, '_> {
    fn skips(&self, element: &Element) -> bool {
        let framing = self.whole_page
            && matches!(element.name.as_str(), "header" | "footer" | "aside")
            && !self.open.iter().any(|open| matches!(open.name.as_str(), "article" | "section" | "main"));
        // A page that hides its body until a script runs still has that text.
        let root = matches!(element.name.as_str(), "html" | "body");
        (element.skip && !root) || framing
    }

    fn open(&mut self, element: &'e Element) {
        self.open.push(element);
        match element.name.as_str() {
            "br" => self.inline.push('\n'),
            "img" => {
                if let Some(alt) = &element.alt {
                    self.inline.push(' ');
                    self.push_inline(alt);
                    self.inline.push(' ');
                }
            }
            "q" => self.inline.push('"'),
            "ul" | "menu" => self.open_list(None),
            "ol" => self.open_list(Some(element.start)),
            "li" => {
                self.flush();
                self.marker = Some(match self.lists.last_mut() {
                    Some(List { next: Some(number) }) => {
                        let marker = format!("{number}.");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "-".to_owned(),
                });
            }
            "dd" => {
                self.flush();
                self.marker = Some("-".to_owned());
            }
            "table" => {
                self.flush();
                self.marker = None;
                self.tables.push((!element.layout).then(Table::default));
            }
            "tr" => {
                self.flush();
                if let Some(table) = self.table() {
                    table.row();
                }
            }
            "td" | "th" => {
                self.flush();
                if let Some(table) = self.table() {
                    table.cell(element.columns, element.rows);
                }
            }
            name if is_block(name) => self.flush(),
            _ => {}
        }
    }

    fn close(&mut self) {
        let Some(element) = self.open.last().copied() else { return };
        match element.name.as_str() {
            "q" => self.inline.push('"'),
            "ul" | "ol" | "menu" => {
                self.flush();
                self.lists.pop();
            }
            "li" | "dd" => {
                self.flush();
                self.marker = None;
            }
            "td" | "th" => {
                self.flush();
                if let Some(table) = self.table() {
                    table.end_cell();
                }
            }
            "table" => {
                self.flush();
                if let Some(Some(table)) = self.tables.pop() {
                    table.finish(self.builder);
                }
            }
            name if is_block(name) => self.flush(),
            _ => {}
        }
        self.open.pop();
    }

    fn open_list(&mut self, next: Option<u64>) {
        self.flush();
        self.lists.push(List { next });
    }

    fn table(&mut self) -> Option<&mut Table> {
        self.tables.last_mut()?.as_mut()
    }

    fn is_inside(&self, name: &str) -> bool {
        self.open.iter().any(|open| open.name == name)
    }

    fn text(&mut self, text: &str) {
        if self.is_inside("pre") {
            self.inline.push_str(text);
        } else {
            self.push_inline(text);
        }
    }

    /// Adds text in which line ends mean nothing.
    fn push_inline(&mut self, text: &str) {
        self.inline.extend(text.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    }

    /// Makes a block of the inline text so far.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.inline);
        if text.trim().is_empty() {
            return;
        }
        if let Some(table) = self.table() {
            let Some(outside) = table.text(text.trim()) else { return };
            self.builder.paragraph(outside);
            return;
        }
        if self.is_inside("pre") {
            self.marker = None;
            self.builder.code(&text);
            return;
        }
        let heading = self.open.iter().rev().find_map(|open| match open.name.as_bytes() {
            [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
            _ => None,
        });
        let depth = self.lists.len().saturating_sub(1);
        match (heading, self.marker.take()) {
            (Some(level), _) => self.builder.heading(level, &text),
            (None, Some(marker)) => self.builder.item(depth, &marker, &text),
            (None, None) if self.is_inside("li") => self.builder.continue_on_new_line(BlockKind::ListItem, &text),
            (None, None) => self.builder.paragraph(&text),
        }
    }
}

/// Elements that begin and end a block of text.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "details"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "hr"
            | "html"
            | "legend"
            | "main"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "tbody"
            | "tfoot"
            | "thead"
    )
}
