//! Which units go together: the cheapest way to break a section into chunks.
//!
//! Each chunk costs by how far it is from the target, each break by what it tears apart; the sum over the section is
//! made as small as possible. So short paragraphs gather up to the target, the last chunk of a section is no leftover
//! of a line, and a list stays with the sentence that introduces it.

use std::ops::Range;

use super::units::Unit;
use super::words;

/// Sizes of the chunks of one section, in tokens of their own text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Aimed at.
    pub target: usize,
    /// Never exceeded.
    pub max: usize,
}

impl Sizes {
    /// Above the target a chunk costs four times as much as below, since it is nearer to the limit.
    fn cost(&self, tokens: usize) -> f32 {
        let off = (tokens as f32 - self.target as f32) / self.target as f32;
        if off > 0.0 { 4.0 * off * off } else { off * off }
    }
}

/// Runs of units that make one chunk each: they cover all units in order.
pub(super) fn pack(units: &[Unit], sizes: &Sizes) -> Vec<Range<usize>> {
    // best[end]: cost of the units before `end` and where their last chunk begins.
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(units.len() + 1);
    best.push((0.0, 0));
    for end in 1..=units.len() {
        let mut choice = (f32::INFINITY, end - 1);
        let mut tokens = 0;
        for start in (0..end).rev() {
            tokens += units[start].tokens;
            if tokens > sizes.max && start + 1 < end {
                break;
            }
            let break_cost = if start == 0 { 0.0 } else { units[start].break_cost };
            let cost = best[start].0 + break_cost + sizes.cost(tokens);
            if cost < choice.0 {
                choice = (cost, start);
            }
        }
        best.push(choice);
    }
    let mut runs = Vec::new();
    let mut end = units.len();
    while end > 0 {
        let start = best[end].1;
        runs.push(start..end);
        end = start;
    }
    runs.reverse();
    runs
}

/// The text of a run of units in pieces that really have at most `max` tokens: usually one, since the sum over the
/// units is a good estimate.
pub(super) fn verified(text: &str, units: &[Unit], max: usize, count: &dyn Fn(&str) -> usize) -> Vec<Range<usize>> {
    let (Some(first), Some(last)) = (units.first(), units.last()) else { return Vec::new() };
    let range = first.range.start..last.range.end;
    if count(&text[range.clone()]) <= max {
        return vec![range];
    }
    if units.len() == 1 {
        return words::cut(text, range, max, count);
    }
    let (left, right) = units.split_at(units.len() / 2);
    let mut pieces = verified(text, left, max, count);
    pieces.extend(verified(text, right, max, count));
    pieces
}
