//! Keeps passwords from being guessed: failed sign-ins make the next ones wait, for their name and for everybody.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Failures of one name without a wait.
const FREE: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest: long enough against guessing, short enough that others cannot lock somebody out for a day.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// When a name's failures are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Names that are remembered; the one that failed longest ago goes first.
const MOST_NAMES: usize = 4096;
/// Failures of all names in a row, and in each minute after that.
const ALL_PER_MINUTE: f64 = 100.0;

/// What failed lately. Names are kept as hashes: they may be long, and sometimes they are a password in the wrong field.
pub struct Throttle(Mutex<Recent>);

struct Recent {
    names: HashMap<[u8; 32], Failures>,
    /// Failures that may still happen now.
    left: f64,
    left_at: Instant,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    free_at: Instant,
}

impl Throttle {
    /// Nothing has failed yet.
    pub fn new() -> Self {
        Self(Mutex::new(Recent { names: HashMap::new(), left: ALL_PER_MINUTE, left_at: Instant::now() }))
    }

    /// Lets an attempt through, which counts as a failure until it [succeeds](Self::succeeded), so that attempts at the
    /// same time do not slip through together. Otherwise the seconds to wait.
    pub fn admit(&self, name: &str, now: Instant) -> Result<(), u64> {
        let key = key(name);
        let mut recent = self.lock();
        recent.refill(now);
        let known = recent.names.get(&key).copied().filter(|known| now.duration_since(known.last) < FORGET_AFTER);
        if let Some(known) = known
            && known.free_at > now
        {
            return Err(whole_seconds(known.free_at - now));
        }
        if recent.left < 1.0 {
            return Err(whole_seconds(Duration::from_secs_f64((1.0 - recent.left) * 60.0 / ALL_PER_MINUTE)));
        }
        recent.left -= 1.0;
        let count = known.map_or(0, |known| known.count) + 1;
        recent.make_room(&key);
        recent.names.insert(key, Failures { count, last: now, free_at: now + wait_after(count) });
        Ok(())
    }

    /// The attempt was right: the name's failures are forgotten.
    pub fn succeeded(&self, name: &str) {
        let mut recent = self.lock();
        recent.names.remove(&key(name));
        recent.give_back();
    }

    /// The attempt was never tried.
    pub fn withdrawn(&self, name: &str) {
        let mut recent = self.lock();
        if let Some(failures) = recent.names.get_mut(&key(name)) {
            failures.count = failures.count.saturating_sub(1);
        }
        recent.give_back();
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // Each change is whole in itself, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn refill(&mut self, now: Instant) {
        let minutes = now.saturating_duration_since(self.left_at).as_secs_f64() / 60.0;
        self.left = ALL_PER_MINUTE.min(self.left + minutes * ALL_PER_MINUTE);
        self.left_at = now;
    }

    fn give_back(&mut self) {
        self.left = ALL_PER_MINUTE.min(self.left + 1.0);
    }

    fn make_room(&mut self, key: &[u8; 32]) {
        if self.names.len() < MOST_NAMES || self.names.contains_key(key) {
            return;
        }
        let oldest = self.names.iter().min_by_key(|(_, failures)| failures.last).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.names.remove(&oldest);
        }
    }
}

fn key(name: &str) -> [u8; 32] {
    Sha256::digest(name.as_bytes()).into()
}

fn wait_after(failures: u32) -> Duration {
    let Some(doubled) = failures.checked_sub(FREE) else { return Duration::ZERO };
    LONGEST_WAIT.min(FIRST_WAIT.saturating_mul(1_u32.checked_shl(doubled).unwrap_or(u32::MAX)))
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_waits_longer_with_each_failure_and_no_other_does() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        for _ in 0..FREE {
            throttle.admit("ana", now).unwrap();
        }
        assert_eq!(throttle.admit("ana", now), Err(2));
        throttle.admit("luis", now).unwrap();
        // Whoever asks again too early waits no longer for it.
        assert_eq!(throttle.admit("ana", now + Duration::from_millis(1500)), Err(1));
        for expected in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let Err(wait) = throttle.admit("ana", now) else { panic!("let through before its wait") };
            now += Duration::from_secs(wait);
            throttle.admit("ana", now).unwrap();
            assert_eq!(throttle.admit("ana", now), Err(expected));
        }
        now += FORGET_AFTER;
        throttle.admit("ana", now).unwrap();
        throttle.admit("ana", now).unwrap();
    }

    #[test]
    fn success_forgets_and_what_was_not_tried_does_not_count() {
        let throttle = Throttle::new();
        let now = Instant::now();
        for _ in 1..FREE {
            throttle.admit("ana", now).unwrap();
        }
        throttle.succeeded("ana");
        for _ in 0..50 {
            throttle.admit("ana", now).unwrap();
            throttle.withdrawn("ana");
        }
        for _ in 0..FREE {
            throttle.admit("ana", now).unwrap();
        }
        throttle.admit("ana", now).unwrap_err();
    }

    #[test]
    fn many_names_are_held_back_together_and_take_bounded_memory() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        let mut let_through = 0;
        while throttle.admit(&format!("name {let_through}"), now).is_ok() {
            let_through += 1;
        }
        assert_eq!(let_through, 100);
        assert_eq!(throttle.admit("ana", now), Err(1));
        for number in 0..2 * MOST_NAMES {
            now += Duration::from_millis(601);
            throttle.admit(&format!("another {number}"), now).unwrap();
        }
        assert_eq!(throttle.lock().names.len(), MOST_NAMES);
    }
}
