//! Safe wrappers around the functions in `c10d.cpp`: libtorch's key-value store and its Gloo collectives.

#![allow(unsafe_code)] // the boundary to C++

use std::ffi::{CString, c_char};
use std::ptr::null_mut;

use tch::Tensor;
use torch_sys::C_tensor;

use super::failure::Failure;
use super::membership::Joining;
use crate::nn::ffi::outcome;

/// Values that can be exchanged.
pub(super) use tch::kind::Element as Number;

/// How long to wait for a collective before checking whether a process has failed, in seconds.
const TURN: f64 = 0.2;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $($(#[$doc])* #[repr(C)] struct $name { _opaque: [u8; 0] })*
    };
}

opaque!(
    /// A store for others.
    RawStore,
    /// Store and connections.
    RawLink,
    /// A collective in progress.
    RawExchange
);

unsafe extern "C" {
    fn segtool_serve_store(result: *mut *mut RawStore, port: *mut u16) -> *mut c_char;
    fn segtool_free_store(store: *mut RawStore);
    fn segtool_group_join(
        result: *mut *mut RawLink,
        host: *const c_char,
        port: u16,
        serves: bool,
        prefix: *const c_char,
        rank: i64,
        size: i64,
        seconds: f64,
    ) -> *mut c_char;
    fn segtool_group_connect(link: *mut RawLink, address: *const c_char, interfaces: *const c_char) -> *mut c_char;
    fn segtool_group_set(
        link: *const RawLink,
        lasting: bool,
        key: *const c_char,
        bytes: *const u8,
        count: usize,
    ) -> *mut c_char;
    fn segtool_group_get(
        link: *const RawLink,
        lasting: bool,
        key: *const c_char,
        bytes: *mut *mut u8,
        count: *mut usize,
    ) -> *mut c_char;
    fn segtool_group_has(link: *const RawLink, key: *const c_char, found: *mut bool) -> *mut c_char;
    fn segtool_group_begin(
        result: *mut *mut RawExchange,
        link: *const RawLink,
        tensor: *const C_tensor,
        root: i64,
    ) -> *mut c_char;
    fn segtool_exchange_wait(exchange: *mut RawExchange, seconds: f64, over: *mut bool) -> *mut c_char;
    fn segtool_free_exchange(exchange: *mut RawExchange);
    fn segtool_free_link(link: *mut RawLink);
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("'{text}' holds a NUL character"))
}

/// A store of keys through which processes find one another.
#[derive(Debug)]
pub(super) struct Store(*mut RawStore);

// SAFETY: libtorch serves the store from another thread; the pointer is only kept to free it.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Serves one on a free port, which is returned, too.
    pub(super) fn serve() -> Result<(Self, u16), String> {
        let (mut store, mut port) = (null_mut(), 0);
        // SAFETY: the result is null or a store that nothing else holds.
        outcome(unsafe { segtool_serve_store(&mut store, &mut port) })?;
        Ok((Self(store), port))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `segtool_serve_store`, and freed only here.
        unsafe { segtool_free_store(self.0) }
    }
}

/// Store and connections of a process.
#[derive(Debug)]
pub(super) struct Link(*mut RawLink);

// SAFETY: libtorch's store and group may be used from any thread; the callers take turns.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Link {
    pub(super) fn join(joining: &Joining<'_>) -> Result<Self, String> {
        let mut link = null_mut();
        let (host, prefix) = (c_string(joining.host)?, c_string(joining.prefix)?);
        let (rank, size) = (joining.rank as i64, joining.size as i64);
        // SAFETY: the strings live through the call; the result is null or a link that nothing else holds.
        outcome(unsafe {
            segtool_group_join(
                &mut link,
                host.as_ptr(),
                joining.port,
                joining.serves,
                prefix.as_ptr(),
                rank,
                size,
                joining.seconds,
            )
        })?;
        Ok(Self(link))
    }

    /// Connects to all others from `address`, or by the network interfaces of these names, separated by commas.
    pub(super) fn connect(&self, address: &str, interfaces: Option<&str>) -> Result<(), String> {
        let address = c_string(address)?;
        let interfaces = interfaces.map(c_string).transpose()?;
        let interfaces = interfaces.as_ref().map_or(std::ptr::null(), |names| names.as_ptr());
        // SAFETY: a live link that no other thread has yet, and strings that live through the call.
        outcome(unsafe { segtool_group_connect(self.0, address.as_ptr(), interfaces) })
    }

    /// Sets a key for this attempt or, if `lasting` and the launcher hosts the store, also for later attempts.
    pub(super) fn set(&self, lasting: bool, key: &str, value: &[u8]) -> Result<(), String> {
        let key = c_string(key)?;
        // SAFETY: a live link, and pointers that live through the call.
        outcome(unsafe { segtool_group_set(self.0, lasting, key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// Waits for a key to be set, and returns its value.
    pub(super) fn get(&self, lasting: bool, key: &str) -> Result<Vec<u8>, String> {
        let key = c_string(key)?;
        let (mut bytes, mut count) = (null_mut(), 0);
        // SAFETY: as above; the bytes are `count` many, from `malloc`, and nothing else holds them.
        unsafe {
            outcome(segtool_group_get(self.0, lasting, key.as_ptr(), &mut bytes, &mut count))?;
            let value = std::slice::from_raw_parts(bytes, count).to_vec();
            libc::free(bytes.cast());
            Ok(value)
        }
    }

    /// Whether a lasting key was set.
    pub(super) fn has(&self, key: &str) -> Result<bool, String> {
        let (key, mut found) = (c_string(key)?, false);
        // SAFETY: as above.
        outcome(unsafe { segtool_group_has(self.0, key.as_ptr(), &mut found) }).map(|()| found)
    }

    /// All-reduces values by their sum or, with a root, broadcasts that process's, in place and `bucket` values at a
    /// time. `None` if there is a failure in the meantime.
    pub(super) fn exchange<T: Number>(
        &self,
        mut values: Vec<T>,
        bucket: usize,
        root: Option<usize>,
        failure: &Failure,
    ) -> Result<Option<Vec<T>>, String> {
        for part in values.chunks_mut(bucket) {
            if !self.exchange_part(part, root, failure)? {
                // libtorch's threads still use the values, so they are leaked; the program ends soon.
                std::mem::forget(values);
                return Ok(None);
            }
        }
        Ok(Some(values))
    }

    /// Returns whether the collective completed; otherwise, libtorch still uses the values, which must not be freed.
    fn exchange_part<T: Number>(
        &self,
        values: &mut [T],
        root: Option<usize>,
        failure: &Failure,
    ) -> Result<bool, String> {
        // SAFETY: the tensor has as many elements as the slice, which outlives it: the caller keeps the values until the
        // exchange is over, or leaks them.
        let tensor = unsafe {
            Tensor::from_blob(values.as_mut_ptr().cast(), &[values.len() as i64], &[], T::KIND, tch::Device::Cpu)
        };
        let mut exchange = null_mut();
        // SAFETY: a live link and a live tensor, which the exchange holds itself from here on.
        outcome(unsafe {
            segtool_group_begin(&mut exchange, self.0, tensor.as_ptr(), root.map_or(-1, |root| root as i64))
        })?;
        let (mut over, mut waited) = (false, Ok(()));
        while !over && waited.is_ok() {
            if failure.is_set() {
                return Ok(false);
            }
            // SAFETY: a live exchange.
            waited = outcome(unsafe { segtool_exchange_wait(exchange, TURN, &mut over) });
        }
        // SAFETY: over, perhaps with an error.
        unsafe { segtool_free_exchange(exchange) };
        waited.map(|()| true)
    }

    /// Closes the connections; they must not be in use.
    pub(super) fn close(self) {
        // SAFETY: made by `segtool_group_join`, and freed only here.
        unsafe { segtool_free_link(self.0) }
    }
}

/// Sets the number of libtorch's threads.
pub(super) fn use_threads(count: usize) {
    tch::set_num_threads(count as i32);
}
