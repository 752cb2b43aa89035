//! The server's end of the socket.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::de::IgnoredAny;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Address, AnyCall, Event, Line, Listener, Request, SOCKET, VERSION, error_text};
use crate::app::App;

/// Calls at a time; more wait outside.
const CALLS: u32 = 32;
/// Most bytes of a call.
const MOST_CALL_BYTES: u64 = 1 << 20;
/// Time in which a call must have been sent.
const CALL_TIME: Duration = Duration::from_secs(10);
/// Time in which a caller must take a line.
const LINE_TIME: Duration = Duration::from_secs(60);

/// What the connections know of the server. None of them keeps the application open: its owner does, and closing it
/// blocks, which an asynchronous task may not.
#[derive(Clone)]
struct Shared {
    app: Weak<App>,
    /// The user who owns the socket, and whom alone it serves.
    owner: u32,
    /// True once the server ends.
    ending: watch::Receiver<bool>,
    /// How long calls go on then.
    ending_time: Duration,
}

/// Begins to take calls through the socket in the data directory, until `stop` ends. The handle ends when every call has;
/// calls that change the index are taken back then, the others when they take longer than `server.shutdown_s`.
///
/// Must be called inside the runtime. Fails where the socket cannot be made.
pub fn listen(app: &Arc<App>, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let directory = app.data_dir().to_owned();
    let address = Address::of(&directory)?;
    // Whoever has the directory has its socket: one that is there was left by a process that is gone.
    remove(&address)?;
    let listener = UnixListener::bind(&address.path)?;
    std::fs::set_permissions(&address.path, std::fs::Permissions::from_mode(0o600))?;
    let owner = std::fs::symlink_metadata(&address.path)?.uid();
    let (end, ending) = watch::channel(false);
    let ending_time = Duration::from_secs(app.config().server.shutdown_s);
    let shared = Shared { app: Arc::downgrade(app), owner, ending, ending_time };

    Ok(tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CALLS as usize));
        tokio::select! {
            () = accept(listener, places.clone(), shared) => {}
            () = stop => {}
        }
        if let Err(error) = remove(&address) {
            tracing::warn!("cannot remove {}: {error}", directory.join(SOCKET).display());
        }
        end.send_replace(true);
        // All places free again: no call is left.
        let _all = places.acquire_many(CALLS).await;
    }))
}

fn remove(address: &Address) -> io::Result<()> {
    match std::fs::remove_file(&address.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn accept(listener: UnixListener, places: Arc<Semaphore>, shared: Shared) {
    // The semaphore is never closed.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    serve(stream, shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, say: the next one waits a little.
                tracing::warn!("cannot accept a connection to the socket: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// One connection, which is one call.
async fn serve(stream: UnixStream, shared: Shared) {
    let peer = stream.peer_cred().map(|peer| peer.uid());
    let (input, mut output) = stream.into_split();
    if !matches!(&peer, Ok(peer) if *peer == shared.owner) {
        return refuse(&mut output, "only the user who runs the server may use its data directory").await;
    }
    let mut input = BufReader::new(input);
    let call = match read(&mut input).await {
        Ok(Some(call)) => call,
        // Somebody only looked whether the server is there.
        Ok(None) => return,
        Err(error) => return refuse(&mut output, &error_text(&error)).await,
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(take_back(input, matches!(call, AnyCall::Ingest(_)), shared.clone(), cancel.clone()));
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || perform(&call, &shared.app, &cancel, output, &runtime)).await;
    watcher.abort();
    if let Err(panicked) = done {
        tracing::error!("a call of the command line broke off: {panicked}");
    }
}

async fn refuse(output: &mut OwnedWriteHalf, text: &str) {
    if let Ok(line) = Line::<()>::Error(text.to_owned()).to_bytes() {
        // Whoever does not take the refusal is gone already.
        let _ = timeout(LINE_TIME, output.write_all(&line)).await;
    }
}

/// Reads the one line of a caller; `None` if it said nothing.
async fn read(input: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<Option<AnyCall>> {
    let mut line = Vec::new();
    let mut bounded = input.take(MOST_CALL_BYTES);
    let read = timeout(CALL_TIME, bounded.read_until(b'\n', &mut line)).await;
    read.context("the server waited too long for the call")?.context("the server cannot read the call")?;
    if line.is_empty() {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        bail!("the server takes calls of up to {MOST_CALL_BYTES} bytes, each ended by a line feed");
    }
    let version = serde_json::from_slice::<Request<IgnoredAny>>(&line).context("the server got no call")?.version;
    if version != VERSION {
        bail!("the server is intramuros {VERSION} and this command is {version}: start the server anew");
    }
    let request: Request<AnyCall> = serde_json::from_slice(&line).context("the server does not know this call")?;
    Ok(Some(request.call))
}

/// Sets `cancel` when the caller ends its side or the server ends: at once for a call that goes on the next time, and
/// after some time for the others.
async fn take_back(mut input: BufReader<OwnedReadHalf>, resumable: bool, mut shared: Shared, cancel: Arc<AtomicBool>) {
    let left = async {
        let mut rest = [0; 64];
        // There is nothing more to say; what comes anyway is not kept.
        while input.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let ended = async {
        // An error means that the server is gone already.
        let _ = shared.ending.wait_for(|ending| *ending).await;
        if !resumable {
            tokio::time::sleep(shared.ending_time).await;
        }
    };
    tokio::select! {
        () = left => {}
        () = ended => {}
    }
    cancel.store(true, Ordering::Relaxed);
}

/// Performs a call and writes its lines. Runs in a thread that may block.
fn perform(call: &AnyCall, app: &Weak<App>, cancel: &Arc<AtomicBool>, mut output: OwnedWriteHalf, runtime: &Handle) {
    let mut write = |line: serde_json::Result<Vec<u8>>| {
        line.is_ok_and(|line| {
            let written = runtime.block_on(async { timeout(LINE_TIME, output.write_all(&line)).await });
            matches!(written, Ok(Ok(())))
        })
    };
    let mut hear = |event: Event| write(Line::<()>::Event(event).to_bytes());
    let outcome = match app.upgrade() {
        Some(app) => call.perform(&app, &mut Listener::new(&mut hear, cancel.clone())),
        None => Err(anyhow!("the server is ending")),
    };
    let last = match outcome {
        Ok(line) => Ok(line),
        Err(error) => Line::<()>::Error(error_text(&error)).to_bytes(),
    };
    // A caller that is gone hears of nothing.
    write(last);
}
