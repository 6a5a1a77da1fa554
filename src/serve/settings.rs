//! What a server serves, to whom, and within which limits.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::labelling::LabelOptions;
use crate::base::{Error, Result};
use crate::nn::device::DeviceChoice;
use crate::nn::precision::Precision;

/// Shortest token: what is shorter can be guessed.
const SHORTEST_TOKEN: usize = 8;

/// What a server serves, to whom, and within which limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Runs whose models predict.
    pub runs: Vec<PathBuf>,
    /// What is labelled, if something is.
    pub label: Option<LabelOptions>,
    /// The address that it listens at.
    pub host: IpAddr,
    /// The port; 0 for a free one.
    pub port: u16,
    /// Who may use it.
    pub access: Access,
    /// Whether images may be fetched from addresses that clients name.
    pub allow_url: bool,
    /// How images are predicted.
    pub compute: Compute,
    /// What is refused.
    pub limits: Limits,
}

/// Who may use a server.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What every request must show.
    pub token: Option<String>,
    /// Whether it may listen beyond this machine without a token.
    pub insecure: bool,
    /// Names, besides its own, by which clients may call it.
    pub hosts: Vec<String>,
}

/// How images are predicted.
#[derive(Debug, Clone, Default)]
pub struct Compute {
    /// Where.
    pub device: DeviceChoice,
    /// In which numbers.
    pub precision: Precision,
    /// Side of sliding windows; by default as large as fits in memory, over images that are large.
    pub tile: Option<usize>,
    /// Most bytes of main memory that a prediction may take; what is free if left out.
    pub memory: Option<u64>,
}

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most requests that wait.
    pub queue: usize,
    /// Most bytes of an image file.
    pub bytes: u64,
    /// Most pixels of an image.
    pub pixels: u64,
    /// Longest time that an image is computed.
    pub time: Duration,
    /// Bytes of the results that are kept for whoever asks for them later.
    pub kept: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queue: 16, bytes: 256 << 20, pixels: 100_000_000, time: Duration::from_secs(600), kept: 1 << 30 }
    }
}

impl Settings {
    /// Says what does not go together, before anything is opened.
    ///
    /// # Errors
    ///
    /// Among others: the server would be open to a network without a token.
    pub fn check(&self) -> Result<()> {
        if self.runs.is_empty() && self.label.is_none() {
            return Err(Error::conflict("run", "or `label` is needed: a model to predict with, or images to label"));
        }
        let Access { token, insecure, .. } = &self.access;
        if !self.host.is_loopback() && token.is_none() && !insecure {
            let reason = format!(
                "{} can be reached from other machines: give a `token` that clients must know, or `insecure` if the network \
                 is yours alone",
                self.host
            );
            return Err(Error::conflict("host", reason));
        }
        if token.is_some() && *insecure {
            return Err(Error::conflict(
                "insecure",
                "says that no token is needed, but `token` is given; leave one out",
            ));
        }
        let is_name = |host: &&String| host.starts_with('[') || !host.contains(['/', ':']);
        if let Some(host) = self.access.hosts.iter().find(|host| !is_name(host)) {
            return Err(Error::invalid("allow_host", host, "a name without scheme and port, such as gpu.example.org"));
        }
        match token {
            Some(token) if token.len() < SHORTEST_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) => {
                let expected = format!("{SHORTEST_TOKEN} or more letters, digits and signs without spaces");
                Err(Error::invalid("token", "not shown here", expected))
            }
            _ => Ok(()),
        }
    }
}
