//! What tells weights apart.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::parameters::{Named, collect};

/// SHA-256 of all that is written to it.
#[derive(Debug, Default)]
pub(crate) struct Checksum(Sha256);

impl Checksum {
    /// In hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SHA-256 of text, in hexadecimal digits.
pub(crate) fn checksum_of_text(text: &str) -> String {
    let mut checksum = Checksum::default();
    checksum.0.update(text);
    checksum.hex()
}

/// SHA-256 of a network: its hyperparameters as text, and its parameters with their names and shapes, whatever file they
/// come from.
pub(crate) fn checksum_of(hyperparameters: &str, network: &impl Named) -> String {
    let mut checksum = Checksum::default();
    checksum.0.update(hyperparameters);
    for parameter in collect(network) {
        checksum.0.update(format!("{} {:?};", parameter.name, parameter.data.shape()));
        checksum.0.update(parameter.data.as_bytes());
    }
    checksum.hex()
}
