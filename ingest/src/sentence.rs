//! Where sentences begin and end, in Spanish and English.
//!
//! The splitter of chunks and the checker of answers use the same rules. A full stop ends a sentence when white space
//! and something that can begin a sentence follow and the word before it is no abbreviation. Where an abbreviation may
//! also stand last («… con Acme S.A. El contrato …»), the next word decides: only a word that usually begins a sentence
//! makes an end of it, because a sentence too long costs less than one torn apart.

use std::ops::Range;

/// Abbreviations after which a sentence always goes on, in lower case and without their last full stop.
const NEVER_LAST: &[&str] = &[
    "apdo", "avda", "c/", "cc", "cf", "ctra", "d", "depto", "dpto", "dr", "dra", "dras", "dres", "dª", "dña", "e.g",
    "ee", "eg", "ej", "excma", "excmo", "ff", "hon", "i.e", "ie", "ilma", "ilmo", "ing", "jj", "lic", "messrs", "mr",
    "mrs", "ms", "mx", "nº", "núm", "núms", "p", "plza", "pp", "prof", "profa", "pza", "pág", "págs", "párr", "rev",
    "rr", "sr", "sra", "sras", "sres", "srta", "sta", "sto", "tfno", "tlf", "v", "viz", "vs",
];

/// Words that are abbreviations only where a number follows.
const BEFORE_NUMBER: &[&str] = &[
    "abr", "ago", "apr", "aug", "dec", "dic", "ene", "feb", "jan", "jul", "jun", "mar", "may", "no", "nos", "nov",
    "oct", "sep", "sept", "tel",
];

/// Abbreviations that may stand inside a sentence or at its end.
const MAYBE_LAST: &[&str] = &[
    "aa", "ap", "approx", "aprox", "art", "arts", "av", "bros", "ca", "cap", "caps", "capt", "cit", "co", "col",
    "corp", "cía", "dept", "disp", "esq", "est", "fig", "figs", "gen", "gov", "hh", "hrs", "inc", "jr", "lt", "ltd",
    "ltda", "max", "min", "máx", "mín", "oo", "op", "pres", "ref", "sec", "secc", "sect", "sgt", "sig", "sigs", "ss",
    "st", "tab", "ud", "uds", "urb", "uu", "vd", "vds", "vol", "vols",
];

/// Words that begin sentences often and names hardly ever.
const STARTERS: &[&str] = &[
    "a", "además", "after", "al", "all", "an", "and", "ante", "any", "are", "as", "asimismo", "at", "aunque", "bajo",
    "before", "both", "but", "by", "cada", "can", "como", "con", "cuando", "cuál", "cómo", "debe", "deben", "desde",
    "do", "does", "durante", "during", "dónde", "each", "either", "el", "en", "entre", "es", "esa", "ese", "eso",
    "esta", "estas", "este", "esto", "estos", "every", "for", "from", "has", "hasta", "have", "hay", "he", "her",
    "here", "his", "how", "however", "i", "if", "in", "is", "it", "its", "la", "las", "le", "les", "lo", "los", "may",
    "mediante", "mi", "must", "más", "neither", "no", "not", "nuestra", "nuestro", "of", "on", "or", "our", "para",
    "per", "pero", "please", "por", "puede", "pueden", "que", "quien", "qué", "se", "según", "she", "should", "si",
    "sin", "sobre", "son", "su", "such", "sus", "también", "that", "the", "their", "there", "these", "they", "this",
    "those", "tiene", "to", "toda", "todas", "todo", "todos", "tras", "tu", "un", "una", "unas", "under", "unos",
    "upon", "was", "we", "were", "what", "when", "where", "which", "while", "who", "why", "will", "with", "within",
    "without", "would", "y", "ya", "you", "your",
];

/// Splits a text into sentences: byte ranges in order, without the white space around them. Together they hold every
/// character that is not white space.
///
/// Each line of a table is one, whatever stands in its cells: what is true of one row need not be of the next. Lines are
/// of a table when they begin or end with `|`, have three cells or more, or stand together with ` | ` in each; a lone
/// line with one ` | ` in it is prose.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        lines.push((at..at + line.len(), Row::of(line)));
        at += line.len();
    }
    let mut prose = 0;
    for (i, (line, row)) in lines.iter().enumerate() {
        let beside = |other: Option<&(Range<usize>, Row)>| other.is_some_and(|(_, row)| *row != Row::No);
        let together = beside(lines.get(i + 1)) || i.checked_sub(1).is_some_and(|before| beside(lines.get(before)));
        if *row == Row::Surely || (*row == Row::Perhaps && together) {
            prose_sentences(text, prose..line.start, &mut found);
            push_trimmed(&mut found, text, line.clone());
            prose = line.end;
        }
    }
    prose_sentences(text, prose..text.len(), &mut found);
    found
}

/// Whether a line looks like the row of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    No,
    Perhaps,
    Surely,
}

impl Row {
    fn of(line: &str) -> Self {
        let line = line.trim();
        let ruler = || line.contains("--") && line.bytes().all(|byte| b"|:- \t".contains(&byte));
        match line.matches(" | ").count() {
            // The two may share a blank: `a |  | b`.
            _ if line.starts_with('|') || line.ends_with(" |") || line.contains(" |  | ") => Self::Surely,
            0 if line.contains('|') && ruler() => Self::Surely,
            0 => Self::No,
            1 => Self::Perhaps,
            _ => Self::Surely,
        }
    }
}

/// Splits the prose in a range of a text.
fn prose_sentences(whole: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let text = &whole[..range.end];
    let mut start = range.start;
    let mut at = start;
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        if c == '\n' && line_break_ends(&text[next..]) {
            push_trimmed(found, text, start..at);
            start = next;
            at = next;
        } else if is_end_mark(c) {
            let end = after_end_marks(text, at);
            if ends_sentence(text, start, at, end) {
                push_trimmed(found, text, start..end);
                start = end;
            }
            at = end;
        } else {
            at = next;
        }
    }
    push_trimmed(found, text, start..text.len());
}

fn push_trimmed(found: &mut Vec<Range<usize>>, text: &str, range: Range<usize>) {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    let end = start + slice.trim().len();
    if start < end {
        found.push(start..end);
    }
}

fn is_end_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？')
}

fn is_closer(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | '›' | ')' | ']' | '}' | '*' | '_')
}

fn is_opener(c: char) -> bool {
    matches!(c, '"' | '\'' | '“' | '‘' | '«' | '‹' | '(' | '[' | '{' | '*' | '_' | '—' | '–' | '-')
}

/// A line break is usually just where the line was full; before a blank line or an item of a list it is an end.
fn line_break_ends(after: &str) -> bool {
    let line = after.trim_start_matches([' ', '\t', '\r']);
    line.starts_with('\n') || begins_item(line)
}

/// Whether a line begins with the mark of a list item: `- `, `• `, `1. `, `12) `, `a) `, `(b) `.
fn begins_item(line: &str) -> bool {
    let mut chars = line.chars();
    if matches!(chars.next(), Some('-' | '*' | '•' | '·' | '▪' | '◦' | '+')) {
        return chars.next().is_some_and(char::is_whitespace);
    }
    let inner = line.strip_prefix('(').unwrap_or(line);
    let label_len = inner.find(|c: char| !c.is_alphanumeric()).unwrap_or(inner.len());
    let (label, after) = inner.split_at(label_len);
    let numbered = (1..=3).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_digit());
    let lettered = label.chars().count() == 1;
    let mut after = after.chars();
    let closed = match after.next() {
        Some(')') => numbered || lettered,
        Some('.') => numbered,
        _ => false,
    };
    closed && after.next().is_some_and(char::is_whitespace)
}

/// The end of the marks that begin at `at`, of the quotes and brackets they close and of citations such as ` [2]`.
fn after_end_marks(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let marks = rest.find(|c| !is_end_mark(c) && !is_closer(c)).unwrap_or(rest.len());
    let mut end = at + marks;
    while let Some(length) = citation(&text[end..]) {
        end += length;
    }
    // « [1] says that …» begins the next sentence.
    let continues = text[end..].trim_start().chars().next().is_some_and(char::is_lowercase);
    if continues { at + marks } else { end }
}

/// Length of a citation such as ` [1]` or `[2, 3]` at the beginning of a text, with the blanks before it.
fn citation(rest: &str) -> Option<usize> {
    let trimmed = rest.trim_start_matches([' ', '\u{a0}']);
    let inner = trimmed.strip_prefix('[')?;
    let close = inner.find(|c: char| !c.is_ascii_digit() && !matches!(c, ',' | ' '))?;
    let numbered = inner[..close].bytes().any(|byte| byte.is_ascii_digit());
    (numbered && inner[close..].starts_with(']')).then(|| rest.len() - inner.len() + close + 1)
}

/// Whether the marks in `mark..end` end the sentence that began at `start`.
fn ends_sentence(text: &str, start: usize, mark: usize, end: usize) -> bool {
    let mark_char = text[mark..].chars().next().unwrap_or('.');
    let rest = &text[end..];
    match rest.chars().next() {
        None => return true,
        Some(c) if !c.is_whitespace() => return matches!(c, '¿' | '¡') || matches!(mark_char, '。' | '！' | '？'),
        Some(_) => {}
    }
    let next = rest.trim_start();
    if next.is_empty() || begins_item(next) {
        return true;
    }
    let next = next.trim_start_matches(is_opener);
    let Some(first) = next.chars().next() else { return true };
    if matches!(first, '¿' | '¡') {
        return true;
    }
    if first.is_lowercase() {
        return false;
    }
    let ellipsis = text[mark..end].starts_with("..");
    if mark_char != '.' || ellipsis {
        return true;
    }
    let before = &text[start..mark];
    let word_start = before.rfind(|c: char| c.is_whitespace() || is_opener(c)).map_or(0, |at| {
        // The character found may be of several bytes.
        at + before[at..].chars().next().map_or(1, char::len_utf8)
    });
    let begins_sentence = before[..word_start].chars().all(|c| c.is_whitespace() || is_opener(c));
    full_stop_ends(&before[word_start..], begins_sentence, next)
}

/// Whether a full stop after `word` and before `next`, which does not begin in lower case, ends a sentence.
fn full_stop_ends(word: &str, begins_sentence: bool, next: &str) -> bool {
    let lower = word.to_lowercase();
    let listed = |list: &[&str]| list.binary_search(&lower.as_str()).is_ok();
    let number_follows = next.starts_with(|c: char| c.is_numeric());
    if word.is_empty() {
        return true;
    }
    if listed(NEVER_LAST) || (number_follows && listed(BEFORE_NUMBER)) {
        return false;
    }
    let one_letter = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    let numeral = word.len() <= 3 && word.bytes().all(|byte| byte.is_ascii_digit())
        || word.len() <= 5 && word.bytes().all(|byte| b"IVXL".contains(&byte));
    if begins_sentence && (numeral || one_letter) {
        return false;
    }
    if one_letter || is_acronym(word) || listed(MAYBE_LAST) {
        let length = next.find(|c: char| !c.is_alphabetic()).unwrap_or(next.len());
        return STARTERS.binary_search(&next[..length].to_lowercase().as_str()).is_ok();
    }
    true
}

/// Short groups of letters with full stops between them: `S.A`, `EE.UU`, `a.m`, `Ph.D`.
fn is_acronym(word: &str) -> bool {
    word.contains('.')
        && word.split('.').all(|group| {
            let letters = group.chars().filter(|c| c.is_alphabetic()).count();
            (1..=2).contains(&letters) && letters == group.chars().count()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn the_lists_are_sorted() {
        for list in [NEVER_LAST, BEFORE_NUMBER, MAYBE_LAST, STARTERS] {
            let wrong = list.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(wrong, None);
        }
    }

    #[test]
    fn each_of_these_is_one_sentence() {
        for text in [
            "El Sr. Pérez y la Sra. D.ª Ana Ruiz firman con D. Juan y Dª. Eva.",
            "Véase el art. 5.2 y el Art. 5.º de la Ley núm. 39/2015, pág. 12, párr. Segundo.",
            "Cuesta 1.234,56 € o 3.5 dólares según el n.º 7 y la 1.ª edición.",
            "Se usan medios, p. ej. Madrid o Teruel, etc., en cada caso.",
            "Ud. debe avisar a las 9 a.m. del lunes.",
            "Acme S.A. Unipersonal y Beta S.L. Ibérica compran en EE. UU. Norte.",
            "Mr. Smith v. Jones Inc. Holdings, e.g. Dr. J. R. Brown, i.e. No. 5 of Vol. 3.",
            "Consulte https://intranet.example.com/a.b?c=d.e para más datos.",
            "—¿Vienes? —preguntó Ana.",
            "Dijo «no.» y se fue.",
            "Espera... ya llega… pronto.",
            "Entró en vigor el 3 dic. 2024 a las 10:30.",
            "1. Objeto del contrato.",
            "II. Disposiciones generales.",
            "El plazo es\nde diez días\nhábiles.",
            "Los RR. HH. Internos y las CC. AA. Forales.",
            "The fee is 30 € [1].",
        ] {
            assert_eq!(split(text), [text]);
        }
    }

    #[test]
    fn sentences_end_where_they_end() {
        for (text, expected) in [
            (
                "El cliente pagó. El niño. ¿Quién? ¡Nadie! Fin",
                &["El cliente pagó.", "El niño.", "¿Quién?", "¡Nadie!", "Fin"][..],
            ),
            ("Firma con Acme S.A. El contrato dura un año.", &["Firma con Acme S.A.", "El contrato dura un año."]),
            ("Vive en EE. UU. La sede está allí.", &["Vive en EE. UU.", "La sede está allí."]),
            ("It ends at 5 p.m. The office closes.", &["It ends at 5 p.m.", "The office closes."]),
            ("Made by Foo Inc. It is good.", &["Made by Foo Inc.", "It is good."]),
            ("Papel, tinta, etc. Todo se paga.", &["Papel, tinta, etc.", "Todo se paga."]),
            ("Dijo: «Pagó.» Nadie lo vio.", &["Dijo: «Pagó.»", "Nadie lo vio."]),
            ("(Véase el anexo.) Otro dato.", &["(Véase el anexo.)", "Otro dato."]),
            ("He said “yes.” She left.", &["He said “yes.”", "She left."]),
            ("No lo sé… Quizá mañana... Veremos.", &["No lo sé…", "Quizá mañana...", "Veremos."]),
            ("Hola.¿Qué tal?", &["Hola.", "¿Qué tal?"]),
            ("In 2020. The year after.", &["In 2020.", "The year after."]),
            ("Ask him. No. Never.", &["Ask him.", "No.", "Never."]),
            ("The fee is 30 €. [1] It is due at once. [2, 3]", &["The fee is 30 €. [1]", "It is due at once. [2, 3]"]),
            ("See the list. [1] says so.", &["See the list.", "[1] says so."][..1]),
            (
                "Se exige: a) copia del acta. b) poder notarial.",
                &["Se exige: a) copia del acta.", "b) poder notarial."],
            ),
            ("Hay dos:\n- uno\n- dos", &["Hay dos:", "- uno", "- dos"]),
            ("Título\n\nTexto.", &["Título", "Texto."]),
            ("Visite https://a.example/x. La red va.", &["Visite https://a.example/x.", "La red va."]),
        ] {
            assert_eq!(&split(text)[..expected.len()], expected, "{text}");
        }
    }

    #[test]
    fn each_row_of_a_table_is_one_sentence() {
        for (text, expected) in [
            (
                "Límites por ciudad:\n\nCiudad | Límite\nMadrid | 120 euros. No se paga más.\nSevilla | 95\nBilbao | 105\n\nFin.",
                &[
                    "Límites por ciudad:",
                    "Ciudad | Límite",
                    "Madrid | 120 euros. No se paga más.",
                    "Sevilla | 95",
                    "Bilbao | 105",
                    "Fin.",
                ][..],
            ),
            (
                "The limits are:\n| City | Limit |\n|---|---:|\n| Madrid | 120 |\n|Sevilla|95|\nThat is all. Really.",
                &[
                    "The limits are:",
                    "| City | Limit |",
                    "|---|---:|",
                    "| Madrid | 120 |",
                    "|Sevilla|95|",
                    "That is all.",
                    "Really.",
                ],
            ),
            ("A | B\n--- | ---\n1 | 2", &["A | B", "--- | ---", "1 | 2"]),
            ("Norte |\nMadrid | 120\n| 95", &["Norte |", "Madrid | 120", "| 95"]),
            ("Uno | dos. Tres | cuatro", &["Uno | dos. Tres | cuatro"]),
            ("a |  | b. C", &["a |  | b. C"]),
            ("Los límites:\nMadrid | 120\nSevilla | 95", &["Los límites:", "Madrid | 120", "Sevilla | 95"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn prose_with_a_bar_in_it_is_prose() {
        for (text, expected) in [
            (
                "Run `ps | grep x` to see\nwhat is going on. Then stop.",
                &["Run `ps | grep x` to see\nwhat is going on.", "Then stop."][..],
            ),
            ("Elija Sí | No. Pulse Intro.", &["Elija Sí | No.", "Pulse Intro."]),
            ("a|b is not c||d. It is\ne|f.", &["a|b is not c||d.", "It is\ne|f."]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn every_character_is_in_one_sentence_whatever_the_text() {
        let alphabet = [
            "a",
            "Ñ",
            "ó",
            ".",
            "!",
            "?",
            "…",
            " ",
            "\n",
            "\r\n",
            "«",
            "»",
            "[1]",
            "[",
            "S.A.",
            "Sr.",
            "1.",
            "a) ",
            "\u{301}",
            "\u{a0}",
            "\u{200d}",
            "👩‍👧",
            "。",
            "- ",
            "¿",
            "(",
            ")",
            "\t",
            "|",
            " | ",
            "x | y",
            "…\u{2028}",
        ];
        let mut seed = 7_u64;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..seed % 40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(alphabet[(seed >> 33) as usize % alphabet.len()]);
            }
            seed = seed.wrapping_add(11).rotate_left(9);
            let mut from = 0;
            for range in sentences(&text) {
                assert!(text[from..range.start].trim().is_empty(), "{text:?}");
                assert_eq!(text[range.clone()].trim(), &text[range.clone()], "{text:?}");
                assert!(!range.is_empty());
                from = range.end;
            }
            assert!(text[from..].trim().is_empty(), "{text:?}");
        }
    }
}
