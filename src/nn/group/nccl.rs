//! NCCL: all-reduces between GPUs that bypass main memory.
//!
//! NCCL's functions are looked up by name among those of libtorch's libraries, because the headers of libtorch's packages do
//! not compile on their own. The form of these functions has been the same since NCCL 2.4 (2019). Work is queued
//! on libtorch's current CUDA stream, so it runs in order with libtorch's own, and the host does not wait for it.

#![allow(unsafe_code)] // the boundary to C

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use libloading::os::unix::Library;
use tch::{Kind, Tensor};

use super::failure::Failure;
use crate::base::locked;

/// How often to check whether a process or a connection has failed.
const TURN: Duration = Duration::from_millis(200);
/// How long the GPUs may take to connect, and their first all-reduce to complete.
const PATIENCE: Duration = Duration::from_secs(120);
/// Number of values of the larger trial: 16 MiB.
const TRIAL: i64 = 1 << 22;
/// How long an error waits for the heartbeats to report a lost process, which is clearer.
const CLEARER: Duration = Duration::from_millis(500);
/// How long an abort waits for a call that is in progress; a call that takes longer is blocked.
const BLOCKED: Duration = Duration::from_secs(1);

/// `ncclResult_t`: success; and of connections, that a call is in progress.
const SUCCESS: c_int = 0;
const IN_PROGRESS: c_int = 7;
/// `ncclRedOp_t`: the sum.
const SUM: c_int = 0;

/// `ncclUniqueId`: what the processes need in order to find one another.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct UniqueId([c_char; 128]);

impl UniqueId {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().map(|&byte| byte as u8).collect()
    }

    /// `None` unless there are 128.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 128] = bytes.try_into().ok()?;
        Some(Self(bytes.map(|byte| byte as c_char)))
    }
}

/// `ncclComm_t`.
type Handle = *mut c_void;

/// The functions used of NCCL, and two of CUDA and libtorch.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Functions {
    version: unsafe extern "C" fn(*mut c_int) -> c_int,
    unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    connect: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int) -> c_int,
    all_reduce: unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int,
    begin_group: unsafe extern "C" fn() -> c_int,
    end_group: unsafe extern "C" fn() -> c_int,
    asynchronous_error: unsafe extern "C" fn(Handle, *mut c_int) -> c_int,
    abort: unsafe extern "C" fn(Handle) -> c_int,
    destroy: unsafe extern "C" fn(Handle) -> c_int,
    describe: unsafe extern "C" fn(c_int) -> *const c_char,
    /// Missing before NCCL 2.13.
    last_error: Option<unsafe extern "C" fn(Handle) -> *const c_char>,
    set_device: unsafe extern "C" fn(c_int) -> c_int,
    current_stream: unsafe extern "C" fn(i32, *mut *mut c_void) -> i32,
}

impl Functions {
    /// Those that libtorch itself uses; an error if this libtorch comes without NCCL, or includes it without exporting its
    /// functions.
    pub(super) fn find() -> Result<Self, String> {
        let program = Library::this();
        // SAFETY: types as in nccl.h, cuda_runtime_api.h and libtorch's shim.h; libtorch is never unloaded.
        unsafe {
            Ok(Self {
                version: symbol(&program, "ncclGetVersion")?,
                unique_id: symbol(&program, "ncclGetUniqueId")?,
                connect: symbol(&program, "ncclCommInitRank")?,
                all_reduce: symbol(&program, "ncclAllReduce")?,
                begin_group: symbol(&program, "ncclGroupStart")?,
                end_group: symbol(&program, "ncclGroupEnd")?,
                asynchronous_error: symbol(&program, "ncclCommGetAsyncError")?,
                abort: symbol(&program, "ncclCommAbort")?,
                destroy: symbol(&program, "ncclCommDestroy")?,
                describe: symbol(&program, "ncclGetErrorString")?,
                last_error: symbol(&program, "ncclGetLastError").ok(),
                set_device: symbol(&program, "cudaSetDevice")?,
                current_stream: symbol(&program, "aoti_torch_get_current_cuda_stream")?,
            })
        }
    }

    /// The version of the library, such as 2.27.5.
    pub(super) fn version(&self) -> String {
        let mut code = 0;
        // SAFETY: writes one number.
        unsafe { (self.version)(&mut code) };
        // From 2.9 on, the minor version has two digits instead of one.
        let (major, minor) =
            if code < 10_000 { (code / 1000, code / 100 % 10) } else { (code / 10_000, code / 100 % 100) };
        format!("{major}.{minor}.{}", code % 100)
    }

    /// Begins to listen for the other processes; returns what they need in order to connect.
    pub(super) fn unique_id(&self) -> Result<UniqueId, String> {
        let mut id = UniqueId([0; 128]);
        // SAFETY: writes an ID.
        self.outcome(unsafe { (self.unique_id)(&mut id) }).map(|()| id)
    }

    fn outcome(&self, code: c_int) -> Result<(), String> {
        if code == SUCCESS { Ok(()) } else { Err(self.words(code)) }
    }

    fn words(&self, code: c_int) -> String {
        // SAFETY: both return null or a string that NCCL keeps; the last error is that of
        // the process, whatever the communicator, and may be of another thread.
        let texts = unsafe { [(self.describe)(code), self.last_error.map_or(null(), |find| find(null_mut()))] };
        let texts = texts.map(|text| {
            // SAFETY: as above.
            if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
        });
        let [kind, more] = texts.each_ref().map(|text| text.trim());
        if more.is_empty() { format!("NCCL: {kind}") } else { format!("NCCL: {kind}: {more}") }
    }
}

/// # Safety
///
/// `T` is the type of the function of that name.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
    // SAFETY: the caller's promise.
    let found = unsafe { library.get::<T>(name.as_bytes()) };
    found
        .map(|symbol| *symbol)
        .map_err(|_| format!("this libtorch comes without NCCL, or does not export it (no function {name})"))
}

/// The connections of a GPU to those of the other processes. Clones are the same connections.
#[derive(Debug, Clone)]
pub(super) struct Communicator(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    functions: Functions,
    handle: Handle,
    /// Set before the handle becomes invalid.
    closed: AtomicBool,
    /// Whether an error is a failure of the group.
    relied_on: AtomicBool,
    /// The first error that NCCL reported after a call.
    error: OnceLock<String>,
    /// Held during calls.
    calls: Mutex<()>,
}

// SAFETY: NCCL allows calls from any thread; except for aborts, `calls` lets one thread in at a time.
unsafe impl Send for Connections {}
// SAFETY: as above.
unsafe impl Sync for Connections {}

/// A handle on its way from the thread that made it.
struct Made(Handle);

// SAFETY: see `Connections`.
unsafe impl Send for Made {}

impl Communicator {
    /// Connects GPU number `gpu` of this process to those of the other `size - 1`, all of which call this with the same `id`
    /// and their own rank. From then on, a failure aborts what the GPUs exchange, and so does an error of NCCL.
    pub(super) fn connect(
        functions: &Functions,
        id: UniqueId,
        [rank, size]: [usize; 2],
        gpu: Option<usize>,
        failure: &Failure,
    ) -> Result<Self, String> {
        let calls = *functions;
        // In another thread, because NCCL waits without limit for a process that does not connect.
        let Made(handle) = in_time("connect the GPUs", failure, move || {
            if let Some(gpu) = gpu {
                // SAFETY: takes a number.
                let code = unsafe { (calls.set_device)(gpu as c_int) };
                if code != SUCCESS {
                    return Err(format!("CUDA cannot use GPU {gpu} (error {code})"));
                }
            }
            let mut handle = null_mut();
            // SAFETY: writes a handle; the ID was made by `unique_id`.
            calls.outcome(unsafe { (calls.connect)(&mut handle, size as c_int, id, rank as c_int) })?;
            Ok(Made(handle))
        })?;
        let connections = Connections {
            functions: *functions,
            handle,
            closed: AtomicBool::new(false),
            relied_on: AtomicBool::new(false),
            error: OnceLock::new(),
            calls: Mutex::default(),
        };
        let this = Self(Arc::new(connections));
        let (watched, failure) = (this.clone(), failure.clone());
        let watch = thread::Builder::new().name("nccl".into()).spawn(move || watched.watch(&failure));
        watch.map(|_| this).map_err(|e| e.to_string())
    }

    /// Checks the connections by all-reduces of a single value and of many, for which NCCL connects in different ways. Each
    /// process passes its rank plus one.
    pub(super) fn try_out(
        &self,
        [rank, size]: [usize; 2],
        gpu: Option<usize>,
        failure: &Failure,
    ) -> Result<(), String> {
        let this = self.clone();
        let device = gpu.map_or(tch::Device::Cpu, tch::Device::Cuda);
        in_time("complete a first all-reduce", failure, move || {
            for count in [1, TRIAL] {
                let tensor = Tensor::full([count], (rank + 1) as f64, (Kind::Float, device));
                this.sum(std::slice::from_ref(&tensor))?;
                let expected = (size * (size + 1) / 2) as f64;
                for found in [tensor.min().double_value(&[]), tensor.max().double_value(&[])] {
                    // An abort leaves the values as they are.
                    if let Some(words) = this.0.error.get() {
                        return Err(words.clone());
                    }
                    if found != expected {
                        return Err(format!("NCCL: a sum of {expected} came out as {found}"));
                    }
                }
            }
            Ok(())
        })
    }

    /// From now on, an error of the connections is a failure of the group.
    pub(super) fn rely_on_it(&self) {
        self.0.relied_on.store(true, Ordering::SeqCst);
    }

    /// Queues an all-reduce (sum) of contiguous tensors on this process's device, in place. After an abort, the
    /// tensors are left as they are.
    pub(super) fn sum(&self, tensors: &[Tensor]) -> Result<(), String> {
        let Connections { functions, handle, closed, calls, .. } = &*self.0;
        let Some(first) = tensors.first() else { return Ok(()) };
        let mut stream = null_mut();
        if let tch::Device::Cuda(gpu) = first.device() {
            // SAFETY: takes a number, and writes a stream. The default stream is that of the current device.
            let codes =
                unsafe { [(functions.set_device)(gpu as c_int), (functions.current_stream)(gpu as i32, &mut stream)] };
            if codes != [SUCCESS, 0] {
                return Err(format!("libtorch has no current stream on GPU {gpu}"));
            }
        }
        let _turn = locked(calls);
        if closed.load(Ordering::SeqCst) {
            // Closed because of an error or of a failure, which is known already.
            return self.0.error.get().map_or(Ok(()), |words| Err(words.clone()));
        }
        // SAFETY: no pointers. Between begin and end, NCCL only collects: many small tensors become few kernel launches.
        functions.outcome(unsafe { (functions.begin_group)() })?;
        let queued = tensors.iter().try_for_each(|tensor| {
            assert!(tensor.is_contiguous() && tensor.device() == first.device(), "contiguous tensors on one device");
            let (values, count) = (tensor.data_ptr(), tensor.numel());
            // SAFETY: `count` values of that type, which libtorch keeps until the work queued in its stream is done.
            let code = unsafe {
                (functions.all_reduce)(values, values, count, data_type(tensor.kind()), SUM, *handle, stream)
            };
            functions.outcome(code)
        });
        // SAFETY: no pointers.
        let ended = functions.outcome(unsafe { (functions.end_group)() });
        queued.and(ended)
    }

    /// Closes the connections once everything queued is done. All processes must call this.
    pub(super) fn close(&self) {
        let Connections { functions, handle, closed, calls, .. } = &*self.0;
        let _turn = locked(calls);
        if !closed.swap(true, Ordering::SeqCst) {
            // SAFETY: a live handle, used nowhere from here on. An error is of no interest any more.
            unsafe { (functions.destroy)(*handle) };
        }
    }

    /// Ends what is in progress, here and on the GPU, which would otherwise wait for a lost process forever.
    pub(super) fn abort(&self) {
        let Connections { functions, handle, closed, calls, .. } = &*self.0;
        if closed.swap(true, Ordering::SeqCst) {
            return;
        }
        // A call that is in progress ends soon, or is blocked and ends by the abort. It may then still use what the abort frees;
        // NCCL offers nothing better, and without the abort it would be blocked forever.
        let began = Instant::now();
        let _turn = loop {
            match calls.try_lock() {
                Ok(turn) => break Some(turn),
                Err(TryLockError::Poisoned(turn)) => break Some(turn.into_inner()),
                Err(TryLockError::WouldBlock) if began.elapsed() > BLOCKED => break None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            }
        };
        // SAFETY: a live handle, used by nothing but a blocked call from here on; see above.
        unsafe { (functions.abort)(*handle) };
    }

    /// Until the connections are closed, aborts after a failure or an error.
    fn watch(&self, failure: &Failure) {
        let Connections { functions, handle, closed, relied_on, error, calls } = &*self.0;
        while !closed.load(Ordering::SeqCst) {
            let mut broken = failure.is_set();
            if let Ok(_turn) = calls.try_lock()
                && !closed.load(Ordering::SeqCst)
            {
                let mut code = SUCCESS;
                // SAFETY: a live handle; writes a number.
                let asked = unsafe { (functions.asynchronous_error)(*handle, &mut code) };
                let code = if code == IN_PROGRESS { SUCCESS } else { code };
                if let Err(words) = functions.outcome(asked).and(functions.outcome(code)) {
                    let _ = error.set(words);
                    broken = true;
                }
            }
            if broken {
                if let Some(words) = error.get().filter(|_| relied_on.load(Ordering::SeqCst)) {
                    fail(failure, words);
                }
                self.abort();
            } else {
                thread::sleep(TURN);
            }
        }
    }
}

/// Records that the connection between the GPUs broke, unless the heartbeats report a clearer cause in the meantime.
pub(super) fn fail(failure: &Failure, words: &str) {
    // One that is known already is not waited for again: a step has hundreds of calls.
    if failure.is_set() {
        return;
    }
    thread::sleep(CLEARER);
    failure.set(format!("the connection between the GPUs broke: {words}"));
}

/// `ncclDataType_t`.
fn data_type(kind: Kind) -> c_int {
    match kind {
        Kind::Int64 => 4,
        Kind::Float => 7,
        Kind::Double => 8,
        Kind::BFloat16 => 9,
        other => panic!("values of type {other:?} are not exchanged between GPUs"),
    }
}

/// Runs `work` in a separate thread, which is left behind if it takes too long or a process fails in the meantime.
fn in_time<T: Send + 'static>(
    what: &str,
    failure: &Failure,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = channel();
    // Nobody receives what comes too late.
    let run = move || drop(sender.send(work()));
    thread::Builder::new().name("nccl".into()).spawn(run).map_err(|e| e.to_string())?;
    let began = Instant::now();
    loop {
        match receiver.recv_timeout(TURN) {
            Ok(found) => return found,
            Err(RecvTimeoutError::Disconnected) => return Err(format!("NCCL: cannot {what}: libtorch failed")),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(cause) = failure.cause() {
                    return Err(cause);
                }
                if began.elapsed() > PATIENCE {
                    return Err(format!("NCCL: cannot {what} within {} seconds", PATIENCE.as_secs()));
                }
            }
        }
    }
}

#[cfg(test)]
pub(in crate::nn) mod fake;
#[cfg(test)]
mod tests;
