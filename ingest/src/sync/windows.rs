//! Texts beyond the model's window, embedded in stretches that it sees whole.
//!
//! A model that does not know a language cuts its words into twice as many pieces, so that a passage of the usual length may
//! not fit, see [`crate::chunk::size`]. Its vector then is the mean of those of its stretches.

use super::Embed;

/// The texts whose vectors' mean is that of a text of [`super::embedding_text`]: itself where the model sees all of it, else
/// stretches of the chunk that it does see, each below the same title and section path where these leave it room.
pub(super) fn windows(text: &str, embed: &dyn Embed) -> Vec<String> {
    let max = embed.max_tokens();
    if embed.count_tokens(text) <= max {
        return vec![text.to_owned()];
    }
    let (prefix, body) = text.split_at(text.find('\n').map_or(0, |end| end + 1));
    let prefix = if 2 * embed.count_tokens(prefix) > max { "" } else { prefix };
    let mut windows = Vec::new();
    cut(prefix, body.trim(), embed, &mut windows);
    windows
}

/// Halves a text until each part fits.
fn cut(prefix: &str, body: &str, embed: &dyn Embed, windows: &mut Vec<String>) {
    let window = format!("{prefix}{body}");
    let middle = middle(body);
    if embed.count_tokens(&window) <= embed.max_tokens() || middle == 0 || middle == body.len() {
        windows.push(window);
        return;
    }
    for half in [&body[..middle], &body[middle..]] {
        if !half.trim().is_empty() {
            cut(prefix, half.trim(), embed, windows);
        }
    }
}

/// The white space nearest to the middle of a text, where it has any in the half around it, else the middle.
fn middle(text: &str) -> usize {
    let half = text.floor_char_boundary(text.len() / 2);
    let near = text.len() / 4;
    let before = text[..half].rfind(char::is_whitespace).filter(|at| half - at <= near);
    let behind = text[half..].find(char::is_whitespace).map(|at| half + at).filter(|at| at - half <= near);
    match (before, behind) {
        (Some(before), Some(behind)) => {
            if half - before < behind - half {
                before
            } else {
                behind
            }
        }
        (Some(at), None) | (None, Some(at)) => at,
        (None, None) if half == 0 => text.chars().next().map_or(0, char::len_utf8),
        (None, None) => half,
    }
}

/// The unit vector between some unit vectors.
pub(super) fn mean(mut vectors: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let mut sum = vectors.next().unwrap_or_default();
    let mut is_one = true;
    for vector in vectors {
        is_one = false;
        sum.iter_mut().zip(&vector).for_each(|(sum, part)| *sum += part);
    }
    let length = sum.iter().map(|part| part * part).sum::<f32>().sqrt();
    if !is_one && length > 0.0 {
        sum.iter_mut().for_each(|part| *part /= length);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::BoxError;
    use super::*;

    /// Counts words, and every character of what has no blank in it.
    struct Counting;

    impl Embed for Counting {
        fn identity(&self) -> &str {
            "counting"
        }

        fn max_tokens(&self) -> usize {
            12
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.split_whitespace().map(|word| word.chars().count().div_ceil(5)).sum()
        }

        fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>, BoxError> {
            Err("not asked".into())
        }
    }

    #[test]
    fn a_text_beyond_the_window_is_cut_into_stretches_below_its_title() {
        let body: Vec<String> = (10..35).map(|i| format!("w{i}")).collect();
        let text = format!("A title\n{}", body.join(" "));
        let cut = windows(&text, &Counting);
        assert!(
            cut.iter().all(|window| window.starts_with("A title\n") && Counting.count_tokens(window) <= 12),
            "{cut:?}"
        );
        let all: Vec<&str> = cut.iter().flat_map(|window| window[8..].split(' ')).collect();
        assert_eq!(all, body);
        assert_eq!(windows("A title\none two", &Counting), ["A title\none two"]);
    }

    #[test]
    fn neither_words_without_an_end_nor_a_title_without_one_are_lost() {
        let endless = "ñ".repeat(500);
        let cut = windows(&format!("T\n{endless}"), &Counting);
        assert!(cut.iter().all(|window| Counting.count_tokens(window) <= 12), "{cut:?}");
        assert_eq!(cut.iter().map(|window| &window[2..]).collect::<String>(), endless);
        let cut = windows(&format!("{}\n{}", "title ".repeat(20).trim(), "w ".repeat(30)), &Counting);
        assert!(cut.iter().all(|window| !window.contains("title") && Counting.count_tokens(window) <= 12), "{cut:?}");
    }

    #[test]
    fn the_mean_of_unit_vectors_is_one() {
        assert_eq!(mean([vec![0.6, 0.8]].into_iter()), [0.6, 0.8]);
        let both = mean([vec![1.0, 0.0], vec![0.0, 1.0]].into_iter());
        assert!(both.iter().all(|part| (part - 0.5_f32.sqrt()).abs() < 1e-6), "{both:?}");
    }
}
