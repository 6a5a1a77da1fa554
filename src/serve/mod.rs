//! `segtool serve`: models in the browser and for programs, over HTTP, and labelling of images with a forest that learns from
//! the strokes.
//!
//! ```text
//! request -> guard (host, origin, token) -> upload into memory -> queue -> one thread that computes, image after image or
//!     several of one size together -> result in memory -> what is shown, and downloads, made when they are asked for
//! ```
//!
//! Nothing of what is uploaded is written to a disk: the library reads [files in memory](crate::base::store::HeldFile).

mod app;
mod assets;
mod budget;
mod draw;
pub(crate) mod error;
mod fetch;
mod files;
mod finished;
mod guard;
mod job;
mod jobs;
pub mod labelling;
mod listen;
mod metrics;
mod models;
pub(crate) mod params;
mod patient;
mod queue;
mod routes;
mod settings;
pub(crate) mod sse;
mod submit;
mod upload;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::net::TcpListener;

use crate::base::{Error, Result};
use app::Shared;
pub use models::{Model, Models};
pub use settings::{Access, Compute, Limits, Settings};

/// A server that is ready to answer.
pub struct Server {
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the models, and listens.
    ///
    /// # Errors
    ///
    /// If the settings do not go together, a model cannot be opened, or the port is taken.
    pub fn open(mut settings: Settings) -> Result<Self> {
        settings.check()?;
        let asked = SocketAddr::new(settings.host, settings.port);
        let taken = |cause: std::io::Error| {
            Error::failed(format!("listen at {asked}"), format!("{cause}; choose another `port`, or 0 for a free one"))
        };
        let listener = std::net::TcpListener::bind(asked).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        settings.port = address.port();
        Ok(Self { shared: Arc::new(Shared::open(settings)?), listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a browser on this machine, with the token.
    pub fn url(&self) -> String {
        let host = match self.address {
            address if address.ip().is_unspecified() && address.is_ipv6() => "[::1]".to_owned(),
            address if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
            SocketAddr::V4(address) => address.ip().to_string(),
        };
        let token = self.shared.settings.access.token.as_deref();
        let query = token.map_or_else(String::new, |token| format!("?token={}", files::percent_encoded(token)));
        format!("http://{host}:{}/{query}", self.address.port())
    }

    /// The models that it serves.
    pub fn models(&self) -> &Models {
        &self.shared.models
    }

    /// Answers until `stop` is set. Then nothing more is taken, what is computed is given up, and requests have a moment to
    /// end.
    ///
    /// # Errors
    ///
    /// If the system gives it no threads.
    pub fn run(self, stop: &AtomicBool) -> Result<()> {
        let failed = |cause: std::io::Error| Error::failed("start the server", cause);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
        let worker = self.shared.start()?;
        let router = routes::router(&self.shared);
        let shared = Arc::clone(&self.shared);
        let listener = self.listener;
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            listen::listen(listener, router, stop, || shared.close()).await;
            Ok::<_, Error>(())
        })?;
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        // An image that is computed as a whole cannot be given up; the end of the program is the end of it.
        if worker.is_finished() {
            let _ = worker.join();
        }
        Ok(())
    }
}
