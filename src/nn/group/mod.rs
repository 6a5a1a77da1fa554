//! Several processes that train one network together, each on its share of every batch (data-parallel training).
//!
//! They find one another through `torchrun`, `mpirun`, Slurm or the program's own launcher ([`Membership`]), connect
//! through libtorch's store and its Gloo collectives, connect their GPUs through NCCL, and monitor one another: when one
//! ends or stops responding, all end with its error. A failed collective is recorded ([`Group::check`]) rather than
//! returned by every operation of a network: from then on, collectives return a process's own values, and training,
//! which checks after each step, ends.

mod failure;
mod gpus;
mod member;
mod membership;
mod place;
mod share;
mod watch;

#[cfg(feature = "libtorch")]
mod c10d;
#[cfg(feature = "libtorch")]
pub(in crate::nn) mod nccl;

/// Without libtorch, processes cannot be connected.
#[cfg(not(feature = "libtorch"))]
mod c10d {
    use super::failure::Failure;
    use super::membership::Joining;

    const MISSING: &str = "this needs libtorch's collectives; build segtool with the feature libtorch (see the README)";

    #[derive(Debug)]
    pub(super) enum Store {}

    impl Store {
        pub(super) fn serve() -> Result<(Self, u16), String> {
            Err(MISSING.into())
        }
    }

    #[derive(Debug)]
    pub(super) enum Link {}

    pub(super) trait Number {}
    impl Number for f32 {}
    impl Number for i64 {}
    impl Number for u8 {}

    impl Link {
        pub(super) fn join(_: &Joining<'_>) -> Result<Self, String> {
            Err(MISSING.into())
        }

        pub(super) fn connect(&self, _: &str, _: Option<&str>) -> Result<(), String> {
            match *self {}
        }

        pub(super) fn set(&self, _: bool, _: &str, _: &[u8]) -> Result<(), String> {
            match *self {}
        }

        pub(super) fn get(&self, _: bool, _: &str) -> Result<Vec<u8>, String> {
            match *self {}
        }

        pub(super) fn has(&self, _: &str) -> Result<bool, String> {
            match *self {}
        }

        pub(super) fn exchange<T: Number>(
            &self,
            _: Vec<T>,
            _: usize,
            _: Option<usize>,
            _: &Failure,
        ) -> Result<Option<Vec<T>>, String> {
            match *self {}
        }

        pub(super) fn close(self) {
            match self {}
        }
    }

    pub(super) fn use_threads(_: usize) {}
}

/// Without libtorch, nor can GPUs.
#[cfg(not(feature = "libtorch"))]
mod nccl {
    #[derive(Debug)]
    pub(super) enum Communicator {}

    impl Communicator {
        pub(super) fn close(&self) {
            match *self {}
        }

        pub(super) fn abort(&self) {
            match *self {}
        }
    }
}

pub use gpus::{Collectives, Exchange};
pub use member::{Group, Spent, threads_each, use_threads};
pub use membership::Membership;
pub use place::MeetingPlace;
pub use share::Share;

#[cfg(test)]
#[cfg(feature = "libtorch")]
pub(in crate::nn) mod threads {
    //! Threads that act as the processes of a group.

    use super::{Group, MeetingPlace, Membership};

    /// Runs `work` as each of `size` members of a group.
    pub(in crate::nn) fn as_members(size: usize, work: impl Fn(&Group) + Sync) {
        let place = MeetingPlace::open().unwrap();
        let member = |rank: usize| {
            // libtorch's threads belong to all tests of the process.
            let membership = Membership { local_size: 1, ..place.membership(rank, size) };
            let group = Group::join(&membership).unwrap();
            work(&group);
            group.leave(None).unwrap();
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || member(rank))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
