//! Threads act as the processes; NCCL's functions are stood in for, except in the last test.

use super::super::threads::as_members;
use super::super::{Collectives, Exchange};
use super::fake::{self, SOON, functions};
use super::*;

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
    type Found = fn(usize) -> Result<Functions, String>;
    let cases: [(Found, &str); 3] = [
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

unsafe extern "C" fn broken(_: Handle, code: *mut c_int) -> c_int {
    // SAFETY: the caller's number.
    unsafe { *code = fake::FAILED };
    SUCCESS
}

#[test]
fn an_error_before_the_connections_are_relied_on_is_no_failure() {
    let failure = Failure::default();
    let functions = Functions { asynchronous_error: broken, ..functions() };
    let id = functions.unique_id().unwrap();
    let gpus = Communicator::connect(&functions, id, [0, 1], None, &failure).unwrap();
    let began = Instant::now();
    while gpus.0.error.get().is_none() && began.elapsed() < SOON {
        thread::sleep(Duration::from_millis(10));
    }
    let refused = gpus.try_out([0, 1], None, &failure).unwrap_err();
    assert_eq!(refused, "NCCL: remote process exited or there was a network error");
    assert_eq!(failure.cause(), None);
}

#[test]
fn an_error_of_the_connections_is_a_failure() {
    let failure = Failure::default();
    static WORKS: AtomicBool = AtomicBool::new(true);
    unsafe extern "C" fn breaks(handle: Handle, code: *mut c_int) -> c_int {
        if WORKS.load(Ordering::SeqCst) {
            return SUCCESS;
        }
        // SAFETY: the caller's arguments.
        unsafe { broken(handle, code) }
    }
    let functions = Functions { asynchronous_error: breaks, ..functions() };
    let id = functions.unique_id().unwrap();
    let gpus = Communicator::connect(&functions, id, [0, 1], None, &failure).unwrap();
    gpus.rely_on_it();
    WORKS.store(false, Ordering::SeqCst);
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
        let words = group.connect_gpus(None, Collectives::Nccl).unwrap_err().to_string();
        assert_eq!(words, "`collectives` cannot be nccl: process 0: it has no NVIDIA GPU; use auto, or gloo");
    });
}

/// NCCL itself, where libtorch comes with it: it refuses without a GPU, and connects if there is one.
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
    let refused: String = Communicator::connect(&functions, id, [0, 1], Some(0), &Failure::default()).unwrap_err();
    assert!(refused.contains("CUDA"), "{refused}");
}

#[test]
fn a_failure_that_is_known_is_not_waited_for_again() {
    let failure = Failure::default();
    failure.set("process 1 ended unexpectedly");
    let began = Instant::now();
    (0..100).for_each(|_| fail(&failure, "NCCL: unhandled system error"));
    assert!(began.elapsed() < CLEARER);
    assert_eq!(failure.cause().unwrap(), "process 1 ended unexpectedly");
}
