//! The command line's end of the socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::{Address, AnyCall, Call, Event, Line, Request, VERSION};

/// How often a waiting call looks whether it was taken back.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A server that has the data directory.
#[derive(Debug)]
pub struct Client {
    data_dir: PathBuf,
}

impl Client {
    /// The server of this data directory, if one answers.
    pub fn find(data_dir: &Path) -> Option<Self> {
        connect(data_dir).ok()?;
        Some(Self { data_dir: data_dir.to_owned() })
    }

    /// Sends a call and hears its lines to the last. Taking it back is told to the server, which ends it in good order.
    pub fn call<C: Call>(
        &self,
        call: C,
        cancel: &AtomicBool,
        hear: &mut dyn FnMut(Event) -> bool,
    ) -> anyhow::Result<C::Reply> {
        let call: AnyCall = call.into();
        let mut request = serde_json::to_vec(&Request { version: VERSION.to_owned(), call })
            .context("cannot send this to the server that has the data directory")?;
        request.push(b'\n');
        let mut stream = connect(&self.data_dir).context("the server that has the data directory does not answer")?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.write_all(&request).context("the server that has the data directory does not listen")?;

        let mut input = BufReader::new(stream);
        let mut line = Vec::new();
        let mut taken_back = false;
        loop {
            if !taken_back && cancel.load(Ordering::Relaxed) {
                taken_back = true;
                // The server may have ended; then reading says so.
                input.get_ref().shutdown(Shutdown::Write).ok();
            }
            match input.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {}
                Ok(_) => bail!("the server ended before it was done with this; its log says why"),
                // What came of the line so far stays in it.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("the connection to the server broke off"),
            }
            match serde_json::from_slice(&line)
                .context("the server answers in a way that this program does not know")?
            {
                Line::Event(event) => {
                    if !hear(event) {
                        cancel.store(true, Ordering::Relaxed);
                    }
                }
                Line::Done(reply) => return Ok(reply),
                Line::Error(text) => return Err(anyhow!(text)),
            }
            line.clear();
        }
    }
}

fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    let address = Address::of(data_dir)?;
    UnixStream::connect(&address.path)
}
