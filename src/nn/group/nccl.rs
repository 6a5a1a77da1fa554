//! NCCL: all-reduces between GPUs that bypass main memory.
//!
//! NCCL's functions are looked up by name in the library that libtorch has loaded, because the headers of libtorch's
//! packages do not compile on their own. The form of these functions has been the same since NCCL 2.4 (2019). Work is queued
//! in libtorch's current CUDA stream, so it is ordered with libtorch's own and nothing waits for it.

#![allow(unsafe_code)] // the boundary to C

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use libloading::os::unix::{Library, RTLD_NOW};
use tch::{Kind, Tensor};

use super::failure::Failure;

/// File name of the library; the number is that of its binary interface.
const FILE: &str = "libnccl.so.2";
/// How often to check whether a process or a connection has failed.
const TURN: Duration = Duration::from_millis(200);
/// How long the GPUs may take to connect, and their first all-reduce to complete.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an abort waits for a call that is in progress; a call that takes longer is blocked.
const BLOCKED: Duration = Duration::from_secs(1);

/// `ncclResult_t`: success, and a call in progress.
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
        let mut id = Self([0; 128]);
        (bytes.len() == id.0.len()).then(|| {
            id.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as c_char);
            id
        })
    }
}

/// `ncclComm_t`.
type Handle = *mut c_void;

/// The functions used of NCCL, and two of CUDA and libtorch.
#[derive(Debug, Clone)]
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
    /// Keeps the functions loaded.
    _library: Option<Arc<Library>>,
}

impl Functions {
    /// Those of the library that libtorch has loaded; an error if this libtorch is built without NCCL, or includes it without
    /// offering its functions.
    pub(super) fn find() -> Result<Self, String> {
        // SAFETY: NCCL's initialisers have run with libtorch's, or run now; they have no preconditions.
        let nccl = unsafe { Library::open(Some(FILE), RTLD_NOW) };
        let nccl = nccl.map_err(|_| format!("this libtorch comes without NCCL ({FILE} is not found)"))?;
        let program = Library::this();
        // SAFETY: types as in nccl.h, cuda_runtime_api.h and libtorch's shim.h; the pointers are used only while `_library` is
        // held, and those of the program itself are never unloaded.
        unsafe {
            Ok(Self {
                version: symbol(&nccl, "ncclGetVersion")?,
                unique_id: symbol(&nccl, "ncclGetUniqueId")?,
                connect: symbol(&nccl, "ncclCommInitRank")?,
                all_reduce: symbol(&nccl, "ncclAllReduce")?,
                begin_group: symbol(&nccl, "ncclGroupStart")?,
                end_group: symbol(&nccl, "ncclGroupEnd")?,
                asynchronous_error: symbol(&nccl, "ncclCommGetAsyncError")?,
                abort: symbol(&nccl, "ncclCommAbort")?,
                destroy: symbol(&nccl, "ncclCommDestroy")?,
                describe: symbol(&nccl, "ncclGetErrorString")?,
                last_error: symbol(&nccl, "ncclGetLastError").ok(),
                set_device: symbol(&program, "cudaSetDevice")?,
                current_stream: symbol(&program, "aoti_torch_get_current_cuda_stream")?,
                _library: Some(Arc::new(nccl)),
            })
        }
    }

    /// The version of the library, such as 2.27.5.
    pub(super) fn version(&self) -> String {
        let mut code = 0;
        // SAFETY: writes one number.
        unsafe { (self.version)(&mut code) };
        // 2.9 and later have two digits more for the minor version.
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
        if matches!(code, SUCCESS | IN_PROGRESS) { Ok(()) } else { Err(self.words(code)) }
    }

    fn words(&self, code: c_int) -> String {
        // SAFETY: both return null or a string that NCCL keeps; without a communicator, the last error is that of the thread.
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
    found.map(|symbol| *symbol).map_err(|_| format!("this libtorch has no function {name}"))
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
    /// and their own rank. From then on, a failure aborts what the GPUs exchange, and an error of NCCL is a failure.
    pub(super) fn connect(
        functions: &Functions,
        id: UniqueId,
        [rank, size]: [usize; 2],
        gpu: Option<usize>,
        failure: &Failure,
    ) -> Result<Self, String> {
        let calls = functions.clone();
        // In another thread, because NCCL has no time limit for a process that does not come.
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
            functions: functions.clone(),
            handle,
            closed: AtomicBool::new(false),
            calls: Mutex::default(),
        };
        let this = Self(Arc::new(connections));
        let (watched, failure) = (this.clone(), failure.clone());
        let watch = thread::Builder::new().name("nccl".into()).spawn(move || watched.watch(&failure));
        watch.map(|_| this).map_err(|e| e.to_string())
    }

    /// Checks the connections with a first all-reduce, in which each process passes its rank plus one.
    pub(super) fn try_out(
        &self,
        [rank, size]: [usize; 2],
        gpu: Option<usize>,
        failure: &Failure,
    ) -> Result<(), String> {
        let this = self.clone();
        let device = gpu.map_or(tch::Device::Cpu, tch::Device::Cuda);
        in_time("complete a first all-reduce", failure, move || {
            let tensor = Tensor::full([1], (rank + 1) as f64, (Kind::Float, device));
            this.sum(std::slice::from_ref(&tensor))?;
            let (found, expected) = (tensor.double_value(&[0]), (size * (size + 1) / 2) as f64);
            if found == expected { Ok(()) } else { Err(format!("NCCL: a sum of {expected} came out as {found}")) }
        })
    }

    /// Queues the all-reduce of contiguous tensors on this process's device by their sums, in place. After an abort, the
    /// tensors are left as they are.
    pub(super) fn sum(&self, tensors: &[Tensor]) -> Result<(), String> {
        let Connections { functions, handle, closed, calls } = &*self.0;
        let Some(first) = tensors.first() else { return Ok(()) };
        let mut stream = null_mut();
        if let tch::Device::Cuda(gpu) = first.device() {
            // SAFETY: writes a stream.
            let code = unsafe { (functions.current_stream)(gpu as i32, &mut stream) };
            if code != 0 {
                return Err(format!("libtorch has no current stream on GPU {gpu}"));
            }
        }
        let _turn = calls.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        // SAFETY: no pointers. Between begin and end, NCCL only collects: many small tensors become few transfers.
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

    /// Closes the connections after everything queued is done, which all processes do.
    pub(super) fn close(&self) {
        let Connections { functions, handle, closed, calls } = &*self.0;
        let _turn = calls.lock().unwrap_or_else(PoisonError::into_inner);
        if !closed.swap(true, Ordering::SeqCst) {
            // SAFETY: a live handle, used nowhere from here on. An error is of no interest any more.
            unsafe { (functions.destroy)(*handle) };
        }
    }

    /// Ends what is in progress, here and on the GPU, which would otherwise wait for a lost process forever.
    pub(super) fn abort(&self) {
        let Connections { functions, handle, closed, calls } = &*self.0;
        if closed.swap(true, Ordering::SeqCst) {
            return;
        }
        // A call that is in progress ends soon, or is blocked and ends by the abort, which NCCL allows.
        let began = Instant::now();
        let _turn = loop {
            match calls.try_lock() {
                Ok(turn) => break Some(turn),
                Err(TryLockError::Poisoned(turn)) => break Some(turn.into_inner()),
                Err(TryLockError::WouldBlock) if began.elapsed() > BLOCKED => break None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            }
        };
        // SAFETY: a live handle, used by nothing but a blocked call from here on.
        unsafe { (functions.abort)(*handle) };
    }

    /// Aborts after a failure, and records errors, until the connections are closed.
    fn watch(&self, failure: &Failure) {
        let Connections { functions, handle, closed, calls } = &*self.0;
        while !closed.load(Ordering::SeqCst) {
            if failure.flag().load(Ordering::Relaxed) {
                self.abort();
                return;
            }
            if let Ok(_turn) = calls.try_lock()
                && !closed.load(Ordering::SeqCst)
            {
                let mut code = SUCCESS;
                // SAFETY: a live handle; writes a number.
                let asked = unsafe { (functions.asynchronous_error)(*handle, &mut code) };
                if let Err(words) = functions.outcome(asked).and(functions.outcome(code)) {
                    failure.set(format!("the connection between the GPUs broke: {words}"));
                }
            }
            thread::sleep(TURN);
        }
    }
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

/// Runs `work` in a thread of its own, which is left behind if it takes too long or a process fails in the meantime.
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
mod tests {
    use super::super::threads::as_members;
    use super::super::{Collectives, Exchange};
    use super::fake::{self, SOON, functions};
    use super::*;
    use crate::base::Error;

    /// Values that differ between ranks.
    fn own(rank: usize) -> [Tensor; 2] {
        let single = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).reshape([2, 3]) + rank as f64;
        [single, Tensor::full([2], 0.1 + rank as f64, (Kind::Double, tch::Device::Cpu))]
    }

    #[test]
    fn tensors_are_summed_in_place() {
        as_members(3, |group| {
            assert_eq!(group.connect_by(Ok(functions()), None), Ok("2.27.5".into()));
            assert!(group.connects_gpus());
            let before = group.spent().bytes;
            for _ in 0..2 {
                let tensors = own(group.rank());
                assert!(group.sum_on_gpus(&tensors));
                let expected = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).reshape([2, 3]) * 3.0 + 3.0;
                assert_eq!(tensors[0], expected);
                assert!((tensors[1].double_value(&[1]) - 3.3).abs() < 1e-12);
            }
            assert_eq!(group.spent().bytes - before, 2 * (6 * 4 + 2 * 8));
            group.check().unwrap();
        });
    }

    #[test]
    fn all_go_without_if_one_cannot_connect_or_a_sum_is_wrong() {
        let cases: [(fn(usize) -> Result<Functions, String>, &str); 3] = [
            (|rank| if rank == 1 { Err("no NCCL here".into()) } else { Ok(functions()) }, "process 1: no NCCL here"),
            (
                |rank| Ok(if rank == 1 { Functions { connect: fake::refuse, ..functions() } } else { functions() }),
                "process 1: NCCL: remote process exited or there was a network error",
            ),
            (|_| Ok(Functions { all_reduce: fake::keep, ..functions() }), "process 0: NCCL: a sum of 3 came out as 1"),
        ];
        for (functions, words) in cases {
            as_members(2, |group| {
                assert_eq!(group.connect_by(functions(group.rank()), None), Err(words.to_owned()));
                assert!(!group.connects_gpus() && !group.sum_on_gpus(&own(0)));
                // The processes themselves are still connected.
                assert_eq!(group.sum(&[1.0]), [2.0]);
                group.check().unwrap();
            });
        }
    }

    #[test]
    fn a_sum_that_waits_for_a_lost_process_is_aborted() {
        let id = functions().unique_id().unwrap();
        let failures = [Failure::default(), Failure::default()];
        let connect = |rank: usize| Communicator::connect(&functions(), id, [rank, 2], None, &failures[rank]).unwrap();
        let (waiting, lost) = (connect(0), connect(1));
        let began = Instant::now();
        let waits = thread::spawn({
            let waiting = waiting.clone();
            move || waiting.sum(&own(0))
        });
        thread::sleep(Duration::from_millis(100));
        failures[0].set("process 1 ended unexpectedly");
        let ended = waits.join().unwrap().unwrap_err();
        assert!(ended.contains("network error") && began.elapsed() < SOON, "{ended}");
        // From then on, nothing is asked of NCCL.
        let [kept, _] = own(0);
        waiting.sum(std::slice::from_ref(&kept)).unwrap();
        assert_eq!(kept, own(0)[0]);
        waiting.close();
        lost.close();
    }

    #[test]
    fn an_error_of_the_connection_is_a_failure() {
        unsafe extern "C" fn broken(_: Handle, code: *mut c_int) -> c_int {
            // SAFETY: the caller's number.
            unsafe { *code = fake::FAILED };
            SUCCESS
        }
        let failure = Failure::default();
        let functions = Functions { asynchronous_error: broken, ..functions() };
        let id = functions.unique_id().unwrap();
        let gpus = Communicator::connect(&functions, id, [0, 1], None, &failure).unwrap();
        let began = Instant::now();
        while failure.cause().is_none() && began.elapsed() < SOON {
            thread::sleep(Duration::from_millis(10));
        }
        let cause = failure.cause().unwrap();
        assert!(cause.starts_with("the connection between the GPUs broke: NCCL: remote process exited"), "{cause}");
        gpus.close();
    }

    #[test]
    fn processes_on_the_cpu_use_gloo() {
        as_members(2, |group| {
            for wanted in [Collectives::Auto, Collectives::Gloo] {
                assert_eq!(group.connect_gpus(None, wanted).unwrap(), Exchange::Gloo { reason: None });
            }
            let Err(Error::Process(words)) = group.connect_gpus(None, Collectives::Nccl) else { panic!("refused") };
            assert_eq!(
                words,
                "NCCL cannot be used: process 0: it computes on the CPU; use `collectives` gloo, or auto"
            );
        });
    }

    /// The library itself, where libtorch has brought it and there is no GPU that it could use.
    #[test]
    fn without_a_gpu_the_library_says_why_it_cannot_be_used() {
        let functions = match Functions::find() {
            Ok(functions) => functions,
            Err(words) => return eprintln!("skipped: {words}"),
        };
        let version = functions.version();
        assert!(version.starts_with("2.") && version.split('.').count() == 3, "{version}");
        let id = functions.unique_id().unwrap();
        assert_eq!(UniqueId::from_bytes(&id.to_bytes()).unwrap().0, id.0);
        assert!(UniqueId::from_bytes(&[1, 2]).is_none());
        if tch::Cuda::is_available() {
            let gpus = Communicator::connect(&functions, id, [0, 1], Some(0), &Failure::default()).unwrap();
            gpus.try_out([0, 1], Some(0), &Failure::default()).unwrap();
            return gpus.close();
        }
        let refused = Communicator::connect(&functions, id, [0, 1], Some(0), &Failure::default()).unwrap_err();
        assert!(refused.contains("CUDA"), "{refused}");
    }
}
