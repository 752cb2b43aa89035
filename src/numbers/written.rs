//! Numbers written out, in English and Spanish: «twenty-five», «treinta y cinco», «dos mil quinientos».

use intramuros_ingest::document::Language;

const SMALL: &[(&str, u64)] = &[
    ("zero", 0),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
    ("cero", 0),
    ("dos", 2),
    ("tres", 3),
    ("cuatro", 4),
    ("cinco", 5),
    ("seis", 6),
    ("siete", 7),
    ("ocho", 8),
    ("nueve", 9),
    ("diez", 10),
    ("doce", 12),
    ("trece", 13),
    ("catorce", 14),
    ("quince", 15),
    ("dieciseis", 16),
    ("diecisiete", 17),
    ("dieciocho", 18),
    ("diecinueve", 19),
    ("veinte", 20),
    ("veintiun", 21),
    ("veintiuno", 21),
    ("veintiuna", 21),
    ("veintidos", 22),
    ("veintitres", 23),
    ("veinticuatro", 24),
    ("veinticinco", 25),
    ("veintiseis", 26),
    ("veintisiete", 27),
    ("veintiocho", 28),
    ("veintinueve", 29),
    ("treinta", 30),
    ("cuarenta", 40),
    ("cincuenta", 50),
    ("sesenta", 60),
    ("setenta", 70),
    ("ochenta", 80),
    ("noventa", 90),
    ("cien", 100),
    ("ciento", 100),
    ("doscientos", 200),
    ("doscientas", 200),
    ("trescientos", 300),
    ("trescientas", 300),
    ("cuatrocientos", 400),
    ("cuatrocientas", 400),
    ("quinientos", 500),
    ("quinientas", 500),
    ("seiscientos", 600),
    ("seiscientas", 600),
    ("setecientos", 700),
    ("setecientas", 700),
    ("ochocientos", 800),
    ("ochocientas", 800),
    ("novecientos", 900),
    ("novecientas", 900),
];

/// Articles as well: numbers only inside a longer one («treinta y un», «one hundred»).
const ONE: &[&str] = &["one", "un", "uno", "una"];

/// What a word such as «thousand» multiplies the number before it by.
pub fn multiplier(word: &str) -> Option<u64> {
    match word {
        "thousand" | "mil" => Some(1_000),
        "million" | "millon" | "millones" => Some(1_000_000),
        _ => None,
    }
}

/// What a word behind figures multiplies them by: as above, and «9.640 miles», which are miles in English and thousands in
/// Spanish.
pub fn multiplier_of_figures(word: &str, language: Option<Language>) -> Option<u64> {
    match (word, language) {
        ("miles", Some(Language::Spanish)) => Some(1_000),
        _ => multiplier(word),
    }
}

/// Reads the number that folded words begin with: its value and how many words it takes. «Once» is eleven in Spanish
/// only; in English it is mostly no number.
pub fn parse(words: &[&str], language: Option<Language>) -> Option<(u64, usize)> {
    let small = |word: &str| match word {
        "once" => (language == Some(Language::Spanish)).then_some(11),
        _ => SMALL.iter().find(|(name, _)| *name == word).map(|&(_, value)| value),
    };
    let multiplies = |word: Option<&&str>| word.is_some_and(|word| *word == "hundred" || multiplier(word).is_some());
    let (mut total, mut current, mut taken): (u64, Option<u64>, usize) = (0, None, 0);
    let mut at = 0;
    while let Some(&word) = words.get(at) {
        let joins = taken > 0 && matches!(word, "y" | "and");
        let word = if joins { words.get(at + 1).copied().unwrap_or_default() } else { word };
        let next = at + 1 + usize::from(joins);
        let value = match small(word) {
            None if ONE.contains(&word) && (current.is_some() || multiplies(words.get(next))) => Some(1),
            value => value,
        };
        match (value, current) {
            // «Two and three» are two numbers, «a hundred and three» and «treinta y tres» are one.
            (Some(value), None) if !joins || total > 0 => current = Some(value),
            (Some(value), Some(before)) if continues(before, value) => current = Some(before + value),
            (None, Some(1..=9) | None) if word == "hundred" && !joins => current = Some(current.unwrap_or(1) * 100),
            _ => match multiplier(word) {
                Some(factor) if !joins && (total == 0 || factor > 1_000) => {
                    let counted: u64 = total.saturating_add(current.take().unwrap_or(u64::from(total == 0)));
                    total = counted.saturating_mul(factor);
                }
                _ => break,
            },
        }
        at = next;
        taken = next;
    }
    (taken > 0).then(|| (total.saturating_add(current.unwrap_or(0)), taken))
}

/// Whether a number word goes on after another: «twenty» + «five», «doscientos» + «treinta».
fn continues(before: u64, value: u64) -> bool {
    let unit = (1..10).contains(&value) && before % 100 >= 20 && before.is_multiple_of(10);
    let below_hundred = (1..100).contains(&value) && before > 0 && before.is_multiple_of(100);
    unit || below_hundred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_both_languages() {
        for (text, expected) in [
            ("twenty five days", Some((25, 2))),
            ("fifteen", Some((15, 1))),
            ("one hundred and twenty euros", Some((120, 4))),
            ("two thousand five hundred", Some((2500, 4))),
            ("three million", Some((3_000_000, 2))),
            ("two and three", Some((2, 1))),
            ("twenty thirty", Some((20, 1))),
            ("quince dias", Some((15, 1))),
            ("treinta y cinco", Some((35, 3))),
            ("treinta y una semanas", Some((31, 3))),
            ("veintidos", Some((22, 1))),
            ("ciento cuarenta y dos mil", Some((142_000, 5))),
            ("dos mil quinientos", Some((2500, 3))),
            ("mil euros", Some((1000, 1))),
            ("dos y tres", Some((2, 1))),
            ("una persona", None),
            ("one person", None),
        ] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(parse(&words, None), expected, "{text}");
        }
        assert_eq!(parse(&["once", "dias"], Some(Language::Spanish)), Some((11, 1)));
        assert_eq!(parse(&["once", "approved"], Some(Language::English)), None);
    }
}
