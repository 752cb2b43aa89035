//! A passage as the check and the quotes read it: sentences, and rows of tables below their header.

use std::collections::HashSet;
use std::ops::Range;

use intramuros_ingest::document::Language;

use super::dates;
use super::facts::{Facts, facts, fold, folded_words};
use crate::numbers::written;
use crate::retrieve::spans::{Span, cells, spans};
use crate::store::{StoredChunk, bm25};

/// «No receipts are needed» is «without needing receipts».
const DENIABLE: usize = 2;

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
    /// Those that may be meant by it: the first ones behind each negation.
    pub deniable: HashSet<u32>,
}

impl Said {
    /// Reads a text in a language, or in both where it is not known.
    pub fn read(text: &str, language: Option<Language>) -> Self {
        let facts = facts(text, language);
        let terms = terms(&facts.words, language);
        let (mut denied, mut deniable) = (HashSet::new(), HashSet::new());
        for (behind, to_mark) in &facts.denied {
            let read = |word| self::terms(word, language);
            let matter = |terms: &HashSet<u32>| !terms.is_empty();
            denied.extend(behind.split(' ').map(read).find(matter).unwrap_or_default());
            deniable.extend(behind.split(' ').take(*to_mark).map(read).filter(matter).take(DENIABLE).flatten());
        }
        deniable.extend(&denied);
        Self { facts, terms, words: folded_words(text).collect(), denied, deniable }
    }

    /// Adds what another stretch of the same text states.
    pub fn add(&mut self, other: &Self) {
        self.facts.add(&other.facts);
        self.denied.extend(&other.denied);
        self.deniable.extend(&other.deniable);
        self.terms.extend(&other.terms);
        self.words.extend(other.words.iter().cloned());
    }
}

/// Words that stand, as its subject, for what the sentence before names.
const SUBJECTS: &[&str] = &["it", "they", "he", "she", "ella", "ellas", "ello", "ellos"];

/// Verbs whose subject Spanish leaves to the sentence before where they begin a sentence.
const WITHOUT_SUBJECT: &[&str] = &[
    "abrio", "consta", "costo", "cuenta", "cuesta", "dispone", "dura", "duro", "era", "eran", "esta", "estaba", "fue",
    "fueron", "ha", "han", "media", "mide", "murio", "nacio", "pesa", "pesaba", "tenia", "tiene", "tienen", "tuvo",
];

/// Whether a sentence speaks of what the one before names: «It is …», «With an area of 3 km², it is …».
fn begins_with_pronoun(sentence: &str) -> bool {
    let is_pronoun = |text: &str| folded_words(text).next().is_some_and(|first| SUBJECTS.contains(&first.as_str()));
    is_pronoun(sentence) || sentence.split_once(", ").is_some_and(|(_, rest)| is_pronoun(rest))
}

/// Whether a Spanish sentence begins with its verb, a date aside: «El 18 de mayo de 1933 fue declarado …».
fn begins_with_verb(sentence: &str) -> bool {
    let words: Vec<&str> =
        sentence.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())).collect();
    let date = (0..2).find_map(|at| Some(at + dates::parse(words.get(at..)?)?.1));
    let year = || words.get(1).filter(|word| fold(words[0]) == "en" && word.len() == 4)?.parse::<u32>().ok().map(|_| 2);
    let verb = words.get(date.or_else(year).unwrap_or(0));
    verb.is_some_and(|verb| WITHOUT_SUBJECT.contains(&fold(verb).as_str()) && *verb != "esta" && *verb != "Esta")
}

/// Words of a subject: an article and a noun.
const SUBJECT: usize = 2;

/// Sentences that may stand above a table and speak of it.
const MAX_PREFACE: usize = 2;

/// What stands right above the table that begins behind some pieces, or where its first row found it.
fn preface_of(pieces: &[Piece], table: usize) -> Option<Preface> {
    let is_of = |piece: &&Piece| piece.span.row.as_ref().is_some_and(|row| row.table == table);
    if let Some(first) = pieces.iter().find(is_of) {
        return first.preface.clone();
    }
    let above = pieces.iter().rev().take_while(|piece| piece.span.row.is_none()).take(MAX_PREFACE);
    let mut preface: Option<Preface> = None;
    for piece in above {
        let preface = preface.get_or_insert_default();
        preface.start = piece.span.range.start;
        preface.said.add(&piece.said);
        if piece.said.facts.negations == 0 {
            preface.affirmed.get_or_insert_default().add(&piece.said);
        }
    }
    if let Some(Preface { said, affirmed, .. }) = &mut preface {
        // «Above 500 euros a trip needs approval» is no figure of a row.
        said.facts.keep_dates_only();
        *affirmed = affirmed.take().filter(|_| said.facts.negations > 0);
        if let Some(affirmed) = affirmed {
            affirmed.facts.keep_dates_only();
        }
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

/// What stands right above a table.
#[derive(Clone, Default)]
pub struct Preface {
    /// Where it begins.
    start: usize,
    /// All of it.
    pub said: Said,
    /// If a sentence of it denies something, the other one: «The figures have not been audited» denies nothing of a row.
    pub affirmed: Option<Said>,
}

/// By how much the figures below the head of a column are to be multiplied: «Revenue (thousands of euros)».
fn scale_of_column(head: &str) -> Option<f64> {
    let words: Vec<String> = folded_words(head).collect();
    scale_of(head).or_else(|| {
        words.windows(2).find_map(|pair| match [pair[0].as_str(), pair[1].as_str()] {
            ["thousands", "of"] | ["miles", "de"] => Some(1e3),
            ["millions", "of"] | ["millones", "de"] => Some(1e6),
            _ => None,
        })
    })
}

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
            words.get(at + 1).is_some_and(|next| written::parse(&[fold(next).as_str()], language).is_some());
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
    /// Of a row, the sentences that stand right above its table.
    pub preface: Option<Preface>,
    /// Of a sentence, the one that its paragraph begins with.
    topic: Option<usize>,
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
        let heads = format!("{}\n{}", chunk.title, chunk.section.join("\n"));
        let mut pieces = Vec::new();
        for span in spans(&chunk.text) {
            let said = Said::read(&chunk.text[span.range.clone()], language);
            let preface = span.row.as_ref().and_then(|row| preface_of(&pieces, row.table));
            let above = preface.as_ref().map_or("", |preface| &chunk.text[preface.start..span.range.start]);
            let scale = scale_of(above).or_else(|| scale_of(&heads));
            let mut row_cells = Vec::new();
            if let Some(row) = &span.row {
                let mut header = row.header.as_ref().map(read_cells).unwrap_or_default().into_iter();
                let mut heads = row.header.iter().flat_map(|range| cells(&chunk.text[range.clone()]));
                row_cells.extend(read_cells(&span.range).into_iter().map(|mut cell| {
                    cell.facts.scale(scale.or(heads.next().and_then(scale_of_column)));
                    (cell, header.next())
                }));
            }
            let clauses = if said.facts.negations > 0 && span.row.is_none() {
                clauses_apart(&chunk.text[span.range.clone()], language)
            } else {
                Vec::new()
            };
            let begins = pieces.last().is_none_or(|last: &Piece| {
                span.row.is_some() || last.span.row.is_some() || {
                    chunk.text[last.span.range.end..span.range.start].bytes().filter(|byte| *byte == b'\n').count() > 1
                }
            });
            let at = pieces.len();
            let topic = if begins { None } else { pieces[at - 1].topic.or(Some(at - 1)) };
            pieces.push(Piece { span, said, clauses, preface, topic, cells: row_cells });
        }
        let context = Said::read(&heads, language);
        Self { chunk, pieces, context, language }
    }

    /// What a piece states of the matter a claim speaks of: all of a sentence; of a row, the cells that the claim touches
    /// and the names of their columns. A column that it does not touch must not lend its name.
    pub fn said(&self, at: usize, claim: &Said) -> Said {
        let piece = &self.pieces[at];
        if piece.cells.is_empty() {
            let mut said = piece.said.clone();
            for before in self.referred_to(at) {
                said.terms.extend(&before.said.terms);
                said.words.extend(before.said.words.iter().cloned());
            }
            if let Some(topic) = piece.topic {
                self.add_topic(&mut said, at, topic, claim);
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

    /// The sentences that a sentence speaks of: «It is taught by …» of what the one before it names, and if that one begins so
    /// as well, of what the one before that names. What a sentence denies is nothing to lend.
    fn referred_to(&self, at: usize) -> Vec<&Piece> {
        let text = |at: usize| &self.chunk.text[self.pieces[at].span.range.clone()];
        let lends =
            |before: &usize| self.pieces[*before].span.row.is_none() && self.pieces[*before].said.facts.negations == 0;
        let mut found = Vec::new();
        let mut next = at;
        while begins_with_pronoun(text(next))
            && let Some(before) = next.checked_sub(1).filter(lends)
        {
            found.push(&self.pieces[before]);
            next = before;
        }
        found
    }

    /// Adds what the first sentence of a paragraph lends a later one: what it begins with and its first name where the later
    /// one has no subject; that name where the claim says whose or where («the staff of Altamar») and the later one names
    /// nobody else.
    fn add_topic(&self, said: &mut Said, at: usize, topic: usize, claim: &Said) {
        let topic = &self.pieces[topic];
        let name = &topic.said.facts.first_name;
        let is_dropped = self.language == Some(Language::Spanish)
            && begins_with_verb(&self.chunk.text[self.pieces[at].span.range.clone()]);
        if is_dropped {
            let text = &self.chunk.text[topic.span.range.clone()];
            let first: Vec<&str> = text.split_whitespace().take(SUBJECT).collect();
            said.terms.extend(terms(&first.join(" "), self.language));
        }
        let others = said.facts.names.iter().any(|own| !name.contains(own));
        let is_owner = !name.is_empty() && name.iter().all(|word| claim.facts.owners.contains(word));
        if is_dropped || (is_owner && !others) {
            let spelled = topic.said.facts.words.split(' ').filter(|word| name.contains(&fold(word)));
            said.terms.extend(spelled.flat_map(|word| terms(word, self.language)));
            said.words.extend(name.iter().cloned());
        }
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
