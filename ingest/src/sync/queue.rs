//! Work spread over threads and handed back in order, with a bound on the bytes in memory.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What even an empty file costs while it is on its way, in bytes.
const COST_OF_ANY: u64 = 4 << 10;

/// Jobs `0..sizes.len()`: taken by threads in their order, finished in any, handed back in their order.
///
/// A job is let in when the bytes of those let in and not yet handed back leave room for it, or when there are none. As
/// jobs are let in in order, the one that is waited for has always been let in: nothing can lock up.
pub(super) struct Queue<T> {
    sizes: Vec<u64>,
    budget: u64,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    next_in: usize,
    next_out: usize,
    held: u64,
    finished: HashMap<usize, (u64, T)>,
    stopped: bool,
}

impl<T> Queue<T> {
    pub fn new(sizes: Vec<u64>, budget: u64) -> Self {
        let state = State { next_in: 0, next_out: 0, held: 0, finished: HashMap::new(), stopped: false };
        Self { sizes, budget, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next job for a thread, once there is room; `None` when there is no more to do.
    pub fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let job = state.next_in;
            let cost = self.sizes.get(job)?.saturating_add(COST_OF_ANY);
            if state.stopped {
                return None;
            }
            if state.held == 0 || state.held.saturating_add(cost) <= self.budget {
                state.next_in += 1;
                state.held += cost;
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives back what a job came to, which takes `bytes` in memory.
    pub fn finish(&self, job: usize, bytes: u64, result: T) {
        let mut state = self.lock();
        let cost = bytes.saturating_add(COST_OF_ANY);
        state.held = state.held.saturating_sub(self.sizes[job].saturating_add(COST_OF_ANY)).saturating_add(cost);
        state.finished.insert(job, (cost, result));
        self.changed.notify_all();
    }

    /// Waits for the next job in order; `None` after the last one.
    pub fn next(&self) -> Option<(usize, T)> {
        let mut state = self.lock();
        let job = state.next_out;
        if job == self.sizes.len() {
            return None;
        }
        loop {
            if let Some((cost, result)) = state.finished.remove(&job) {
                state.next_out += 1;
                state.held = state.held.saturating_sub(cost);
                self.changed.notify_all();
                return Some((job, result));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes threads end when the one that waits for them leaves, for whatever reason.
pub(super) struct StopOnDrop<'a, T>(pub &'a Queue<T>);

impl<T> Drop for StopOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_and_bytes_stay_bounded() {
        let sizes: Vec<u64> = (0..200).map(|i| [10, 70_000, 900_000, 0][i % 4]).collect();
        let budget = 1_000_000;
        let queue = Queue::new(sizes.clone(), budget);
        let (in_memory, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(job) = queue.take() {
                        let now = in_memory.fetch_add(sizes[job], Ordering::SeqCst) + sizes[job];
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(sizes[199 - job] % 97));
                        queue.finish(job, sizes[job], job * 2);
                    }
                });
            }
            let _stop = StopOnDrop(&queue);
            for expected in 0..200 {
                let (job, result) = queue.next().unwrap();
                assert_eq!((job, result), (expected, expected * 2));
                in_memory.fetch_sub(sizes[job], Ordering::SeqCst);
            }
            assert!(queue.next().is_none());
        });
        // Between the hand-over and the count above, one more may have been let in.
        assert!(most.into_inner() <= budget + 900_000);
    }

    #[test]
    fn one_job_larger_than_the_budget_passes_and_leaving_ends_the_threads() {
        let queue = Queue::new(vec![1 << 40; 50], 1000);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(job) = queue.take() {
                        queue.finish(job, 1 << 41, ());
                    }
                });
            }
            let _stop = StopOnDrop(&queue);
            assert_eq!(queue.next(), Some((0, ())));
            assert_eq!(queue.next(), Some((1, ())));
        });
    }
}
