//! A document's text as a page shows it: cut into its pages, with the cited place marked.

use std::ops::Range;

use serde::Serialize;

/// Characters shown at a time; a longer document has links to what stands before and after.
pub const PART: usize = 120_000;

/// What somebody wants to see of a document, in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The cited place.
    pub cited: Option<Range<usize>>,
    /// The [`checksum`] of what was cited, where known.
    pub sum: Option<String>,
    /// Where to begin instead.
    pub from: Option<usize>,
}

impl Place {
    /// The first character to show: the cited place with a good piece before it, or the beginning where that is near.
    pub fn first(&self) -> usize {
        if let Some(from) = self.from {
            return from;
        }
        match &self.cited {
            Some(cited) if cited.end > PART => cited.start.saturating_sub(PART / 4),
            _ => 0,
        }
    }
}

/// Tells whether a quote still stands in its place: FNV-1a of its UTF-8, as `common.js` reckons it
/// (<http://www.isthe.com/chongo/tech/comp/fnv/>). It goes into links, which quotes are too long for.
pub fn checksum(text: &str) -> String {
    let sum = text.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{sum:x}")
}

/// What the page shows.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Of paged formats each page, else one without a number.
    pub pages: Vec<Page>,
    /// Where the part before begins, if there is one.
    pub earlier: Option<usize>,
    /// Where the part after begins, if there is one.
    pub later: Option<usize>,
}

/// A page, or what of it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// 1-based.
    pub number: Option<usize>,
    /// In order.
    pub pieces: Vec<Piece>,
}

/// A run of text.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Its characters.
    pub text: String,
    /// Whether it is cited.
    pub marked: bool,
    /// Whether the cited place begins here.
    pub first: bool,
}

/// Cuts `slice`, the document's text from the character `first` on and one character longer than [`PART`] if there is
/// more, into pages and pieces. `page_starts` holds the first character of each page.
pub fn read(slice: &str, first: usize, page_starts: &[usize], cited: Option<&Range<usize>>) -> Reading {
    let mut characters: Vec<char> = slice.chars().collect();
    let later = (characters.len() > PART).then_some(first + PART);
    characters.truncate(PART);
    let end = first + characters.len();

    let mut cuts = vec![first, end];
    cuts.extend(page_starts.iter().copied().filter(|start| (first..end).contains(start)));
    if let Some(cited) = cited {
        cuts.extend([cited.start, cited.end].into_iter().filter(|at| (first..end).contains(at)));
    }
    cuts.sort_unstable();
    cuts.dedup();

    let mut pages: Vec<Page> = Vec::new();
    for cut in cuts.windows(2) {
        let (from, to) = (cut[0], cut[1]);
        let begun = page_starts.partition_point(|&start| start <= from);
        let number = (!page_starts.is_empty()).then_some(begun.max(1));
        if pages.last().is_none_or(|page| page.number != number) {
            pages.push(Page { number, pieces: Vec::new() });
        }
        let marked = cited.is_some_and(|cited| cited.contains(&from));
        let piece = Piece {
            text: characters[from - first..to - first].iter().collect(),
            marked,
            first: marked && cited.is_some_and(|cited| cited.start == from || cited.start < first && from == first),
        };
        if let Some(page) = pages.last_mut() {
            page.pieces.push(piece);
        }
    }
    Reading { pages, earlier: (first > 0).then(|| first.saturating_sub(PART)), later }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reading: &Reading) -> String {
        let mut shown = String::new();
        for page in &reading.pages {
            if let Some(number) = page.number {
                shown.push_str(&format!("({number})"));
            }
            for piece in &page.pieces {
                match (piece.marked, piece.first) {
                    (true, true) => shown.push_str(&format!("[#{}]", piece.text)),
                    (true, false) => shown.push_str(&format!("[{}]", piece.text)),
                    _ => shown.push_str(&piece.text),
                }
            }
        }
        shown
    }

    #[test]
    fn the_place_is_marked_in_characters_not_bytes() {
        assert_eq!(shown(&read("El año: cuatro días.", 0, &[], Some(&(3..6)))), "El [#año]: cuatro días.");
        assert_eq!(shown(&read("Plain", 0, &[], None)), "Plain");
        assert_eq!(shown(&read("Plain", 0, &[], Some(&(2..900)))), "Pl[#ain]");
        assert_eq!(shown(&read("Plain", 0, &[], Some(&(70..90)))), "Plain");
        assert!(read("", 0, &[], None).pages.is_empty());
    }

    #[test]
    fn a_place_may_reach_over_pages() {
        assert_eq!(shown(&read("one two three", 0, &[0, 4, 8], Some(&(2..6)))), "(1)on[#e ](2)[tw]o (3)three");
        // A part may begin inside a page, and inside the place.
        assert_eq!(shown(&read("wo three", 5, &[0, 4, 8], Some(&(2..6)))), "(2)[#w]o (3)three");
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(""), "811c9dc5");
        assert_eq!(checksum("foobar"), "bf9cf968");
        assert_ne!(checksum("año"), checksum("ano"));
    }

    #[test]
    fn a_long_document_comes_in_parts() {
        let long = "x".repeat(PART + 1);
        let reading = read(&long, 0, &[], None);
        assert_eq!((reading.earlier, reading.later), (None, Some(PART)));
        assert_eq!(reading.pages[0].pieces[0].text.len(), PART);
        let reading = read("the rest", PART, &[], None);
        assert_eq!((reading.earlier, reading.later), (Some(0), None));

        let far = Place { cited: Some(PART * 3..PART * 3 + 10), ..Place::default() };
        assert_eq!(far.first(), PART * 3 - PART / 4);
        assert_eq!(Place { cited: Some(10..20), ..Place::default() }.first(), 0);
        assert_eq!(Place { cited: Some(10..20), from: Some(7), ..Place::default() }.first(), 7);
    }
}
