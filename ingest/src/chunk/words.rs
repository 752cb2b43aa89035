//! The last resort: cutting a sentence that is longer than any chunk may be.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Cuts a range into pieces of at most `max` tokens, about equal: after clause marks where there are some near, else
/// between words, and in a word only if it is too long by itself; never inside a character as a reader
/// sees it. A single character of more than `max` tokens stays whole.
pub(super) fn cut(text: &str, range: Range<usize>, max: usize, count: &dyn Fn(&str) -> usize) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    for (range, tokens) in split_words(text, range, count) {
        if tokens <= max {
            words.push((range, tokens));
        } else {
            cut_word(text, range, max, count, &mut words);
        }
    }
    let mut pieces = Vec::new();
    let mut first = 0;
    let mut remaining = words.iter().map(|(_, tokens)| tokens).sum::<usize>();
    while first < words.len() {
        let end = piece_end(text, &words, first, remaining, max);
        remaining -= words[first..end].iter().map(|(_, tokens)| tokens).sum::<usize>();
        checked(text, &words[first..end], max, count, &mut pieces);
        first = end;
    }
    pieces
}

type Word = (Range<usize>, usize);

fn split_words(text: &str, range: Range<usize>, count: &dyn Fn(&str) -> usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = range.start;
    for word in text[range].split_inclusive(char::is_whitespace) {
        let trimmed = word.trim_end();
        if !trimmed.is_empty() {
            words.push((at..at + trimmed.len(), count(trimmed).max(1)));
        }
        at += word.len();
    }
    words
}

/// Cuts one word into pieces between its characters.
fn cut_word(text: &str, range: Range<usize>, max: usize, count: &dyn Fn(&str) -> usize, words: &mut Vec<Word>) {
    let mut piece = range.start..range.start;
    // One token a character is usual where words are as long as this, so most pieces pass the check at once.
    let mut characters = 0;
    for (offset, character) in text[range.clone()].grapheme_indices(true) {
        let at = range.start + offset;
        if characters >= max {
            halve_until_it_fits(text, piece.clone(), max, count, words);
            piece = at..at;
            characters = 0;
        }
        piece.end = at + character.len();
        characters += 1;
    }
    halve_until_it_fits(text, piece, max, count, words);
}

fn halve_until_it_fits(
    text: &str,
    range: Range<usize>,
    max: usize,
    count: &dyn Fn(&str) -> usize,
    words: &mut Vec<Word>,
) {
    let slice = &text[range.clone()];
    let tokens = count(slice).max(1);
    let half = slice.graphemes(true).count() / 2;
    if tokens <= max || half == 0 {
        if !range.is_empty() {
            words.push((range, tokens));
        }
        return;
    }
    let middle = range.start + slice.graphemes(true).take(half).map(str::len).sum::<usize>();
    halve_until_it_fits(text, range.start..middle, max, count, words);
    halve_until_it_fits(text, middle..range.end, max, count, words);
}

/// One past the last word of the piece that begins with word `first`, where `remaining` is the length of all words from
/// there. Pieces are made about equal: a rest of a few words would be a passage that says nothing.
fn piece_end(text: &str, words: &[Word], first: usize, remaining: usize, max: usize) -> usize {
    if remaining <= max {
        return words.len();
    }
    let ideal = remaining / remaining.div_ceil(max);
    let mut tokens = 0;
    let mut after_clause: Option<(usize, usize)> = None;
    let mut after_word = first + 1;
    for (i, (range, length)) in words.iter().enumerate().skip(first) {
        tokens += length;
        if i > first && tokens > max {
            break;
        }
        if tokens <= ideal {
            after_word = i + 1;
        }
        let off = tokens.abs_diff(ideal);
        let ends_clause = text[range.clone()].ends_with([',', ';', ':', ')', '—', '–', '|', '»']);
        if ends_clause && off * 2 <= ideal && after_clause.is_none_or(|(nearest, _)| off < nearest) {
            after_clause = Some((off, i + 1));
        }
    }
    after_clause.map_or(after_word, |(_, end)| end)
}

/// Adds the piece that these words make. The sum over words is only an estimate of its length: one too long is halved.
fn checked(text: &str, words: &[Word], max: usize, count: &dyn Fn(&str) -> usize, pieces: &mut Vec<Range<usize>>) {
    let [first, .., last] = words else {
        pieces.extend(words.iter().map(|(range, _)| range.clone()));
        return;
    };
    let range = first.0.start..last.0.end;
    if count(&text[range.clone()]) <= max {
        pieces.push(range);
    } else {
        let (left, right) = words.split_at(words.len() / 2);
        checked(text, left, max, count, pieces);
        checked(text, right, max, count, pieces);
    }
}
