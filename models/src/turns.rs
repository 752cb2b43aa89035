//! Who computes next. A batch has all cores for itself, which is faster than several at once side by side, and somebody's
//! question does not wait for documents that are being indexed or weighed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Questions in a row that go before a batch of passages; then that has its turn, so that it never waits for good.
const QUESTIONS_IN_A_ROW: u32 = 8;

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A person waits for it, and it is short.
    Question,
    /// A batch of a longer task.
    Passages,
}

/// Gives out turns, one at a time, first come first served among the same kind of work.
#[derive(Default)]
pub struct Turns {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The right to compute; dropping it lets the next one in.
pub struct Turn<'a>(&'a Turns);

#[derive(Default)]
struct Queue {
    busy: bool,
    tickets: u64,
    questions: VecDeque<u64>,
    passages: VecDeque<u64>,
    in_a_row: u32,
}

impl Queue {
    fn is_next(&self, ticket: u64) -> bool {
        let passages_first = self.questions.is_empty() || self.in_a_row >= QUESTIONS_IN_A_ROW;
        let first =
            if passages_first { self.passages.front().or(self.questions.front()) } else { self.questions.front() };
        !self.busy && first == Some(&ticket)
    }

    fn of(&mut self, work: Work) -> &mut VecDeque<u64> {
        match work {
            Work::Question => &mut self.questions,
            Work::Passages => &mut self.passages,
        }
    }
}

impl Turns {
    /// Waits for a turn.
    pub fn take(&self, work: Work) -> Turn<'_> {
        let mut queue = self.lock();
        let ticket = queue.tickets;
        queue.tickets += 1;
        queue.of(work).push_back(ticket);
        while !queue.is_next(ticket) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.of(work).pop_front();
        queue.in_a_row = if work == Work::Question { queue.in_a_row.saturating_add(1) } else { 0 };
        queue.busy = true;
        Turn(self)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whoever panicked had no lock while it computed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().busy = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// The order in which work gets its turn that came while another had it.
    fn order(waiting: &[Work]) -> Vec<usize> {
        let turns = Turns::default();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let held = turns.take(Work::Passages);
            for (number, &work) in waiting.iter().enumerate() {
                let (sender, turns) = (sender.clone(), &turns);
                scope.spawn(move || {
                    let _turn = turns.take(work);
                    sender.send(number).unwrap();
                });
                while turns.lock().tickets < number as u64 + 2 {
                    thread::yield_now();
                }
            }
            drop(held);
        });
        drop(sender);
        receiver.into_iter().collect()
    }

    #[test]
    fn questions_go_first_and_each_kind_in_its_order() {
        use Work::{Passages, Question};
        assert_eq!(order(&[Passages, Passages, Question, Question]), [2, 3, 0, 1]);
    }

    #[test]
    fn passages_do_not_wait_for_all_questions() {
        let mut waiting = vec![Work::Question; 20];
        waiting[0] = Work::Passages;
        let at = order(&waiting).iter().position(|&number| number == 0);
        assert_eq!(at, Some(QUESTIONS_IN_A_ROW as usize));
    }

    #[test]
    fn a_panic_gives_its_turn_back() {
        let turns = Turns::default();
        let panicked = thread::scope(|scope| {
            let work = || {
                let _turn = turns.take(Work::Passages);
                panic!("on purpose");
            };
            scope.spawn(work).join()
        });
        assert!(panicked.is_err());
        drop(turns.take(Work::Question));
    }
}
