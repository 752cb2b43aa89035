//! Bounds of what files may say of a network's sizes. No model comes near them: what lies beyond is a damaged file, and
//! lengths computed from it would overflow.

/// Layers.
pub const LAYERS: usize = 1 << 10;

/// Numbers of a token's state.
pub const WIDTH: usize = 1 << 18;

/// Numbers between the feed-forward matrices.
pub const FEED_FORWARD: usize = 1 << 20;

/// Heads of attention.
pub const HEADS: usize = 1 << 12;

/// Numbers in a head.
pub const HEAD_LENGTH: usize = 1 << 12;

/// Positions in files that have a row for each.
pub const POSITIONS: usize = 1 << 20;

/// Tokens in a vocabulary.
pub const VOCABULARY: usize = 1 << 24;

/// Makes sure that sizes, each with its name and its bound, are possible.
///
/// # Errors
/// A reason that names the first one that is not.
pub fn check(sizes: &[(&str, usize, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size, most)| !(1..=*most).contains(size)) {
        Some((name, size, most)) => Err(format!("its {name} is {size}; 1 to {most} is possible")),
        None => Ok(()),
    }
}
