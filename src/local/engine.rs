//! The data directory, opened by this process or held by a server.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;

use super::{Call, Client, Event, Listener};
use crate::app::{App, AppError};
use crate::config::Config;
use crate::lock::LockError;

/// Where calls are performed.
pub enum Engine {
    /// Here.
    Own(Box<App>),
    /// By the server that has the directory.
    Served(Client),
}

impl Engine {
    /// Opens the data directory for `command`, or finds the server that has it. Fails when anything else has it.
    pub fn open(config: Config, command: &str, runtime: Handle) -> Result<Self, AppError> {
        let data_dir = config.data_dir()?;
        match App::open(config, command, runtime) {
            Ok(app) => Ok(Self::Own(Box::new(app))),
            Err(AppError::Lock(taken @ LockError::Taken { .. })) => match Client::find(&data_dir) {
                Some(client) => Ok(Self::Served(client)),
                None => Err(taken.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Has a call performed. `hear` hears of it meanwhile and returns `false` to take it back, as setting `cancel` does.
    pub fn call<C: Call>(
        &self,
        call: C,
        cancel: &Arc<AtomicBool>,
        hear: &mut dyn FnMut(Event) -> bool,
    ) -> anyhow::Result<C::Reply> {
        match self {
            Self::Own(app) => call.perform(app, &mut Listener::new(hear, cancel.clone())),
            Self::Served(client) => client.call(call, cancel, hear),
        }
    }

    /// Has a call performed that is soon done.
    pub fn get<C: Call>(&self, call: C) -> anyhow::Result<C::Reply> {
        self.call(call, &Arc::default(), &mut |_| true)
    }
}
