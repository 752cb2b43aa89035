//! The way of a generation's events from who writes to who reads.

use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use crate::{Event, ModelError};

/// The events of one generation. Blocks while waiting for the next; dropping it cancels.
pub struct TokenStream {
    events: mpsc::Receiver<Result<Event, ModelError>>,
    /// Lives as long as somebody reads; the writer looks whether it still does.
    _reader: Arc<()>,
    ended: bool,
}

/// The writing end of a [`TokenStream`].
pub(crate) struct EventSender {
    events: mpsc::Sender<Result<Event, ModelError>>,
    reader: Weak<()>,
}

impl TokenStream {
    pub(crate) fn channel() -> (EventSender, TokenStream) {
        let (sender, events) = mpsc::channel();
        let reader = Arc::new(());
        let sender = EventSender { events: sender, reader: Arc::downgrade(&reader) };
        (sender, TokenStream { events, _reader: reader, ended: false })
    }
}

impl EventSender {
    /// Whether the stream still exists.
    pub(crate) fn is_read(&self) -> bool {
        self.reader.strong_count() > 0
    }

    /// Sends an event; nobody being there to read it is no error.
    pub(crate) fn send(&self, event: Result<Event, ModelError>) {
        self.events.send(event).ok();
    }
}

/// What came of waiting for an event.
pub enum Waited {
    /// It came.
    Event(Result<Event, ModelError>),
    /// None came in the time given; there may be more.
    Nothing,
    /// There are no more.
    End,
}

impl TokenStream {
    /// Waits for the next event for at most this long.
    pub fn wait(&mut self, most: Duration) -> Waited {
        if self.ended {
            return Waited::End;
        }
        match self.events.recv_timeout(most) {
            Ok(event) => Waited::Event(self.seen(event)),
            Err(mpsc::RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(mpsc::RecvTimeoutError::Disconnected) => Waited::Event(self.seen(Err(cut_off()))),
        }
    }

    fn seen(&mut self, event: Result<Event, ModelError>) -> Result<Event, ModelError> {
        self.ended = matches!(event, Ok(Event::Done(_)) | Err(_));
        event
    }
}

/// A writer that ends without a last event must not look like a complete answer.
fn cut_off() -> ModelError {
    ModelError::Compute("the generator stopped in the middle of an answer".into())
}

impl Iterator for TokenStream {
    type Item = Result<Event, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().unwrap_or_else(|_| Err(cut_off()));
        Some(self.seen(event))
    }
}
