//! `intramuros serve`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Session;
use crate::app::App;
use crate::{http, local};

/// What requests without a client get to notice that nobody waits for them.
const LAST_LOOK: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    /// Address and port in place of `server.listen` of the configuration; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let app = Arc::new(session.app("serve")?);
    serve(session, app, args.listen, |address| {
        outln!("Intramuros serves on http://{address}   (Ctrl-C ends it)");
    })
}

/// Serves until Ctrl-C or SIGTERM; `ready` is told the address.
pub fn serve(
    session: &Session,
    app: Arc<App>,
    listen: Option<SocketAddr>,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let settings = app.config().server.clone();
    let address = match listen {
        Some(address) => address,
        None => settings.listen.parse().context("`server.listen`")?,
    };
    if !address.ip().is_loopback() {
        tracing::warn!("{address} can be reached from other machines in plain http: put a proxy with TLS in front");
    }
    let (end, mut ending) = tokio::sync::watch::channel(false);
    // What can fail comes before the runner of jobs begins to work.
    let (listener, calls) = session.runtime.block_on(async {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: end what uses it, or choose another with --listen ADDRESS")
        })?;
        let calls = local::listen(&app, async move {
            // Dropped with the server, it means the same.
            let _ = ending.wait_for(|ending| *ending).await;
        });
        anyhow::Ok((listener, calls.context("cannot make the socket in the data directory")?))
    })?;
    let server = http::Server::new(app.clone())?;
    session.runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        ready(listener.local_addr()?);
        let (runner, within) = (server.runner().clone(), Duration::from_secs(settings.shutdown_s));
        let (stopped, jobs_ended) = tokio::sync::oneshot::channel();
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            end.send_replace(true);
            eprintln!("ending: no new requests, what runs comes to its end; once more ends at once");
            tokio::spawn(async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                std::process::exit(130);
            });
            // The running job comes to its end beside the requests.
            tokio::task::spawn_blocking(move || stopped.send(runner.stop(within)));
        };
        http::serve(listener, http::router(server.clone()), &settings, stop).await?;
        // Whoever was cut off notices at its next look.
        if tokio::time::timeout(LAST_LOOK, server.at_rest()).await.is_err() {
            tracing::warn!("some requests still work and are cut off");
        }
        if !jobs_ended.await.unwrap_or(false) {
            tracing::warn!("the running job did not come to a safe place in time; it goes on after the restart");
        }
        calls.await?;
        anyhow::Ok(())
    })
}
