//! What paragraph styles say: heading levels and numbering.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::package::attribute;
use super::xml_error;
use crate::format::FormatError;

/// How far a chain of `basedOn` is followed.
const MAX_CHAIN: usize = 20;

/// The paragraph styles of a document.
#[derive(Default)]
pub struct Styles {
    by_id: HashMap<String, Style>,
}

#[derive(Default)]
struct Style {
    name: String,
    based_on: Option<String>,
    /// 0-based, 9 for body text.
    outline: Option<u8>,
    numbering: Option<String>,
    level: Option<u8>,
}

impl Styles {
    /// Parses `styles.xml`; an empty text has no styles.
    pub fn parse(xml: &str) -> Result<Self, FormatError> {
        let mut styles = Self::default();
        let mut reader = Reader::from_str(xml);
        let mut open: Option<(String, Style)> = None;
        loop {
            match reader.read_event().map_err(|_| xml_error(&reader))? {
                Event::Start(tag) | Event::Empty(tag) => {
                    if tag.local_name().as_ref() == "style" {
                        open = attribute(&tag, "styleId").map(|id| (id, Style::default()));
                    }
                    let (Some((_, style)), Some(value)) = (&mut open, attribute(&tag, "val")) else { continue };
                    match tag.local_name().as_ref() {
                        "name" => style.name = value.to_lowercase(),
                        "basedOn" => style.based_on = Some(value),
                        "outlineLvl" => style.outline = value.parse().ok(),
                        "numId" => style.numbering = Some(value),
                        "ilvl" => style.level = value.parse().ok(),
                        _ => {}
                    }
                }
                Event::End(tag) if tag.local_name().as_ref() == "style" => {
                    if let Some((id, style)) = open.take() {
                        styles.by_id.insert(id, style);
                    }
                }
                Event::Eof => return Ok(styles),
                _ => {}
            }
        }
    }

    /// The heading level, 1 to 6, that a style gives.
    pub fn heading(&self, id: &str) -> Option<u8> {
        for style in self.chain(id) {
            if let Some(outline) = style.outline {
                return (outline < 9).then_some(outline.min(5) + 1);
            }
            if style.name == "title" {
                return Some(1);
            }
            // Built-in styles keep their English name in every language of Word.
            if let Some(level) = style.name.strip_prefix("heading ").and_then(|level| level.trim().parse::<u8>().ok()) {
                return Some(level.clamp(1, 6));
            }
        }
        // A document without its styles still names them.
        let number = id.strip_prefix("Heading").or_else(|| id.strip_prefix("Ttulo"))?;
        if self.by_id.contains_key(id) { None } else { number.parse::<u8>().ok().map(|level| level.clamp(1, 6)) }
    }

    /// The numbering that a style gives: its id and level.
    pub fn numbering(&self, id: &str) -> Option<(String, u8)> {
        let numbering = self.chain(id).find_map(|style| style.numbering.clone())?;
        let level = self.chain(id).find_map(|style| style.level.or(style.outline)).unwrap_or(0);
        Some((numbering, level))
    }

    fn chain<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a Style> {
        let first = self.by_id.get(id);
        std::iter::successors(first, |style| self.by_id.get(style.based_on.as_ref()?)).take(MAX_CHAIN)
    }
}

/// The title in `docProps/core.xml`.
pub fn core_title(xml: &str) -> Result<String, FormatError> {
    let mut reader = Reader::from_str(xml);
    let mut title = String::new();
    let mut inside = false;
    loop {
        match reader.read_event().map_err(|_| xml_error(&reader))? {
            Event::Start(tag) => inside = tag.local_name().as_ref() == "title",
            Event::End(_) => inside = false,
            Event::Text(text) if inside => title.push_str(&text),
            Event::GeneralRef(name) if inside => title.push_str(&super::body::entity(&name)),
            Event::Eof => return Ok(title),
            _ => {}
        }
    }
}
