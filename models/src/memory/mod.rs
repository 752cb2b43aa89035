//! What a model needs in memory and what this machine has left, so that a model that does not fit is refused with the
//! numbers before it is loaded. The kernel's way is to kill the process afterwards.

use crate::ModelError;

mod available;
mod need;

pub use self::available::{Promise, available, promised};
pub use self::need::Need;

/// Refuses a model that needs more than is left; where nobody can tell what is left, it is let through. `setting` is what
/// the configuration could say for it to need less, and a comma.
///
/// # Errors
/// [`ModelError::TooLarge`] with the numbers.
pub fn check(name: &str, need: &Need, available: Option<u64>, setting: &'static str) -> Result<(), ModelError> {
    match available {
        Some(available) if need.total() > available => Err(ModelError::TooLarge {
            name: name.to_owned(),
            need: need.total().div_ceil(1 << 20),
            parts: need.to_string(),
            available: available >> 20,
            setting,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let need = Need { weights: 700 << 20, kv: 512 << 20, working: (80 << 20) - 1, from_files: true };
        let refused = |available| check("big", &need, available, "set `models.kv_mib` lower, ").err();
        assert!(refused(Some(1292 << 20)).is_none() && refused(None).is_none());
        let error = refused(Some((1292 << 20) - 2)).unwrap().to_string();
        for part in ["`big`", "1292 MiB", "700 MiB weights", "512 MiB keys and values", "80 MiB to work", "1291 MiB"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(error.ends_with("more, set `models.kv_mib` lower, or choose a smaller model"), "{error}");
        let error = check("big", &need, Some(0), "").unwrap_err().to_string();
        assert!(error.ends_with("more, or choose a smaller model"), "{error}");
    }
}
