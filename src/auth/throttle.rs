//! Keeps passwords from being guessed, without letting those who guess keep others out.
//!
//! Failed sign-ins make the next ones wait: those of the same name, those from the same address, and all together. A
//! browser that somebody signed in with before has a count of its own and waits for none of them, as OWASP's device cookies
//! do (<https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies>).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Failures of one name without a wait.
const FREE: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest: long enough against guessing. Who guesses can keep others waiting, but not at their own browsers.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// When a name's failures are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Names and addresses that are remembered; the one that failed longest ago goes first.
const MOST_REMEMBERED: usize = 4096;
/// Failures from one address in a row, and in each minute after that.
const ADDRESS_PER_MINUTE: f64 = 30.0;
/// The same for all addresses together: what verifying passwords may take of the machine.
const ALL_PER_MINUTE: f64 = 600.0;

/// Where somebody signs in from.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A browser that this person signed in with before, by the hash of its cookie.
    Device(&'a str),
    /// Anywhere else; the address is that of the client, where it is known.
    Address(Option<IpAddr>),
}

/// What failed lately. Names are kept as hashes: they may be long, and sometimes they are a password in the wrong field.
pub struct Throttle(Mutex<Recent>);

struct Recent {
    failures: HashMap<[u8; 32], Failures>,
    addresses: HashMap<IpAddr, Bucket>,
    all: Bucket,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    free_at: Instant,
}

/// Failures that may still happen now.
#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// A sign-in that was let through. It counts as a failure while it is under way, so that attempts at the same time do not
/// slip through together; dropped without an outcome, it never was.
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    key: [u8; 32],
    address: Option<Option<IpAddr>>,
    before: Option<Failures>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    None,
    Right,
    Wrong,
}

impl Throttle {
    /// Nothing has failed yet.
    pub fn new() -> Self {
        let all = Bucket { left: ALL_PER_MINUTE, at: Instant::now() };
        Self(Mutex::new(Recent { failures: HashMap::new(), addresses: HashMap::new(), all }))
    }

    /// Lets an attempt through. Otherwise the seconds to wait.
    pub fn admit(&self, name: &str, place: Place<'_>, now: Instant) -> Result<Attempt<'_>, u64> {
        let (key, address) = match place {
            Place::Device(hash) => (key("device", hash), None),
            Place::Address(address) => (key("name", name), Some(address.map(network))),
        };
        let mut recent = self.lock();
        let known = recent.failures.get(&key).copied().filter(|known| now.duration_since(known.last) < FORGET_AFTER);
        if let Some(known) = known
            && known.free_at > now
        {
            return Err(whole_seconds(known.free_at - now));
        }
        if let Some(address) = address {
            recent.take(address, now).map_err(whole_seconds)?;
        }
        let count = known.map_or(0, |known| known.count) + 1;
        make_room(&mut recent.failures, &key, |failures| failures.last);
        recent.failures.insert(key, Failures { count, last: now, free_at: now + wait_after(count) });
        Ok(Attempt { throttle: self, key, address, before: known, outcome: Outcome::None })
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // Each change is whole in itself, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The password was right: failures are forgotten.
    pub fn succeeded(mut self) {
        self.outcome = Outcome::Right;
    }

    /// It was wrong.
    pub fn failed(mut self) {
        self.outcome = Outcome::Wrong;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.outcome == Outcome::Wrong {
            return;
        }
        let mut recent = self.throttle.lock();
        match self.before.filter(|_| self.outcome == Outcome::None) {
            Some(before) => recent.failures.insert(self.key, before),
            None => recent.failures.remove(&self.key),
        };
        if let Some(address) = self.address {
            recent.give_back(address);
        }
    }
}

impl Recent {
    /// Takes one failure from both buckets, or tells how long until there is one.
    fn take(&mut self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        self.all.refill(now, ALL_PER_MINUTE);
        self.all.wait(ALL_PER_MINUTE)?;
        if let Some(address) = address {
            make_room(&mut self.addresses, &address, |bucket| bucket.at);
            let full = Bucket { left: ADDRESS_PER_MINUTE, at: now };
            let bucket = self.addresses.entry(address).or_insert(full);
            bucket.refill(now, ADDRESS_PER_MINUTE);
            bucket.wait(ADDRESS_PER_MINUTE)?;
            bucket.left -= 1.0;
        }
        self.all.left -= 1.0;
        Ok(())
    }

    fn give_back(&mut self, address: Option<IpAddr>) {
        self.all.left = ALL_PER_MINUTE.min(self.all.left + 1.0);
        if let Some(bucket) = address.and_then(|address| self.addresses.get_mut(&address)) {
            bucket.left = ADDRESS_PER_MINUTE.min(bucket.left + 1.0);
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant, per_minute: f64) {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / 60.0;
        self.left = per_minute.min(self.left + minutes * per_minute);
        self.at = now;
    }

    fn wait(&self, per_minute: f64) -> Result<(), Duration> {
        if self.left >= 1.0 {
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) * 60.0 / per_minute))
    }
}

/// Forgets the oldest where a new one would be too many.
fn make_room<K: Hash + Eq + Copy, V>(map: &mut HashMap<K, V>, key: &K, last: impl Fn(&V) -> Instant) {
    if map.len() < MOST_REMEMBERED || map.contains_key(key) {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, value)| last(value)).map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

/// One customer's addresses count as one: IPv6 gives everybody 2⁶⁴ of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6((six.to_bits() >> 64 << 64).into()),
        },
    }
}

fn key(kind: &str, text: &str) -> [u8; 32] {
    Sha256::digest(format!("{kind}\0{text}").as_bytes()).into()
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
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: Place<'_> = Place::Address(None);

    /// The wait, where an attempt with a wrong password is not let through.
    fn fail(throttle: &Throttle, name: &str, place: Place<'_>, now: Instant) -> Result<(), u64> {
        throttle.admit(name, place, now).map(Attempt::failed)
    }

    #[test]
    fn a_name_waits_longer_with_each_failure_and_no_other_does() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        for _ in 0..FREE {
            fail(&throttle, "ana", HERE, now).unwrap();
        }
        assert_eq!(fail(&throttle, "ana", HERE, now), Err(2));
        fail(&throttle, "luis", HERE, now).unwrap();
        // Whoever asks again too early waits no longer for it.
        assert_eq!(fail(&throttle, "ana", HERE, now + Duration::from_millis(1500)), Err(1));
        for expected in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let Err(wait) = fail(&throttle, "ana", HERE, now) else { panic!("let through before its wait") };
            now += Duration::from_secs(wait);
            fail(&throttle, "ana", HERE, now).unwrap();
            assert_eq!(fail(&throttle, "ana", HERE, now), Err(expected));
        }
        now += FORGET_AFTER;
        fail(&throttle, "ana", HERE, now).unwrap();
        fail(&throttle, "ana", HERE, now).unwrap();
    }

    #[test]
    fn success_forgets_and_what_was_not_tried_does_not_count() {
        let throttle = Throttle::new();
        let now = Instant::now();
        for _ in 1..FREE {
            fail(&throttle, "ana", HERE, now).unwrap();
        }
        throttle.admit("ana", HERE, now).unwrap().succeeded();
        for _ in 1..FREE {
            fail(&throttle, "ana", HERE, now).unwrap();
        }
        for _ in 0..50 {
            drop(throttle.admit("ana", HERE, now).unwrap());
        }
        fail(&throttle, "ana", HERE, now).unwrap();
        // Nor does it take away or add to a wait that was there before.
        assert_eq!(fail(&throttle, "ana", HERE, now), Err(2));
        drop(throttle.admit("ana", HERE, now + Duration::from_secs(2)).unwrap());
        fail(&throttle, "ana", HERE, now + Duration::from_secs(2)).unwrap();
    }

    #[test]
    fn attempts_at_the_same_time_do_not_slip_through_together() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let under_way: Vec<_> = (0..50).map_while(|_| throttle.admit("ana", HERE, now).ok()).collect();
        assert_eq!(under_way.len(), FREE as usize);
    }

    #[test]
    fn an_own_browser_waits_for_nobody_else() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let stranger = Place::Address(Some(Ipv4Addr::new(10, 0, 0, 1).into()));
        while fail(&throttle, "ana", stranger, now).is_ok() {}
        assert!(fail(&throttle, "ana", HERE, now).is_err());
        for _ in 0..FREE {
            fail(&throttle, "ana", Place::Device("hers"), now).unwrap();
        }
        assert_eq!(fail(&throttle, "ana", Place::Device("hers"), now), Err(2), "it is guessed at from there, too");
        throttle.admit("ana", Place::Device("another of hers"), now).unwrap().succeeded();
    }

    #[test]
    fn one_address_cannot_keep_all_others_out() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let from = |last| Place::Address(Some(Ipv4Addr::new(10, 0, 0, last).into()));
        let let_through = (0..1000).take_while(|n| fail(&throttle, &format!("name {n}"), from(1), now).is_ok()).count();
        assert_eq!(let_through, 30);
        assert_eq!(fail(&throttle, "ana", from(1), now), Err(2));
        fail(&throttle, "ana", from(2), now).unwrap();
        let six = |low| Place::Address(Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, low).into()));
        let let_through = (0..1000).take_while(|&n| fail(&throttle, &format!("six {n}"), six(n), now).is_ok()).count();
        assert_eq!(let_through, 30);
    }

    #[test]
    fn many_names_are_held_back_together_and_take_bounded_memory() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        let from = |n: u32| Place::Address(Some(Ipv4Addr::from_bits(n).into()));
        let let_through =
            (0..1000).take_while(|&n| fail(&throttle, &format!("name {n}"), from(n), now).is_ok()).count();
        assert_eq!(let_through, 600);
        assert_eq!(fail(&throttle, "ana", from(5000), now), Err(1));
        for number in 0..2 * MOST_REMEMBERED as u32 {
            now += Duration::from_millis(101);
            fail(&throttle, &format!("another {number}"), from(number), now).unwrap();
        }
        let recent = throttle.lock();
        assert_eq!((recent.failures.len(), recent.addresses.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
    }
}
