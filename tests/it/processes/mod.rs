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
use std::net::TcpListener;

#[cfg(feature = "libtorch")]
use segtool::nn::group::{Group, Membership};

/// Runs `work` as each of `size` members of a group.
#[cfg(feature = "libtorch")]
fn as_members<T: Send>(size: usize, work: impl Fn(&Group) -> T + Sync) -> Vec<T> {
    let port = free_port();
    let member = |rank: usize| {
        let membership = Membership {
            rank,
            size,
            local_rank: rank,
            local_size: 1,
            host: "127.0.0.1".into(),
            port,
            launcher_serves: false,
            restarts: 0,
        };
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

#[cfg(feature = "libtorch")]
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
