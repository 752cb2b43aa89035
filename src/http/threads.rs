//! Work off the async threads, counted: none of it may outlive the runtime, whose timers it uses.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The threads that work for requests.
#[derive(Clone)]
pub struct Threads(Arc<watch::Sender<usize>>);

impl Threads {
    /// None works yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Begins work that goes on even if nobody awaits it.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let working = Working::begin(self.clone());
        tokio::task::spawn_blocking(move || {
            let _working = working;
            work()
        })
    }

    /// Waits until none works.
    pub async fn ended(&self) {
        // The sender is here, so there is always a number to wait for.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

struct Working(Threads);

impl Working {
    fn begin(threads: Threads) -> Self {
        threads.0.send_modify(|count| *count += 1);
        Self(threads)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
