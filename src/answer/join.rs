//! Neighbouring passages joined: what stands together in a document is read together.
//!
//! A section that was split over chunks comes back in pieces. The model reads them as one passage, and a sentence that
//! rests on the end of one chunk and the beginning of the next finds its support.

use std::ops::Range;

use crate::store::StoredChunk;

/// Joins chunks that follow each other in one section. A joined passage takes the place of its best chunk.
///
/// `text_of` gives a range of characters of a chunk's document. Where its answer does not hold the chunks' own texts
/// (the document has changed since, or its readers have), they stay apart.
pub fn join(
    chunks: Vec<StoredChunk>,
    text_of: &dyn Fn(&StoredChunk, Range<usize>) -> Option<String>,
) -> Vec<StoredChunk> {
    let mut ranked: Vec<(usize, StoredChunk)> = chunks.into_iter().enumerate().collect();
    ranked.sort_by_key(|(_, chunk)| (chunk.document_id, chunk.position));
    let mut joined: Vec<(usize, StoredChunk)> = Vec::with_capacity(ranked.len());
    for run in ranked.chunk_by(|(_, first), (_, second)| follows(first, second)) {
        match whole(run, text_of) {
            Some(passage) => joined.push(passage),
            None => joined.extend_from_slice(run),
        }
    }
    joined.sort_by_key(|(rank, _)| *rank);
    joined.into_iter().map(|(_, chunk)| chunk).collect()
}

/// The positions that lie alone between two of these chunks of the same section: with them there would be no gap.
pub fn gaps(chunks: &[StoredChunk]) -> Vec<(&StoredChunk, u32)> {
    let mut gaps = Vec::new();
    for before in chunks {
        let between = before.position + 1;
        let at = |position| {
            move |other: &&StoredChunk| other.document_id == before.document_id && other.position == position
        };
        let after = chunks.iter().find(at(between + 1));
        if after.is_some_and(|after| after.section == before.section) && !chunks.iter().any(|c| at(between)(&c)) {
            gaps.push((before, between));
        }
    }
    gaps
}

fn follows(first: &StoredChunk, second: &StoredChunk) -> bool {
    first.document_id == second.document_id && first.position + 1 == second.position && first.section == second.section
}

fn whole(
    run: &[(usize, StoredChunk)],
    text_of: &dyn Fn(&StoredChunk, Range<usize>) -> Option<String>,
) -> Option<(usize, StoredChunk)> {
    let (first, last) = (&run.first()?.1, &run.last()?.1);
    if run.len() == 1 {
        return Some(run[0].clone());
    }
    let text = text_of(first, first.start..last.end)?;
    let mut rest = text.chars();
    let mut at = first.start;
    for (_, chunk) in run {
        // `nth` takes one more than it skips.
        if let Some(last_skipped) = chunk.start.checked_sub(at)?.checked_sub(1) {
            rest.nth(last_skipped)?;
        }
        rest = rest.as_str().strip_prefix(chunk.text.as_str())?.chars();
        at = chunk.end;
    }
    let rank = run.iter().map(|(rank, _)| *rank).min()?;
    let language = if run.iter().all(|(_, chunk)| chunk.language == first.language) { first.language } else { None };
    Some((rank, StoredChunk { text, end: last.end, language, ..first.clone() }))
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::{ContentHash, DocumentId};

    use super::*;

    const TEXT: &str = "Uno: ñandú.\n\nDos. Tres.";

    fn chunk(document: &str, position: u32, range: Range<usize>) -> StoredChunk {
        StoredChunk {
            document_id: DocumentId::new("test", document),
            position,
            source: "test".into(),
            title: document.into(),
            uri: String::new(),
            section: vec!["A".into()],
            page: None,
            start: range.start,
            end: range.end,
            language: None,
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: slice(range),
        }
    }

    fn slice(range: Range<usize>) -> String {
        TEXT.chars().skip(range.start).take(range.len()).collect()
    }

    fn texts(chunks: Vec<StoredChunk>) -> Vec<String> {
        chunks.into_iter().map(|chunk| chunk.text).collect()
    }

    fn stored(_: &StoredChunk, range: Range<usize>) -> Option<String> {
        Some(slice(range))
    }

    #[test]
    fn neighbours_become_one_passage_at_the_best_place() {
        let [one, two, three] = [chunk("a", 0, 0..11), chunk("a", 1, 13..17), chunk("a", 2, 18..23)];
        let other = chunk("b", 1, 13..17);
        let joined = join(vec![three, other, one, two], &stored);
        assert_eq!((joined[0].start, joined[0].end, joined[0].position), (0, 23, 0));
        assert_eq!(texts(joined), [TEXT, "Dos."]);
    }

    #[test]
    fn another_section_a_gap_or_a_changed_text_keeps_them_apart() {
        let [one, two, three] = [chunk("a", 0, 0..11), chunk("a", 1, 13..17), chunk("a", 2, 18..23)];
        let elsewhere = StoredChunk { section: vec!["B".into()], ..two.clone() };
        assert_eq!(join(vec![one.clone(), elsewhere], &stored).len(), 2);
        assert_eq!(join(vec![one.clone(), three.clone()], &stored).len(), 2);
        assert_eq!(join(vec![one.clone(), two.clone()], &|_, _| None).len(), 2);
        assert_eq!(join(vec![one.clone(), two.clone()], &|_, _| Some("Uno: ñandú. Ein anderer.".into())).len(), 2);

        let pair = [three, one];
        let found: Vec<u32> = gaps(&pair).into_iter().map(|(_, position)| position).collect();
        assert_eq!(found, [1]);
        assert!(gaps(&[two.clone(), pair[1].clone()]).is_empty());
    }
}
