//! The second reader, pdf-extract, for files of which the first makes nothing.

use std::panic::catch_unwind;

use super::super::builder::Builder;
use crate::document::Extracted;

/// Reads a file page by page; `None` where this reader fails, panics or finds no words either.
pub fn read(bytes: &[u8]) -> Option<Extracted> {
    let pages = catch_unwind(|| pdf_extract::extract_text_from_mem_by_pages(bytes).ok()).ok().flatten()?;
    let letters = pages.iter().flat_map(|page| page.chars()).filter(|c| c.is_alphanumeric()).count();
    if letters < 3 {
        return None;
    }
    let mut builder = Builder::default();
    builder.warn("read by the second PDF reader: headings, columns and tables are not told apart");
    for page in &pages {
        builder.page();
        for paragraph in page.split("\n\n") {
            builder.paragraph(&paragraph.replace("-\n", "-\u{ad}").replace('\n', " "));
        }
    }
    builder.finish("").ok()
}
