//! Where sentences begin and end, in Spanish and English.

use std::ops::Range;

/// The sentences.
pub fn sentences(_text: &str) -> Vec<Range<usize>> {
    Vec::new()
}
