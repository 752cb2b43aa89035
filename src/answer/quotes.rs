//! Exact quotes: the sentences of the found passages that answer the question, as they stand.
//!
//! Each sentence has log-odds of being the one that answers, by its passage, by the question's words that it has, alone and
//! together with what stands around it, by whether it holds the kind of thing asked for, by its meaning and by how its tokens
//! match. The weights are those of a softmax regression over the sentences of the best passages (SQuAD 2.0 in English and
//! Spanish and, in English, the sample intranet, with the starter embedder). Quotes are shown, best first, until the answer
//! is among them with the [`Certainty`] asked for: one where it is plain, more where it may stand in several places. «They
//! have ordered a bench. It comes in May.» answers when it comes with its second sentence: where the best one is of another
//! kind than what is asked for, the next that is of that kind comes with it. An item of a list is quoted whole, below what
//! opens the list. A sentence of another document that says the same with another figure or date is shown beside the best,
//! the later edition first.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::AnswerMode;
use super::facts::folded_words;
use crate::gloss::Fluency;
use crate::retrieve::asked::{Asked, has_code};
use crate::retrieve::reading::Sentence;
use crate::retrieve::spans::Span;
use crate::retrieve::{Found, Retrieved};
use crate::store::StoredChunk;

mod disputes;

/// Sentences of one answer, and rows of tables, which may be a list.
const MAX_SENTENCES: usize = 4;
const MAX_ROWS: usize = 5;
/// Words of all quotes together, where the best alone has fewer.
const MAX_WORDS: usize = 110;
/// Passages that quotes are taken from.
const MAX_PASSAGES: usize = 5;
/// Sentences that the probability is shared among.
const MAX_LIKELY: usize = 14;
/// Words of the shortest quote.
const MIN_WORDS: usize = 4;
/// Words of the item of a list that is quoted whole.
const ITEM_WORDS: usize = 40;
/// From this relevance on the passages answer plainly; where they have none, this much certainty is wanted.
const PLAIN: f32 = 0.7;
const UNSURE: f32 = 0.95;
/// Words that a heading may have beside those of the title.
const LETTERHEAD: usize = 2;
/// Sentences behind the best one in which what is asked for may follow.
const REACH: usize = 2;
/// The least probability of a quote behind the first: what answers less than once in fifteen times is padding.
const LEAST_SHARE: f32 = 0.065;
/// What a sentence loses, in log-odds, whose document was replaced, where nobody asks for the past; and one without the code
/// that the question names, where another one has it. Not fitted: the questions of SQuAD name neither.
const REPLACED: f32 = 8.0;
const NO_CODE: f32 = 3.0;
/// What a sentence gains, in log-odds, whose range covers the amount that the question names, and loses whose ranges do not.
const RANGE: f32 = 3.0;
/// How much less likely the sentence on another name may be, in log-odds.
const NAME_REACH: f32 = 4.0;
/// Log-odds that each word costs a quote behind the first: of two that are as likely, the shorter is shown.
const WORD_COST: f32 = 0.02;

/// What speaks for a sentence and how much it counts, in log-odds.
struct Weights {
    passage: f32,
    words: f32,
    around: f32,
    kind: f32,
    meaning: f32,
    matching: f32,
}

/// In a language that the embedder knows, where it tells tokens and where it does not.
const NATIVE: Weights = Weights { passage: 7.6, words: 0.6, around: 4.5, kind: 1.1, meaning: 4.3, matching: 9.1 };
const NATIVE_WHOLE: Weights = Weights { passage: 9.0, words: 3.2, around: 4.9, kind: 0.9, meaning: 6.5, matching: 0.0 };
/// In one that it reads by its gloss.
const GLOSSED: Weights = Weights { passage: 10.7, words: 1.6, around: 4.1, kind: 1.0, meaning: 1.9, matching: 4.7 };
const GLOSSED_WHOLE: Weights =
    Weights { passage: 10.8, words: 2.8, around: 4.4, kind: 1.0, meaning: 3.8, matching: 0.0 };
/// In one that it does not read.
const UNREAD: Weights = Weights { passage: 10.9, words: 4.4, around: 4.4, kind: 1.1, meaning: 0.0, matching: 0.0 };

/// What a passage counts by the probability of a reranker, which is near 0 or 1 for most.
const RERANKED: f32 = 3.0;

/// The probability with which the answer is to be among the quotes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certainty(f32);

impl Certainty {
    /// Who asks for quotes reads them; who asks for a sentence and gets quotes wants few. Where the passages seem to answer
    /// less surely, in the `relevance` that they have, the best sentence is less sure too, and more are shown.
    pub fn of(asked: AnswerMode, relevance: f32) -> Self {
        let least = match asked {
            AnswerMode::Extract => 0.82,
            AnswerMode::Generate => 0.74,
        };
        let doubt = ((PLAIN - relevance) / PLAIN).clamp(0.0, 1.0);
        Self(least + (UNSURE - least) * doubt)
    }
}

/// A sentence, or a table row, of a passage.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    /// The passage.
    pub chunk: &'a StoredChunk,
    /// Where it stands in its text.
    pub span: Span,
    /// What stands above the list that it is an item of, and says of what.
    pub lead: Option<Range<usize>>,
    /// The rank of its passage and its place in that.
    pub at: (usize, usize),
    words: usize,
    fits: bool,
    log_odds: f32,
    /// Whether another document says something else of the same, and is quoted too.
    pub is_disputed: bool,
}

impl Quote<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (&self.span.range, &other.span.range);
        self.at.0 == other.at.0 && own.start < others.end && others.start < own.end
    }

    /// The header of its table, or what opens its list.
    fn head(&self) -> Option<Range<usize>> {
        self.span.row.as_ref().and_then(|row| row.header.clone()).or_else(|| self.lead.clone())
    }

    /// Whether it says all words of a name itself, or else with the headings above it.
    fn names(&self, name: &BTreeSet<String>, by_headings: bool) -> bool {
        let headings = self.chunk.section.iter().map(String::as_str).chain([self.chunk.title.as_str()]);
        let headings = headings.filter(|_| by_headings);
        let words: HashSet<String> =
            headings.chain([&self.chunk.text[self.span.shown()]]).flat_map(folded_words).collect();
        name.iter().all(|word| words.contains(word))
    }
}

#[cfg(test)]
impl<'a> Quote<'a> {
    /// A quote of a place, for tests.
    pub fn of(chunk: &'a StoredChunk, span: Span, at: (usize, usize)) -> Self {
        Self { chunk, span, lead: None, at, words: 10, fits: true, log_odds: 0.0, is_disputed: false }
    }
}

impl Weights {
    fn log_odds(&self, found: &Found, sentence: &Sentence, is_specific: bool) -> f32 {
        let kind = if is_specific { f32::from(u8::from(sentence.fits)) } else { 0.5 };
        self.passage * found.score
            + self.words * sentence.words
            + self.around * sentence.around
            + self.kind * kind
            + self.meaning * sentence.meaning.unwrap_or(0.0)
            + self.matching * sentence.matching.unwrap_or(0.0)
            + sentence.speaks_for.map_or(0.0, |speaks| if speaks { RANGE } else { -RANGE })
            - if found.is_past { REPLACED } else { 0.0 }
    }
}

/// All sentences of the best passages, the likeliest first.
fn weighed<'a>(retrieved: &'a Retrieved, weights: &Weights) -> Vec<Quote<'a>> {
    let asked = &retrieved.asked;
    let mut quotes = Vec::new();
    for (rank, found) in retrieved.found.iter().take(MAX_PASSAGES).enumerate() {
        let sentences = found.sentences.iter().enumerate();
        let says_something = |sentence: &Sentence| {
            let text = &found.chunk.text[sentence.span.range.clone()];
            // «1. Passwords of people» is a heading.
            let is_heading = || sentence.span.row.is_none() && is_heading(text, &found.chunk);
            sentence.length >= MIN_WORDS + usize::from(is_item(text)) && !sentence.is_question && !is_heading()
        };
        for (at, sentence) in sentences.filter(|(_, sentence)| says_something(sentence)) {
            let (span, words) = whole(&found.chunk.text, &found.sentences, at);
            quotes.push(Quote {
                chunk: &found.chunk,
                span,
                lead: lead(&found.chunk.text, &found.sentences, at),
                at: (rank, at),
                words,
                fits: sentence.fits,
                log_odds: weights.log_odds(found, sentence, asked.is_specific()),
                is_disputed: false,
            });
        }
    }
    let is_of_code = |quote: &Quote<'_>| {
        let headings = quote.chunk.section.iter().chain([&quote.chunk.title]).map(String::as_str);
        let texts: Vec<&str> = headings.chain([&quote.chunk.text[quote.span.shown()]]).collect();
        asked.codes().iter().any(|code| texts.iter().any(|text| has_code(text, code)))
    };
    if quotes.iter().any(is_of_code) {
        quotes.iter_mut().filter(|quote| !is_of_code(quote)).for_each(|quote| quote.log_odds -= NO_CODE);
    }
    quotes.sort_by(|a, b| b.log_odds.total_cmp(&a.log_odds));
    without_twins(quotes)
}

/// Sorted quotes, those of one place as one, which is as likely as all of them together.
fn without_twins(sorted: Vec<Quote<'_>>) -> Vec<Quote<'_>> {
    let mut quotes: Vec<Quote<'_>> = Vec::new();
    for quote in sorted {
        match quotes.iter_mut().find(|other| other.at.0 == quote.at.0 && other.span == quote.span) {
            Some(twin) => {
                twin.log_odds += (quote.log_odds - twin.log_odds).exp().ln_1p();
                twin.fits |= quote.fits;
            }
            None => quotes.push(quote),
        }
    }
    quotes.sort_by(|a, b| b.log_odds.total_cmp(&a.log_odds));
    quotes
}

/// The quotes for a question, best first, those of one table or list together; at least one where a sentence says something.
pub fn best(retrieved: &Retrieved, certainty: Certainty) -> Vec<Quote<'_>> {
    let mut weights = match (retrieved.fluency, retrieved.knows_tokens()) {
        (Fluency::Native, true) => NATIVE,
        (Fluency::Native, false) => NATIVE_WHOLE,
        (Fluency::Gloss, true) => GLOSSED,
        (Fluency::Gloss, false) => GLOSSED_WHOLE,
        (Fluency::None, _) => UNREAD,
    };
    if retrieved.is_reranked {
        weights.passage = RERANKED;
    }
    let is_specific = retrieved.asked.is_specific();
    let all = weighed(retrieved, &weights);
    let following = all.first().filter(|best| is_specific && !best.fits).and_then(|best| following(best, &all));
    let likely = &all[..all.len().min(MAX_LIKELY)];
    let other = likely.first().and_then(|best| disputes::disputing(best, likely, retrieved));
    let best_at = likely.first().map(|best| best.at);
    let mut chosen = chosen(likely.to_vec(), following.or_else(|| other.clone()), certainty);
    if let (Some(best), Some(other)) = (best_at, other) {
        disputes::put_side_by_side(&mut chosen, [best, other.at]);
    }
    chosen.extend(of_other_names(&chosen, &all, &retrieved.asked));
    below_one_head(chosen)
}

/// Quotes with those of one table or list behind each other: below the head of another one an item would say what it does
/// not.
fn below_one_head(mut quotes: Vec<Quote<'_>>) -> Vec<Quote<'_>> {
    let mut grouped: Vec<Quote<'_>> = Vec::with_capacity(quotes.len());
    while !quotes.is_empty() {
        let first = quotes.remove(0);
        let head = first.head();
        let is_beside = |other: &Quote<'_>| head.is_some() && other.at.0 == first.at.0 && other.head() == head;
        let (beside, others): (Vec<_>, Vec<_>) = quotes.into_iter().partition(is_beside);
        grouped.push(first);
        grouped.extend(beside);
        quotes = others;
    }
    grouped
}

/// For each of the names that a question joins («the price of the Heron and the Osprey») and that no quote speaks of, the best
/// sentence that does. «Health and Safety» is one name, which somewhere stands whole.
fn of_other_names<'a>(chosen: &[Quote<'a>], all: &[Quote<'a>], asked: &Asked) -> Vec<Quote<'a>> {
    let names = asked.joined_names();
    let Some(best) = chosen.first() else { return Vec::new() };
    let joined: BTreeSet<&String> = names.iter().flatten().collect();
    let is_one_name = |quote: &Quote<'a>| {
        let words: Vec<String> = folded_words(&quote.chunk.text[quote.span.shown()]).collect();
        let holds_all = |window: &[String]| joined.iter().all(|word| window.contains(word));
        words.windows((joined.len() + names.len() - 1).min(words.len()).max(1)).any(holds_all)
    };
    if names.is_empty() || all.iter().any(is_one_name) {
        return Vec::new();
    }
    let mut others: Vec<Quote<'a>> = Vec::new();
    for name in names {
        let shown = || chosen.iter().chain(&others);
        // «It costs 310 euros» below «Heron» speaks of the Heron, unless others name it.
        let by_headings = !all.iter().any(|quote| quote.names(name, false));
        if !shown().any(|quote| quote.names(name, by_headings)) {
            let words: usize = shown().map(|quote| quote.words).sum();
            let is_one = |quote: &&Quote<'a>| {
                (quote.fits || !asked.is_specific())
                    && quote.names(name, by_headings)
                    && best.log_odds - quote.log_odds <= NAME_REACH
                    && words + quote.words <= MAX_WORDS
                    && !shown().any(|other| other.overlaps(quote))
            };
            let other = all.iter().filter(is_one).max_by(|a, b| a.log_odds.total_cmp(&b.log_odds)).cloned();
            others.extend(other);
        }
    }
    others
}

/// A sentence as it is quoted, with its length: one that ends with a colon with the list that it opens, and one of a short
/// item of a list with the whole of the item.
fn whole(text: &str, sentences: &[Sentence], at: usize) -> (Span, usize) {
    let of = |sentence: &Sentence| &text[sentence.span.range.clone()];
    let (mut span, mut words) = (sentences[at].span.clone(), sentences[at].length);
    if of(&sentences[at]).trim_end().ends_with(':') {
        let mut next = at + 1;
        while next < sentences.len()
            && let Some(item) = item_of(text, sentences, next)
        {
            words += sentences[item.clone()].iter().map(|sentence| sentence.length).sum::<usize>();
            if words > MAX_WORDS {
                break;
            }
            span.range.end = sentences[item.end - 1].span.range.end;
            next = item.end;
        }
    } else if let Some(item) = item_of(text, sentences, at) {
        let length = sentences[item.clone()].iter().map(|sentence| sentence.length).sum();
        if length <= ITEM_WORDS {
            span.range = sentences[item.start].span.range.start..sentences[item.end - 1].span.range.end;
            words = length;
        }
    }
    (span, words.min(MAX_WORDS))
}

/// The sentences of the item of a list that one of them is in.
fn item_of(text: &str, sentences: &[Sentence], at: usize) -> Option<Range<usize>> {
    let begins_line =
        |at: usize| at == 0 || text[sentences[at - 1].span.range.end..sentences[at].span.range.start].contains('\n');
    let first = (0..=at).rev().find(|at| begins_line(*at))?;
    let is_one = sentences[first].span.row.is_none() && is_item(&text[sentences[first].span.range.clone()]);
    let end = (at + 1..sentences.len()).find(|at| begins_line(*at)).unwrap_or(sentences.len());
    is_one.then_some(first..end)
}

/// What stands above the list that a sentence is an item of, and ends with a colon: «What is never restored:».
fn lead(text: &str, sentences: &[Sentence], at: usize) -> Option<Range<usize>> {
    let mut item = item_of(text, sentences, at)?;
    while let Some(before) = item.start.checked_sub(1) {
        let range = &sentences[before].span.range;
        if sentences[before].span.row.is_none() && text[range.clone()].ends_with(':') {
            return Some(range.clone());
        }
        item = item_of(text, sentences, before)?;
    }
    None
}

/// Whether a line is a heading above it, with a word or two of a letterhead perhaps: each page of a PDF may begin with its
/// title.
fn is_heading(line: &str, chunk: &StoredChunk) -> bool {
    let words: Vec<String> = folded_words(line).collect();
    let is_of = |heading: &String| {
        let heading: Vec<String> = folded_words(heading).collect();
        let holds = !heading.is_empty() && words.windows(heading.len()).any(|window| *window == heading);
        holds && words.len() <= heading.len() + LETTERHEAD
    };
    // «Notice period: 30 days» says something.
    !line.contains(':')
        && !line.ends_with(['.', ';', '!', '?'])
        && chunk.section.iter().chain([&chunk.title]).any(is_of)
}

fn is_item(line: &str) -> bool {
    let marker = line.split_whitespace().next().unwrap_or_default();
    matches!(marker, "-" | "*" | "+" | "•" | "–")
        || (marker.len() <= 4 && marker.ends_with(['.', ')']) && marker.contains(char::is_alphanumeric))
}

/// The next sentence behind a quote that holds what is asked for.
fn following<'a>(best: &Quote<'a>, quotes: &[Quote<'a>]) -> Option<Quote<'a>> {
    let (rank, at) = best.at;
    let follows = |quote: &&Quote<'_>| quote.fits && quote.at.0 == rank && (at + 1..=at + REACH).contains(&quote.at.1);
    quotes.iter().filter(follows).min_by_key(|quote| quote.at).cloned()
}

/// As many of sorted quotes as it takes, and one that is to come with the best.
fn chosen<'a>(sorted: Vec<Quote<'a>>, following: Option<Quote<'a>>, Certainty(wanted): Certainty) -> Vec<Quote<'a>> {
    let Some(best) = sorted.first().map(|best| best.log_odds) else { return sorted };
    let share = |quote: &Quote<'_>| (quote.log_odds - best).exp();
    let all: f32 = sorted.iter().map(share).sum();
    let (mut words, mut sentences, mut rows, mut held) = (0, 0, 0, 0.0);
    let mut rest = sorted;
    // The best one stays in front.
    rest[1..].sort_by(|a, b| {
        let worth = |quote: &Quote<'_>| quote.log_odds - WORD_COST * quote.words as f32;
        worth(b).total_cmp(&worth(a))
    });
    let mut anyway = vec![rest[0].at];
    if let Some(following) = following {
        anyway.push(following.at);
        rest.retain(|quote| quote.at != following.at);
        rest.insert(1, following);
    }
    let mut chosen: Vec<Quote<'_>> = Vec::new();
    for quote in rest {
        let (count, most) = match quote.span.row {
            None => (&mut sentences, MAX_SENTENCES),
            Some(_) => (&mut rows, MAX_ROWS),
        };
        let has_room = words + quote.words <= MAX_WORDS && *count < most;
        let likely = share(&quote) / all;
        let is_wanted = anyway.contains(&quote.at) || (held < wanted && likely >= LEAST_SHARE);
        // An item of a list is not quoted beside its list.
        let is_shown = chosen.iter().any(|other| other.overlaps(&quote));
        if chosen.is_empty() || (is_wanted && has_room && !is_shown) {
            *count += 1;
            words += quote.words;
            held += likely;
            chosen.push(quote);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::reading::Reading;

    fn quote(chunk: &StoredChunk, log_odds: f32, words: usize) -> Quote<'_> {
        Quote {
            chunk,
            span: Span { range: words..words + 1, row: None },
            lead: None,
            at: (0, words),
            words,
            fits: false,
            log_odds,
            is_disputed: false,
        }
    }

    fn lengths(quotes: Vec<Quote<'_>>) -> Vec<usize> {
        quotes.iter().map(|quote| quote.words).collect()
    }

    #[test]
    fn as_many_quotes_are_shown_as_the_answer_takes_to_be_among_them() {
        let chunk = StoredChunk::of_text("a", "b");
        let all = |odds: &[f32]| odds.iter().enumerate().map(|(i, odds)| quote(&chunk, *odds, 10 + i)).collect();
        assert_eq!(lengths(chosen(all(&[9.0, 5.0, 5.0]), None, Certainty(0.8))), [10], "one that is plain");
        assert_eq!(lengths(chosen(all(&[5.0, 5.0, 5.0, 1.0]), None, Certainty(0.9))), [10, 11, 12]);
        assert_eq!(lengths(chosen(all(&[5.0, 5.0, 5.0, 1.0]), None, Certainty(0.3))), [10]);
        assert_eq!(lengths(chosen(all(&[1.0; 9]), None, Certainty(0.99))).len(), MAX_SENTENCES);
        assert_eq!(lengths(chosen(all(&[5.0, 1.9]), None, Certainty(0.999))), [10], "no padding");
        assert!(chosen(Vec::new(), None, Certainty(0.8)).is_empty());
    }

    #[test]
    fn of_two_that_are_as_likely_the_shorter_comes_first_and_a_long_one_is_left_out() {
        let chunk = StoredChunk::of_text("a", "b");
        let all = vec![quote(&chunk, 3.0, 20), quote(&chunk, 2.9, 200), quote(&chunk, 2.8, 30), quote(&chunk, 2.8, 15)];
        assert_eq!(lengths(chosen(all, None, Certainty(0.99))), [20, 15, 30]);
        assert_eq!(lengths(chosen(vec![quote(&chunk, 1.0, 200)], None, Certainty(0.5))), [200], "better than nothing");
    }

    #[test]
    fn a_list_comes_with_the_sentence_that_opens_it() {
        let text = "Hand in the following:\n\n- the receipt\n- the form\n\nThe desk pays.";
        let reading = Reading::of(&StoredChunk::of_text("Travel", text), &Asked::read("What do I hand in?"));
        let quoted = |at: usize| {
            let (span, words) = whole(text, &reading.sentences, at);
            (&text[span.range], words)
        };
        assert_eq!(quoted(0), ("Hand in the following:\n\n- the receipt\n- the form", 8));
        assert_eq!(quoted(3), ("The desk pays.", 3));
        let chunk = StoredChunk::of_text("Travel", text);
        let [list, item, after] = [0, 1, 3].map(|at| {
            let (span, words) = whole(text, &reading.sentences, at);
            Quote { span, at: (0, at), ..quote(&chunk, 5.0 - 0.1 * at as f32, words) }
        });
        let shown = chosen(vec![list, item, after], None, Certainty(0.999));
        assert_eq!(shown.iter().map(|quote| quote.at.1).collect::<Vec<_>>(), [0, 3], "no item twice");
    }

    #[test]
    fn an_item_of_a_list_is_quoted_whole_and_knows_what_opens_its_list() {
        let text = "What is never restored:\n\n- Films of the yard. They are large.\n- Mail. It is kept elsewhere.\n\nAsk the desk.";
        let reading = Reading::of(&StoredChunk::of_text("Backups", text), &Asked::read("Is mail restored?"));
        let at = |words: &str| {
            let is_one = |sentence: &Sentence| text[sentence.span.range.clone()].contains(words);
            reading.sentences.iter().position(is_one).unwrap()
        };
        let quoted = |words: &str| {
            let (span, _) = whole(text, &reading.sentences, at(words));
            (&text[span.range], lead(text, &reading.sentences, at(words)).map(|lead| &text[lead]))
        };
        assert_eq!(quoted("kept elsewhere"), ("- Mail. It is kept elsewhere.", Some("What is never restored:")));
        assert_eq!(quoted("Films"), ("- Films of the yard. They are large.", Some("What is never restored:")));
        assert_eq!(quoted("Ask"), ("Ask the desk.", None));
        assert!(quoted("What is").0.ends_with("- Mail. It is kept elsewhere."), "the list with all of its items");
    }

    #[test]
    fn items_of_one_list_stand_together() {
        let chunk = StoredChunk::of_text("a", "b");
        let of = |at, lead: Option<Range<usize>>| Quote { at: (0, at), lead, ..quote(&chunk, 1.0, 10) };
        let quotes = vec![of(0, Some(0..5)), of(4, Some(30..35)), of(9, None), of(1, Some(0..5)), of(8, None)];
        let order: Vec<usize> = below_one_head(quotes).iter().map(|quote| quote.at.1).collect();
        assert_eq!(order, [0, 1, 4, 9, 8]);
    }

    #[test]
    fn a_letterhead_is_no_quote() {
        let chunk = StoredChunk::of_text("Travel policy 2026 (Spain)", "");
        assert!(
            is_heading("Acme Travel policy 2026 (Spain)", &chunk) && is_heading("Travel policy 2026 (Spain)", &chunk)
        );
        assert!(!is_heading("Travel policy 2026 (Spain): 30 euros", &chunk));
        assert!(!is_heading("The Travel policy 2026 (Spain) holds from May.", &chunk));
        assert!(!is_heading("Acme pays what the Travel policy 2026 (Spain) says it pays", &chunk));
    }

    #[test]
    fn the_less_sure_the_passages_the_more_is_shown() {
        let of = |relevance| Certainty::of(AnswerMode::Extract, relevance).0;
        assert_eq!(of(0.95), of(PLAIN));
        assert!(of(0.3) > of(0.6) && of(0.6) > of(0.8) && of(0.0) <= UNSURE);
        assert!(Certainty::of(AnswerMode::Generate, 0.9).0 < of(0.9));
    }

    #[test]
    fn what_is_asked_for_comes_with_the_sentence_that_it_follows() {
        let chunk = StoredChunk::of_text("a", "b");
        let of = |at, fits, log_odds| Quote { at: (0, at), fits, ..quote(&chunk, log_odds, 10 + at) };
        let all = vec![of(3, false, 9.0), of(9, true, 7.0), of(5, true, 2.0), of(4, false, 1.0)];
        let following = following(&all[0], &all);
        assert_eq!(following.as_ref().map(|quote| quote.at), Some((0, 5)), "the one in reach");
        assert_eq!(lengths(chosen(all.clone(), following.clone(), Certainty(0.5))), [13, 15], "however sure");
        assert_eq!(lengths(chosen(all.clone(), following, Certainty(0.99))), [13, 15, 19]);
        assert_eq!(lengths(chosen(all, None, Certainty(0.5))), [13]);
    }
}
