//! The documents of the sample intranet against the texts they were made from: no word may be lost or torn on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use intramuros_ingest::document::RawDocument;
use intramuros_ingest::format;

/// Words of the page, not of the text: the company, headings of contents, heads and feet of pages, months of dates.
const FURNITURE: &str = "Quelmira Contenido Contents Versión Version Página Page Actualizado Updated Responsable Owner \
                         January February April mayo julio octubre";

/// The texts `NAME.pdf.md`, `NAME.docx.md` and `NAME.html.md` below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

/// What a document made from a text must show: no front matter, no marks of headings, lists and tables.
fn shown(source: &str) -> String {
    let body = source.splitn(3, "---\n").nth(2).expect("front matter");
    let mut shown = String::new();
    for line in body.lines() {
        let line = line.trim_start_matches(['#', '>', ' ']);
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let numbered = digits > 0 && line[digits..].starts_with(". ");
        shown.push_str(if numbered { &line[digits + 2..] } else { line });
        shown.push('\n');
    }
    shown
}

/// Words and numbers with how often they occur.
fn words(text: &str) -> BTreeMap<&str, usize> {
    let mut words = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *words.entry(word).or_default() += 1;
    }
    words
}

#[test]
fn every_word_of_a_sample_document_is_read_and_no_other() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/intranet");
    let mut found = Vec::new();
    sources(&samples.join("source"), &mut found);
    let mut of_pdf = 0;
    for source in found {
        let name = source.strip_prefix(samples.join("source")).expect("below it").with_extension("");
        let bytes = fs::read(samples.join("docs").join(&name)).expect("its document");
        let extracted = format::extract(&RawDocument { path: name.display().to_string(), bytes }).expect("text");
        let text = fs::read_to_string(&source).expect("its text");
        let (body, read) = (shown(&text), words(&extracted.text));
        for (word, count) in words(&body) {
            let times = read.get(word).copied().unwrap_or(0);
            assert!(times >= count, "{}: {word:?} stands {count} times in the text, read {times}", name.display());
        }
        // A word that lost a letter and stands elsewhere as well is seen by what is left of it.
        let known = words(&text);
        let foreign = |word: &str| {
            let number = word.bytes().all(|byte| byte.is_ascii_digit());
            !number && !known.contains_key(word) && !FURNITURE.split(' ').any(|other| other == word)
        };
        let foreign: Vec<&str> = read.into_keys().filter(|word| foreign(word)).collect();
        assert!(foreign.is_empty(), "{}: {foreign:?} stand nowhere in the text", name.display());
        of_pdf += usize::from(name.extension().is_some_and(|ending| ending == "pdf"));
    }
    assert!(of_pdf >= 10, "{of_pdf} PDF files");
}
