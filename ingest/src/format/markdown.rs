//! Markdown (CommonMark with tables, footnotes, task lists and front matter): its words and structure without the marks.

use std::borrow::Cow;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::builder::Builder;
use super::{FormatError, decode, html};
use crate::document::{BlockKind, Extracted};

/// See [`super::fingerprint`].
pub const VERSION: u32 = 1;

/// Reads a Markdown file.
pub fn read(bytes: &[u8]) -> Result<Extracted, FormatError> {
    let decoded = decode::decode(bytes, None, "Markdown")?;
    let mut builder = Builder::default();
    if let Some(warning) = decoded.warning {
        builder.warn(warning);
    }
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_GFM
        | Options::ENABLE_DEFINITION_LIST;
    let text = without_template_tags(&decoded.text);
    let mut walk = Walk { builder, ..Walk::default() };
    for event in Parser::new_ext(&text, options) {
        walk.event(event);
    }
    walk.flush();
    walk.builder.finish("the file holds only white space, markup or front matter")
}

/// The state of one pass over the events of a document.
#[derive(Default)]
struct Walk {
    builder: Builder,
    /// Inline text since the last block.
    inline: String,
    heading: Option<u8>,
    /// For each open list the number of its next item, `None` where it has bullets.
    lists: Vec<Option<u64>>,
    /// The marker of the item whose first text is still to come.
    marker: Option<String>,
    /// Open items; text after the first of an item continues it.
    items: usize,
    table: Option<Vec<Vec<String>>>,
    code: Option<String>,
    metadata: bool,
    /// A block of raw HTML.
    html: Option<String>,
}

impl Walk {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.metadata => self.front_matter(&text),
            Event::Text(text) => self.sink().push_str(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.inline.push_str(&text),
            Event::Html(text) => self.sink().push_str(&text),
            Event::InlineHtml(tag) => {
                if tag.starts_with("<br") || tag.starts_with("<BR") {
                    self.inline.push('\n');
                }
            }
            Event::SoftBreak => self.inline.push(' '),
            Event::HardBreak => self.inline.push('\n'),
            Event::Rule => self.flush(),
            Event::TaskListMarker(done) => self.inline.push_str(if done { "[x] " } else { "[ ] " }),
            Event::FootnoteReference(_) => {}
        }
    }

    /// Where text goes now.
    fn sink(&mut self) -> &mut String {
        self.code.as_mut().or(self.html.as_mut()).unwrap_or(&mut self.inline)
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.flush();
                self.heading = Some(depth(level));
            }
            Tag::CodeBlock(_) => {
                self.flush();
                self.code = Some(String::new());
            }
            Tag::HtmlBlock => {
                self.flush();
                self.html = Some(String::new());
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                self.items += 1;
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}.");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "-".to_owned(),
                });
            }
            Tag::DefinitionListDefinition => {
                self.flush();
                self.items += 1;
                self.marker = Some("-".to_owned());
            }
            Tag::Table(_) => {
                self.flush();
                self.table = Some(Vec::new());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(rows) = &mut self.table {
                    rows.push(Vec::new());
                }
            }
            Tag::TableCell => self.inline.clear(),
            Tag::MetadataBlock(_) => self.metadata = true,
            Tag::Paragraph | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_) => self.flush(),
            Tag::DefinitionList | Tag::DefinitionListTitle => self.flush(),
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Superscript | Tag::Subscript => {}
            Tag::Link { .. } | Tag::Image { .. } => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                self.marker = None;
                self.builder.code(&code);
            }
            TagEnd::HtmlBlock => {
                let html = self.html.take().unwrap_or_default();
                html::add_fragment(&html, &mut self.builder);
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
            }
            TagEnd::Item | TagEnd::DefinitionListDefinition => {
                self.flush();
                self.items = self.items.saturating_sub(1);
                self.marker = None;
            }
            TagEnd::Table => {
                let rows = self.table.take().unwrap_or_default();
                self.marker = None;
                self.builder.table(&rows);
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.inline);
                if let Some(row) = self.table.as_mut().and_then(|rows| rows.last_mut()) {
                    row.push(cell);
                }
            }
            TagEnd::MetadataBlock(_) => self.metadata = false,
            TagEnd::Heading(_) => {
                self.flush();
                self.heading = None;
            }
            TagEnd::Paragraph | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition => self.flush(),
            TagEnd::DefinitionList | TagEnd::DefinitionListTitle => self.flush(),
            TagEnd::TableHead | TagEnd::TableRow | TagEnd::Link | TagEnd::Image => {}
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Superscript | TagEnd::Subscript => {}
        }
    }

    /// Makes a block of the inline text so far.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.inline);
        if text.trim().is_empty() {
            return;
        }
        if let Some(level) = self.heading {
            self.builder.heading(level, &text);
        } else if let Some(marker) = self.marker.take() {
            self.builder.item(self.items.saturating_sub(1), &marker, &text);
        } else if self.items > 0 {
            self.builder.continue_on_new_line(BlockKind::ListItem, &text);
        } else {
            self.builder.paragraph(&text);
        }
    }

    /// Takes the title from front matter. The other fields are settings of the site, not text of the document.
    fn front_matter(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once([':', '=']) else { continue };
            if matches!(key.trim_end(), "title" | "Title" | "titulo" | "título") {
                self.builder.title(unquoted(value.trim()));
            }
        }
    }
}

fn depth(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// Blanks the tags of site generators, `{% … %}` (Jekyll, Eleventy, Hugo's `{{< … >}}` and `{{% … %}}`), outside of
/// code; what stands between a pair of tags stays, except comments.
fn without_template_tags(text: &str) -> Cow<'_, str> {
    if !text.contains("{%") && !text.contains("{{<") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut fenced = false;
    let mut in_comment = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        }
        if fenced {
            out.push_str(line);
            continue;
        }
        let mut rest = line;
        while let Some((at, open, close)) = next_tag(rest) {
            // An inline code span shows the tag as text.
            let shown = rest[..at].matches('`').count() % 2 == 1;
            let Some(length) = rest[at..].find(close).map(|end| end + close.len()) else { break };
            let tag = rest[at + open.len()..at + length].trim_start_matches(['-', ' ']);
            if !in_comment {
                out.push_str(&rest[..if shown { at + length } else { at }]);
            }
            if !shown && tag.starts_with("comment") {
                in_comment = true;
            } else if !shown && tag.starts_with("endcomment") {
                in_comment = false;
            }
            rest = &rest[at + length..];
        }
        if !in_comment {
            out.push_str(rest);
        } else if rest.ends_with('\n') {
            out.push('\n');
        }
    }
    Cow::Owned(out)
}

/// The next template tag of a line: where it begins, what opens and what closes it.
fn next_tag(line: &str) -> Option<(usize, &'static str, &'static str)> {
    [("{{%", "%}}"), ("{{<", ">}}"), ("{%", "%}")]
        .into_iter()
        .filter_map(|(open, close)| line.find(open).map(|at| (at, open, close)))
        .min_by_key(|&(at, ..)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::BlockKind::{Code, Heading, ListItem, Paragraph, Table};

    fn blocks(text: &str) -> Vec<(BlockKind, String)> {
        let out = read(text.as_bytes()).unwrap();
        out.blocks.iter().map(|block| (block.kind, out.text[block.range.clone()].to_owned())).collect()
    }

    #[test]
    fn structure_without_markup() {
        let text = "---\ntitle: \"Guía de viajes\"\ntags: [a, b]\n---\n# Título *uno*\n\nUn **texto** con [enlace](http://x.y) y \
                    ![un mapa](m.png).\nSigue aquí.\n\n1. primero\n2. segundo\n   - anidado\n\n     otro párrafo\n\n| A | B |\n|---|---|\n| 1 | `x` |\n\n\
                    ```sh\nls  -l\n```\n\n<div class=\"x\"><p>html &amp; más</p><script>no()</script></div>\n\nNota[^1]\n\n[^1]: Al pie.\n";
        assert_eq!(read(text.as_bytes()).unwrap().title.as_deref(), Some("Guía de viajes"));
        let expected = [
            (Heading(1), "Título uno"),
            (Paragraph, "Un texto con enlace y un mapa. Sigue aquí."),
            (ListItem, "1. primero"),
            (ListItem, "2. segundo"),
            (ListItem, "- anidado\notro párrafo"),
            (Table, "A | B\n1 | x"),
            (Code, "ls  -l"),
            (Paragraph, "html & más"),
            (Paragraph, "Nota"),
            (Paragraph, "Al pie."),
        ];
        assert_eq!(blocks(text), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn generator_tags_go_and_code_stays() {
        let text = "{% alert \"x\" %}\nVisible {% page \"/a/b\" %}\n{% endalert %}\n{% comment %}\nhidden\n{% endcomment %}\n\nuse `{% x %}`\n";
        let all: String = blocks(text).into_iter().map(|(_, text)| text + "/").collect();
        assert_eq!(all, "Visible/use {% x %}/");
    }

    #[test]
    fn deep_nesting_neither_hangs_nor_overflows() {
        for text in
            ["> ".repeat(20_000) + "x", "- ".repeat(20_000) + "x", "[".repeat(50_000) + "x", "*a ".repeat(20_000)]
        {
            let _ = read(text.as_bytes());
        }
    }
}
