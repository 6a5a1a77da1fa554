//! NCCL's functions for threads of one process and tensors in main memory.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use super::{Functions, Handle, SUCCESS, UniqueId};

/// `ncclRemoteError`.
pub(super) const FAILED: c_int = 6;

/// Groups by the last byte of their ID.
static WORLDS: LazyLock<Mutex<HashMap<c_char, Arc<World>>>> = LazyLock::new(Mutex::default);
static NUMBER: AtomicUsize = AtomicUsize::new(1);

#[derive(Default)]
struct World {
    sum: Mutex<Sum>,
    changed: Condvar,
}

/// An all-reduce in progress.
#[derive(Default)]
struct Sum {
    values: Vec<f64>,
    arrived: usize,
    /// Ranks that have taken the result.
    left: usize,
    aborted: bool,
}

struct Member {
    world: Arc<World>,
    size: usize,
}

pub(in crate::nn) fn functions() -> Functions {
    Functions {
        version,
        unique_id,
        connect,
        all_reduce,
        begin_group: nothing,
        end_group: nothing,
        asynchronous_error,
        abort,
        destroy,
        describe,
        last_error: None,
        set_device,
        current_stream,
    }
}

unsafe extern "C" fn version(code: *mut c_int) -> c_int {
    unsafe { *code = 22_705 };
    SUCCESS
}

unsafe extern "C" fn unique_id(id: *mut UniqueId) -> c_int {
    let number = NUMBER.fetch_add(1, Ordering::SeqCst) as c_char;
    unsafe { (*id).0 = [number; 128] };
    SUCCESS
}

unsafe extern "C" fn connect(handle: *mut Handle, size: c_int, id: UniqueId, _rank: c_int) -> c_int {
    let world = Arc::clone(WORLDS.lock().unwrap().entry(id.0[127]).or_default());
    let member = Box::new(Member { world, size: size as usize });
    unsafe { *handle = Box::into_raw(member).cast() };
    SUCCESS
}

unsafe extern "C" fn all_reduce(
    from: *const c_void,
    to: *mut c_void,
    count: usize,
    kind: c_int,
    _operation: c_int,
    handle: Handle,
    _stream: *mut c_void,
) -> c_int {
    let Member { world, size } = unsafe { &*handle.cast::<Member>() };
    let own: Vec<f64> = match kind {
        7 => unsafe { from_raw_parts(from.cast::<f32>(), count) }.iter().map(|value| f64::from(*value)).collect(),
        8 => unsafe { from_raw_parts(from.cast::<f64>(), count) }.to_vec(),
        other => panic!("type {other}"),
    };
    let mut sum = world.sum.lock().unwrap();
    // The one before must be over.
    sum = world.changed.wait_while(sum, |sum| sum.arrived == *size && !sum.aborted).unwrap();
    sum.values.resize(count, 0.0);
    sum.values.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    sum.arrived += 1;
    world.changed.notify_all();
    sum = world.changed.wait_while(sum, |sum| sum.arrived < *size && !sum.aborted).unwrap();
    if sum.aborted {
        return FAILED;
    }
    match kind {
        7 => {
            let to = unsafe { from_raw_parts_mut(to.cast::<f32>(), count) };
            to.iter_mut().zip(&sum.values).for_each(|(to, sum)| *to = *sum as f32);
        }
        _ => unsafe { from_raw_parts_mut(to.cast::<f64>(), count) }.copy_from_slice(&sum.values),
    }
    sum.left += 1;
    if sum.left == *size {
        *sum = Sum::default();
    }
    world.changed.notify_all();
    SUCCESS
}

unsafe extern "C" fn nothing() -> c_int {
    SUCCESS
}

unsafe extern "C" fn asynchronous_error(_handle: Handle, code: *mut c_int) -> c_int {
    unsafe { *code = SUCCESS };
    SUCCESS
}

/// Leaks the member, which a blocked call still uses.
unsafe extern "C" fn abort(handle: Handle) -> c_int {
    let Member { world, .. } = unsafe { &*handle.cast::<Member>() };
    world.sum.lock().unwrap().aborted = true;
    world.changed.notify_all();
    SUCCESS
}

unsafe extern "C" fn destroy(handle: Handle) -> c_int {
    drop(unsafe { Box::from_raw(handle.cast::<Member>()) });
    SUCCESS
}

unsafe extern "C" fn describe(code: c_int) -> *const c_char {
    if code == FAILED { c"remote process exited or there was a network error".as_ptr() } else { c"unknown".as_ptr() }
}

unsafe extern "C" fn set_device(_gpu: c_int) -> c_int {
    SUCCESS
}

unsafe extern "C" fn current_stream(_gpu: i32, _stream: *mut *mut c_void) -> i32 {
    unreachable!("tensors in main memory have no stream")
}

/// Connects as no NCCL does.
pub(super) unsafe extern "C" fn refuse(_: *mut Handle, _: c_int, _: UniqueId, _: c_int) -> c_int {
    FAILED
}

/// Sums as no NCCL does: leaves the values as they are.
pub(super) unsafe extern "C" fn keep(
    _: *const c_void,
    _: *mut c_void,
    _: usize,
    _: c_int,
    _: c_int,
    _: Handle,
    _: *mut c_void,
) -> c_int {
    SUCCESS
}

/// How long a test waits for what should come at once.
pub(super) const SOON: Duration = Duration::from_secs(5);
