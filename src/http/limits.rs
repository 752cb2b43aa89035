//! Bounds on how much work is taken in: nothing waits in a queue without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::ApiError;

/// A place to work in, with a bounded queue before it.
#[derive(Clone)]
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    retry_after_s: u64,
}

/// A place that is held; dropping it lets the next one in.
pub struct Pass {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// A gate that lets `at_once` through and `most_waiting` wait.
    pub fn new(at_once: usize, most_waiting: usize, retry_after_s: u64) -> Self {
        Self { places: Arc::new(Semaphore::new(at_once)), waiting: Arc::default(), most_waiting, retry_after_s }
    }

    /// Waits for a place; refuses at once when the queue is full. Whoever goes away while waiting leaves the queue.
    pub async fn enter(&self) -> Result<Pass, ApiError> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(Pass { _permit: permit });
        }
        let Some(_place) = Waiting::join(self) else {
            return Err(ApiError::Busy { retry_after_s: self.retry_after_s });
        };
        let permit = self.places.clone().acquire_owned().await.map_err(|closed| ApiError::Internal(closed.into()))?;
        Ok(Pass { _permit: permit })
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(gate: &'a Gate) -> Option<Self> {
        let join = |count| (count < gate.most_waiting).then_some(count + 1);
        gate.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join).ok().map(|_| Self(&gate.waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Puts a piece into a stream's queue; `false` if nobody takes it in time. Without the runtime's timers, which are gone
/// before the last threads when the server ends.
pub fn send_within<T>(sender: &mpsc::Sender<T>, mut piece: T, patience: Duration) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let until = Instant::now() + patience;
    loop {
        match sender.try_send(piece) {
            Ok(()) => return true,
            Err(TrySendError::Full(back)) if Instant::now() < until => piece = back,
            Err(_) => return false,
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// A number that a client gives, if it is one of 1 to `most`.
pub fn within<T: PartialOrd + From<u8> + std::fmt::Display>(field: &str, given: T, most: T) -> Result<T, ApiError> {
    if given < T::from(1) || given > most {
        return Err(ApiError::Invalid(format!("`{field}` is {given} and must lie between 1 and {most}")));
    }
    Ok(given)
}

/// The least that is expected of a client in the long run, in bytes a second: a place is not held for hours.
const LEAST_RATE: u64 = 16 << 10;

/// How a transfer goes.
pub struct Pace {
    begun: Instant,
    bytes: u64,
    patience: Duration,
}

impl Pace {
    /// It begins now; `patience` is how long nothing at all may come.
    pub fn new(patience: Duration) -> Self {
        Self { begun: Instant::now(), bytes: 0, patience }
    }

    /// Counts bytes; `false` once the whole is too slow.
    pub fn holds(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        let late = self.begun.elapsed().saturating_sub(self.patience);
        self.bytes >= late.as_secs() * LEAST_RATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_who_leaves_makes_room() {
        let gate = Gate::new(1, 1, 7);
        let held = gate.enter().await.unwrap();
        let (second, gate_2) = (gate.clone(), gate.clone());
        let waiting = tokio::spawn(async move { second.enter().await.map(|_| ()) });
        while gate.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = gate_2.enter().await.err().unwrap();
        assert!(matches!(refused, ApiError::Busy { retry_after_s: 7 }), "{refused}");

        waiting.abort();
        waiting.await.unwrap_err();
        assert_eq!(gate.waiting(), 0);
        drop(held);
        assert!(gate.enter().await.is_ok());
    }
}
