//! Threads that compute one thing together.
//!
//! A token passes through some hundred small products, each too short to wake a sleeping thread for. The members of a
//! team therefore look out for the next one for a moment before they sleep, and pieces are handed out one by one, so that
//! a member whom the system has set aside holds up nobody but itself.
#![expect(unsafe_code, reason = "hands a borrowed closure to threads that outlive the borrow")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::ModelError;

/// How often a member looks for work before it sleeps: some tens of microseconds.
const PATIENCE: u32 = 4000;

/// The low half of [`Shared::turn`] while a job is being put down: more than any job has pieces.
const CLOSED: u64 = u32::MAX as u64;

/// A fixed number of threads, the caller among them.
pub struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by whoever has the team at work.
    busy: Mutex<()>,
}

struct Shared {
    /// The number of the job in the high half, its next piece in the low half: one word, so that nobody takes a piece of
    /// a job that he does not know.
    turn: AtomicU64,
    pieces: AtomicUsize,
    /// The closure, and the function that calls it.
    work: AtomicPtr<()>,
    call: AtomicPtr<()>,
    finished: AtomicUsize,
    panicked: AtomicBool,
    sleeping: AtomicUsize,
    ended: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Team {
    /// A team of so many threads, the caller's counted; `name` is what the others are called.
    ///
    /// # Errors
    /// [`ModelError::Compute`] when the system gives no threads.
    pub fn new(name: &str, threads: usize) -> Result<Self, ModelError> {
        let shared = Arc::new(Shared {
            turn: AtomicU64::new(CLOSED),
            pieces: AtomicUsize::new(0),
            work: AtomicPtr::default(),
            call: AtomicPtr::default(),
            finished: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut team = Self { shared, threads: Vec::new(), busy: Mutex::new(()) };
        for index in 1..threads {
            let shared = team.shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{index}")).spawn(move || shared.serve());
            let thread = thread.map_err(|error| ModelError::Compute(format!("no threads for the {name}: {error}")))?;
            team.threads.push(thread);
        }
        Ok(team)
    }

    /// A team of all processors.
    ///
    /// # Errors
    /// As [`Team::new`].
    pub fn of_all_processors(name: &str) -> Result<Self, ModelError> {
        Self::new(name, std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `work` once for each number below `pieces`, on all threads, and returns when all calls have ended. Who finds
    /// the team at work already (a call from inside a piece, say) computes alone.
    ///
    /// # Panics
    /// When a piece did.
    pub fn run<F: Fn(usize) + Sync>(&self, pieces: usize, work: F) {
        let alone = self.threads.is_empty() || pieces <= 1;
        let turn = if alone { None } else { self.busy.try_lock().ok() };
        if turn.is_none() {
            (0..pieces).for_each(work);
            return;
        }
        assert!((pieces as u64) < CLOSED, "{pieces} pieces are too many");
        let shared = &*self.shared;
        let job = (shared.turn.load(Ordering::Relaxed) >> 32).wrapping_add(1) & CLOSED;
        // Closed first, so that nobody takes a piece before all of the job lies there; who sees the new count of pieces
        // (`Release` here, `Acquire` in `claim`) sees the closed turn too and takes none by the turn of the last job.
        shared.turn.store(job << 32 | CLOSED, Ordering::SeqCst);
        shared.pieces.store(pieces, Ordering::Release);
        shared.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        shared.call.store(call::<F> as *mut (), Ordering::Relaxed);
        shared.finished.store(0, Ordering::Relaxed);
        shared.turn.store(job << 32, Ordering::SeqCst);
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            drop(shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
            shared.wake.notify_all();
        }
        let own = catch_unwind(AssertUnwindSafe(|| {
            while let Some(piece) = shared.claim(job) {
                let ended = Ended(shared);
                work(piece);
                drop(ended);
            }
        }));
        if own.is_err() {
            while shared.claim(job).is_some() {
                drop(Ended(shared));
            }
        }
        let mut looked = 0u32;
        while shared.finished.load(Ordering::Acquire) < pieces {
            looked += 1;
            if looked.is_multiple_of(PATIENCE) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        drop(turn);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a piece of the work failed");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// Counts a piece as finished, whether it ended well or not.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Release);
    }
}

/// Calls the closure behind a pointer.
///
/// # Safety
/// `work` must point to a living `F`.
unsafe fn call<F: Fn(usize) + Sync>(work: *const (), piece: usize) {
    // SAFETY: the caller's promise.
    unsafe { (*work.cast::<F>())(piece) }
}

impl Shared {
    /// The next piece of a job, unless all are taken or another job has begun.
    fn claim(&self, job: u64) -> Option<usize> {
        let mut turn = self.turn.load(Ordering::Acquire);
        loop {
            let piece = turn & CLOSED;
            if turn >> 32 != job || piece == CLOSED || piece >= self.pieces.load(Ordering::Acquire) as u64 {
                return None;
            }
            match self.turn.compare_exchange_weak(turn, turn + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(piece as usize),
                Err(now) => turn = now,
            }
        }
    }

    /// What the other threads do until the team ends.
    fn serve(&self) {
        // Jobs are counted from 1.
        let mut last = 0;
        while let Some(job) = self.wait(last) {
            last = job;
            let work = self.work.load(Ordering::Relaxed);
            let call = self.call.load(Ordering::Relaxed);
            while let Some(piece) = self.claim(job) {
                let ended = Ended(self);
                let run = AssertUnwindSafe(|| {
                    // SAFETY: a piece of `job` could be claimed, so its caller still waits in `run` for this piece to
                    // end. Its closure is alive, and as the job has not changed since, `work` and `call` are its own.
                    unsafe {
                        let call: unsafe fn(*const (), usize) = std::mem::transmute(call);
                        call(work, piece);
                    }
                });
                if catch_unwind(run).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                drop(ended);
            }
        }
    }

    /// Waits for a job other than the last one; nothing when the team ends.
    fn wait(&self, last: u64) -> Option<u64> {
        let news = || {
            let turn = self.turn.load(Ordering::SeqCst);
            let job = turn >> 32;
            (job != last && turn & CLOSED != CLOSED).then_some(job)
        };
        for _ in 0..PATIENCE {
            if let Some(job) = news() {
                return Some(job);
            }
            std::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let job = loop {
            if self.ended.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(job) = news() {
                break Some(job);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_job_after_job() {
        let team = Team::new("test", 4).unwrap();
        for pieces in (0..2000).map(|job| job % 37) {
            let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            team.run(pieces, |piece| {
                counts[piece].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn sleepers_wake_up() {
        let team = Team::new("test", 3).unwrap();
        let met = Mutex::new(std::collections::HashSet::new());
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            met.lock().unwrap().clear();
            // Each takes one piece and waits for the others; on a busy machine that may take a while.
            team.run(3, |_| {
                met.lock().unwrap().insert(std::thread::current().id());
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
                while met.lock().unwrap().len() < 3 && std::time::Instant::now() < deadline {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            assert_eq!(met.lock().unwrap().len(), 3);
        }
    }

    #[test]
    fn a_call_from_inside_and_a_second_caller_compute_alone() {
        let team = Team::new("test", 2).unwrap();
        let sum = AtomicUsize::new(0);
        team.run(4, |_| {
            team.run(5, |piece| {
                sum.fetch_add(piece, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.load(Ordering::Relaxed), 40);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        team.run(3, |piece| {
                            sum.fetch_add(piece, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.load(Ordering::Relaxed), 40 + 4 * 500 * 3);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new("test", 2).unwrap();
        for bad in 0..8 {
            let run = AssertUnwindSafe(|| team.run(8, |piece| assert!(piece != bad, "on purpose")));
            assert!(catch_unwind(run).is_err());
        }
        let sum = AtomicUsize::new(0);
        team.run(10, |piece| {
            sum.fetch_add(piece, Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), 45);
    }
}
