//! Decoded images and labels, kept from one epoch to the next as far as memory allows.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::sample::Decoded;
use crate::base::Result;
use crate::base::words::mebibytes;

/// Keeps decoded pairs up to a limit of bytes, and then takes up no more: every epoch visits all pairs in another
/// order, so that exchanging them would decode as often as not. What is in it never changes what a sample is.
#[derive(Debug, Default)]
pub struct Cache {
    limit: usize,
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    full: bool,
    pairs: HashMap<usize, Arc<Decoded>>,
}

/// How full a cache is; displays as `1.5 MiB hold 3 of 8 images`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUsage {
    /// Bytes held.
    pub bytes: usize,
    /// Pairs held.
    pub held: usize,
    /// Pairs there are.
    pub pairs: usize,
}

impl fmt::Display for CacheUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hold {} of {} images", mebibytes(self.bytes as u64), self.held, self.pairs)
    }
}

impl Cache {
    /// Empty, with room for this many bytes; with 0 it keeps nothing.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit: limit_bytes, ..Self::default() }
    }

    /// How full it is, of this many pairs.
    pub fn usage(&self, pairs: usize) -> CacheUsage {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        CacheUsage { bytes: held.bytes, held: held.pairs.len(), pairs }
    }

    /// Whether a pair found no room.
    pub fn is_full(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).full
    }

    /// The pair at a position, decoded now if it is not held.
    pub(super) fn get(&self, pair: usize, decode: impl FnOnce() -> Result<Decoded>) -> Result<Arc<Decoded>> {
        if self.limit == 0 {
            return decode().map(Arc::new);
        }
        if let Some(held) = self.held.read().unwrap_or_else(PoisonError::into_inner).pairs.get(&pair) {
            return Ok(Arc::clone(held));
        }
        let decoded = Arc::new(decode()?);
        let bytes = decoded.bytes();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have decoded it, too.
        if held.pairs.contains_key(&pair) {
            return Ok(decoded);
        }
        if held.bytes + bytes <= self.limit {
            held.bytes += bytes;
            held.pairs.insert(pair, Arc::clone(&decoded));
        } else {
            held.full = true;
        }
        Ok(decoded)
    }
}
