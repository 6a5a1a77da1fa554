//! Several processes that train one network: as one process does, whatever their number, and all ending when one fails.
//!
//! Where the program itself is not under test, threads act as the processes: each is a member of the group.

#[cfg(feature = "libtorch")]
mod ends;
#[cfg(feature = "libtorch")]
mod equal;
mod refusals;
#[cfg(feature = "libtorch")]
mod scaling;

#[cfg(feature = "libtorch")]
use segtool::nn::group::{Group, MeetingPlace, Membership};

/// Runs `work` as each of `size` members of a group.
#[cfg(feature = "libtorch")]
fn as_members<T: Send>(size: usize, work: impl Fn(&Group) -> T + Sync) -> Vec<T> {
    let place = MeetingPlace::open().unwrap();
    let member = |rank: usize| {
        // libtorch's threads belong to all tests of the process.
        let membership = Membership { local_size: 1, ..place.membership(rank, size) };
        let group = Group::join(&membership).unwrap();
        let found = work(&group);
        group.leave(None).unwrap();
        found
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || member(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A port that is free, unless another program takes it in the meantime.
#[cfg(feature = "libtorch")]
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
