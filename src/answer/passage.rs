//! A passage as the check and the quotes read it: sentences, and rows of tables below their header.

use std::collections::HashSet;
use std::ops::Range;

use intramuros_ingest::document::Language;

use super::facts::{Facts, facts, fold, folded_words};
use super::number_words;
use crate::retrieve::spans::{Span, cells, spans};
use crate::store::{StoredChunk, bm25};

/// What a stretch of text states.
#[derive(Clone, Default)]
pub struct Said {
    /// What must be right to the letter.
    pub facts: Facts,
    /// Stems of the words that matter.
    pub terms: HashSet<u32>,
    /// All words, folded.
    pub words: HashSet<String>,
    /// Stems of the words that are denied: the first that matters behind each negation.
    pub denied: HashSet<u32>,
}

impl Said {
    /// Reads a text in a language, or in both where it is not known.
    pub fn read(text: &str, language: Option<Language>) -> Self {
        let facts = facts(text, language);
        let terms = terms(&facts.words, language);
        let mut denied = HashSet::new();
        for behind in &facts.denied {
            denied.extend(
                behind
                    .split(' ')
                    .map(|word| self::terms(word, language))
                    .find(|terms| !terms.is_empty())
                    .unwrap_or_default(),
            );
        }
        Self { facts, terms, words: folded_words(text).collect(), denied }
    }

    /// Adds what another stretch of the same text states.
    pub fn add(&mut self, other: &Self) {
        self.facts.add(&other.facts);
        self.denied.extend(&other.denied);
        self.terms.extend(&other.terms);
        self.words.extend(other.words.iter().cloned());
    }
}

/// Words that stand for what the sentence before names.
const PRONOUNS: &[&str] = &["it", "they", "he", "she", "ella", "ellas", "ello", "ellos"];

fn begins_with_pronoun(sentence: &str) -> bool {
    folded_words(sentence).next().is_some_and(|first| PRONOUNS.contains(&first.as_str()))
}

/// Sentences that may stand above a table and speak of it.
const MAX_PREFACE: usize = 2;

/// What stands right above the table that begins behind some pieces, or where its first row found it.
fn preface_of(pieces: &[Piece], table: usize) -> Option<(usize, Said)> {
    let is_of = |piece: &&Piece| piece.span.row.as_ref().is_some_and(|row| row.table == table);
    if let Some(first) = pieces.iter().find(is_of) {
        return first.preface.clone();
    }
    let above = pieces.iter().rev().take_while(|piece| piece.span.row.is_none()).take(MAX_PREFACE);
    let mut preface: Option<(usize, Said)> = None;
    for piece in above {
        let said = preface.map(|(_, said)| said).unwrap_or_default();
        let mut whole = piece.said.clone();
        whole.add(&said);
        preface = Some((piece.span.range.start, whole));
    }
    if let Some((_, said)) = &mut preface {
        // «Above 500 euros a trip needs approval» is no figure of a row.
        said.facts.keep_dates_only();
    }
    preface
}

/// The clauses of a sentence that denies something, as far as the denial leaves them alone: those before it, and those that
/// stand against it. «It is not allowed to smoke and eat here» denies both.
fn clauses_apart(sentence: &str, language: Option<Language>) -> Vec<Said> {
    let mut clauses = Vec::new();
    let mut is_denied = false;
    for (joint, text) in joined_clauses(sentence, language) {
        let said = Said::read(&text, language);
        is_denied = (is_denied && !AGAINST.contains(&joint.as_str())) || said.facts.negations > 0;
        if !is_denied {
            clauses.push(said);
        }
    }
    clauses
}

/// Joints before what stands against the clause before it.
const AGAINST: &[&str] = &["but", "while", "whereas", "pero", "mientras", "sino"];

/// By how much the figures of a table are to be multiplied: «in thousands of euros».
fn scale_of(preface: &str) -> Option<f64> {
    let words: Vec<String> = folded_words(preface).collect();
    words.windows(2).find_map(|pair| match [pair[0].as_str(), pair[1].as_str()] {
        ["in", "thousands"] | ["en", "miles"] => Some(1e3),
        ["in", "millions"] | ["en", "millones"] => Some(1e6),
        _ => None,
    })
}

/// Words that begin another clause.
const JOINTS: &[&str] = &["and", "but", "while", "whereas", "which", "y", "e", "pero", "mientras", "sino"];

/// The clauses of a sentence, cut before conjunctions, before a relative clause that a comma sets apart, and behind
/// semicolons. A comma alone is no cut: «In Sevilla, …» says where all that follows holds.
pub fn clause_texts(sentence: &str, language: Option<Language>) -> Vec<String> {
    joined_clauses(sentence, language).into_iter().map(|(_, text)| text).collect()
}

/// The clauses, each with the word that joins it to the one before.
fn joined_clauses(sentence: &str, language: Option<Language>) -> Vec<(String, String)> {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let mut texts: Vec<(String, String)> = vec![Default::default()];
    for (at, word) in words.iter().enumerate() {
        let number_follows =
            words.get(at + 1).is_some_and(|next| number_words::parse(&[fold(next).as_str()], language).is_some());
        let folded = fold(word);
        let relative = folded == "que" && at > 0 && words[at - 1].ends_with(',');
        if (JOINTS.contains(&folded.as_str()) && !number_follows) || relative {
            texts.push((folded, String::new()));
            continue;
        }
        if let Some((_, text)) = texts.last_mut() {
            text.push(' ');
            text.push_str(word);
        }
        if word.ends_with(';') {
            texts.push(Default::default());
        }
    }
    texts
}

/// Stems of the words that matter, by the analysis of a language, or of both where it is not known.
pub fn terms(text: &str, language: Option<Language>) -> HashSet<u32> {
    bm25::words(text, language).into_iter().collect()
}

/// A sentence or row that was read.
pub struct Piece {
    /// Where it stands.
    pub span: Span,
    said: Said,
    /// Of a sentence that denies something, its clauses one by one: what holds of one need not of the next.
    pub clauses: Vec<Said>,
    /// Of a row, the sentences that stand right above its table, and where they begin.
    pub preface: Option<(usize, Said)>,
    /// Of a row, with the header cell above each.
    cells: Vec<(Said, Option<Said>)>,
}

/// A chunk that was read.
pub struct Passage<'a> {
    /// The chunk.
    pub chunk: &'a StoredChunk,
    /// Its sentences and rows.
    pub pieces: Vec<Piece>,
    /// Its title and headings.
    pub context: Said,
    /// Its language, where clear.
    pub language: Option<Language>,
}

impl<'a> Passage<'a> {
    /// Reads a chunk.
    pub fn read(chunk: &'a StoredChunk) -> Self {
        let language = chunk.language;
        let read_cells = |range: &Range<usize>| -> Vec<Said> {
            cells(&chunk.text[range.clone()]).map(|cell| Said::read(cell, language)).collect()
        };
        let mut pieces = Vec::new();
        for span in spans(&chunk.text) {
            let said = Said::read(&chunk.text[span.range.clone()], language);
            let preface = span.row.as_ref().and_then(|row| preface_of(&pieces, row.table));
            let above = preface.as_ref().map_or("", |(start, _)| &chunk.text[*start..span.range.start]);
            let scale = scale_of(above);
            let mut row_cells = Vec::new();
            if let Some(row) = &span.row {
                let mut header = row.header.as_ref().map(read_cells).unwrap_or_default().into_iter();
                row_cells.extend(read_cells(&span.range).into_iter().map(|mut cell| {
                    cell.facts.scale(scale);
                    (cell, header.next())
                }));
            }
            let clauses = if said.facts.negations > 0 && span.row.is_none() {
                clauses_apart(&chunk.text[span.range.clone()], language)
            } else {
                Vec::new()
            };
            pieces.push(Piece { span, said, clauses, preface, cells: row_cells });
        }
        let context = Said::read(&format!("{}\n{}", chunk.title, chunk.section.join("\n")), language);
        Self { chunk, pieces, context, language }
    }

    /// What a piece states of the matter a claim speaks of: all of a sentence; of a row, the cells that the claim touches
    /// and the names of their columns. A column that it does not touch must not lend its name.
    pub fn said(&self, at: usize, claim: &Said) -> Said {
        let piece = &self.pieces[at];
        if piece.cells.is_empty() {
            let mut said = piece.said.clone();
            // «It is taught by …» speaks of what the sentence before it names. What that one denies is nothing to lend.
            if let Some(before) = at.checked_sub(1).map(|before| &self.pieces[before])
                && before.span.row.is_none()
                && before.said.facts.negations == 0
                && begins_with_pronoun(&self.chunk.text[piece.span.range.clone()])
            {
                said.terms.extend(&before.said.terms);
                said.words.extend(before.said.words.iter().cloned());
            }
            return said;
        }
        let mut said = Said::default();
        for (cell, header) in &piece.cells {
            let numbers = &cell.facts.numbers;
            let counted = !numbers.is_disjoint(&claim.facts.numbers);
            // Where the claim has figures, a cell of other figures is not what it speaks of, whatever its unit.
            let other_figures = !numbers.is_empty() && !claim.facts.numbers.is_empty() && !counted;
            // A code is a name and no word.
            let named = !cell.facts.names.is_disjoint(&claim.facts.names);
            let touched = counted || named || (!other_figures && !cell.terms.is_disjoint(&claim.terms));
            if touched {
                said.add(cell);
                if let Some(header) = header {
                    said.add(header);
                }
            }
        }
        said
    }

    /// How many of some words stand in a piece, or in what heads it.
    pub fn shared(&self, at: usize, terms: &HashSet<u32>) -> usize {
        let piece = &self.pieces[at];
        let heads = piece.cells.iter().filter_map(|(_, header)| header.as_ref());
        let holds = |term: &&u32| {
            piece.said.terms.contains(*term)
                || self.context.terms.contains(*term)
                || heads.clone().any(|header| header.terms.contains(*term))
        };
        terms.iter().filter(holds).count()
    }

    /// Whether a word stands in the same table as a row: if the row itself does not say it, it means another row or column.
    pub fn is_elsewhere_in_table(&self, at: usize, term: u32) -> bool {
        let Some(row) = &self.pieces[at].span.row else { return false };
        let same = |piece: &&Piece| piece.span.row.as_ref().is_some_and(|other| other.table == row.table);
        self.pieces.iter().filter(same).any(|piece| piece.said.terms.contains(&term))
    }
}
