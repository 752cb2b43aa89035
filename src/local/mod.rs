//! What the command line asks of a data directory, whether it opened that itself or a running server has it.
//!
//! A [`Call`] is performed on an open [`App`] and nowhere else. The command line does so itself when it owns the directory;
//! when a server does, the call goes to it through a socket in the directory, one JSON line there and JSON lines back
//! ([`Line`]), so that both ways give the same. [`Engine`] picks the way.
//!
//! The socket is for the owner of the directory only: file mode 0600, and the system tells the server who is at the other
//! end. That caller is the local administrator, as without a server, and reads as others only where the call says so.
//! Nothing of this can be reached over the network.
//!
//! A new call is one type that implements [`Call`], and its name in the list below.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use intramuros_ingest::access::{Acl, Caller};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::accounts::AccountCommand;
use crate::app::App;
use crate::index;

mod calls;
mod client;
mod engine;
mod ingest;
mod server;

pub use calls::{
    DocumentText, Examine, Forget, ListDocuments, ListFeedback, ListJobs, Question, Search, ShowDocument, ShowJob,
};
pub use client::Client;
pub use engine::Engine;
pub use ingest::{Ingest, Ingested, pass};
pub use server::listen;

/// Something the command line asks of an open data directory.
pub trait Call: Into<AnyCall> {
    /// What comes of it.
    type Reply: Serialize + DeserializeOwned;

    /// Does it. Blocks; must be called from outside of the runtime's threads.
    fn perform(&self, app: &App, listener: &mut Listener<'_>) -> anyhow::Result<Self::Reply>;
}

/// Makes one type of all calls, as they travel.
macro_rules! calls {
    ($($name:ident),* $(,)?) => {
        /// Any call.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum AnyCall {
            $(#[doc = concat!("See [`", stringify!($name), "`].")] $name($name),)*
        }

        impl AnyCall {
            /// Does it, and returns the last line to its caller.
            fn perform(&self, app: &App, listener: &mut Listener<'_>) -> anyhow::Result<Vec<u8>> {
                match self {
                    $(Self::$name(call) => Ok(Line::Done(call.perform(app, listener)?).to_bytes()?),)*
                }
            }
        }

        $(impl From<$name> for AnyCall {
            fn from(call: $name) -> Self {
                Self::$name(call)
            }
        })*
    };
}

calls! {
    Search,
    Question,
    ListDocuments,
    ShowDocument,
    DocumentText,
    Forget,
    ListJobs,
    ShowJob,
    ListFeedback,
    Ingest,
    AccountCommand,
    Examine,
}

/// What is heard of a call before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A checked piece of an answer.
    Text(String),
    /// Somebody else changes the index; this call waits for its turn.
    Queued,
    /// A source has been listed and has this many documents to go through.
    Listed(u64),
    /// This many passages more went through the embedder.
    Embedded(u64),
    /// One document more is through.
    Document,
    /// Something an administrator should look at.
    Warning(String),
    /// The source is through.
    SourceEnded,
    /// A source could not be gone through, for this reason; the others go on.
    SourceFailed(String),
}

/// Whoever hears of a call, and may take it back.
pub struct Listener<'a> {
    hear: &'a mut dyn FnMut(Event) -> bool,
    cancel: Arc<AtomicBool>,
}

impl<'a> Listener<'a> {
    /// `hear` returns `false` when nobody listens any more, which cancels the call, as setting `cancel` does.
    pub fn new(hear: &'a mut dyn FnMut(Event) -> bool, cancel: Arc<AtomicBool>) -> Self {
        Self { hear, cancel }
    }

    /// Tells something; returns whether the call is to go on.
    pub fn tell(&mut self, event: Event) -> bool {
        if !(self.hear)(event) {
            self.cancel.store(true, Ordering::Relaxed);
        }
        !self.is_cancelled()
    }

    /// Whether the call was taken back.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Waits until nobody else changes the index, having said so; returns whether the call is to go on.
    fn wait_for_turn(&mut self, app: &App) -> bool {
        if index::is_busy(app) {
            self.tell(Event::Queued);
            while index::is_busy(app) && !self.is_cancelled() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        !self.is_cancelled()
    }
}

/// One line from the server to the command line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<T> {
    /// There is more to come.
    Event(Event),
    /// The last line: what came of the call.
    Done(T),
    /// The last line: why nothing did.
    Error(String),
}

impl<T: Serialize> Line<T> {
    fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// The line that begins a connection. After it the caller says nothing; that it ends its side takes the call back.
#[derive(Serialize, Deserialize)]
struct Request<C> {
    /// Of the program that calls; another one's calls may mean something else.
    version: String,
    call: C,
}

/// Of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name of the socket in the data directory.
const SOCKET: &str = "socket";

/// Longest path that the system takes as the address of a socket everywhere; see unix(7).
const MOST_ADDRESS_BYTES: usize = 103;

/// Where the socket of a data directory is, in words short enough for the system.
struct Address {
    path: PathBuf,
    /// The directory, when the path goes through its handle.
    _directory: Option<File>,
}

impl Address {
    fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        if path.as_os_str().len() <= MOST_ADDRESS_BYTES || !cfg!(target_os = "linux") {
            return Ok(Self { path, _directory: None });
        }
        use std::os::fd::AsRawFd;
        let directory = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }
}

/// Who asks: the local administrator, unless the call is made on behalf of others.
fn caller(principals: Option<&Acl>) -> Caller {
    match principals {
        None => Caller::LocalAdministrator,
        Some(principals) => Caller::new(principals.readers().cloned()),
    }
}

/// An error with its causes in one line, each once.
pub fn error_text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Most messages already hold their cause.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
