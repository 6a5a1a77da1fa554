//! Where the processes that a launcher starts find one another.

use std::net::Ipv4Addr;

use super::c10d::Store;
use super::membership::Membership;
use crate::base::{Error, Result};

/// Where the processes of one group, which this process starts on its machine, find one another, until this value is dropped.
#[derive(Debug)]
pub struct MeetingPlace {
    port: u16,
    _store: Store,
}

impl MeetingPlace {
    /// Begins to wait for them.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] if that is impossible, and in builds without libtorch.
    pub fn open() -> Result<Self> {
        let served = Store::serve();
        let served = served.map_err(|cause| Error::Process(format!("processes cannot be connected: {cause}")));
        served.map(|(store, port)| Self { port, _store: store })
    }

    /// The membership of the process of that rank in a group of `size`.
    pub fn membership(&self, rank: usize, size: usize) -> Membership {
        Membership {
            rank,
            size,
            local_rank: rank,
            local_size: size,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.port,
            launcher_serves: true,
            restarts: 0,
        }
    }
}
