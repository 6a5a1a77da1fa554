//! A member of a process group.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::base::{Error, Result, locked};

use super::c10d::{self, Link, Number};
use super::failure::Failure;
use super::membership::{Joining, Membership};
use super::nccl::Communicator;
use super::watch::Watch;

/// How long a process waits for one that is alive but does not reach the same collective.
const PATIENCE: Duration = Duration::from_secs(600);
/// Key of the run folder, which is set once the run has begun.
const BEGUN: &str = "begun";
/// Maximum number of values per collective: 16 MiB of float32.
const BUCKET: usize = 1 << 22;

/// The group of processes that train together, as seen by one member. Clones are the same member. Collectives must be
/// called by one thread at a time, and in the same order by all members. Each must call [`Self::leave`] in the end: one that is
/// dropped without it ends the others with an error.
#[derive(Debug, Clone)]
pub struct Group(pub(super) Arc<Member>);

#[derive(Debug)]
pub(super) struct Member {
    rank: usize,
    size: usize,
    local_size: usize,
    /// `None` once the member has left.
    link: Mutex<Option<Link>>,
    watch: Mutex<Option<Watch>>,
    /// The connections of this process's GPU to the others', if there are any.
    pub(super) gpus: OnceLock<Communicator>,
    pub(super) failure: Failure,
    pub(super) spent: Mutex<Spent>,
}

/// The cost of collectives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spent {
    /// Time spent in them, including waiting for the slowest process; those between GPUs do not count, as the program
    /// does not wait for them.
    pub time: Duration,
    /// Bytes contributed by this process.
    pub bytes: u64,
}

impl Group {
    /// Waits for the other processes and connects to each of them.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] if they do not join within ten minutes or cannot be reached, and in builds without libtorch.
    pub fn join(membership: &Membership) -> Result<Self> {
        let Membership { rank, size, host, port, .. } = membership;
        let failed = |cause: String| {
            Error::Process(format!("process {rank} of {size} cannot join the others at {host}:{port}: {cause}"))
        };
        let failure = Failure::default();
        let (link, watch) = connect(membership, &failure).map_err(failed)?;
        let (link, watch) = (Mutex::new(Some(link)), Mutex::new(Some(watch)));
        Ok(Self(Arc::new(Member {
            rank: *rank,
            size: *size,
            local_size: membership.local_size,
            link,
            watch,
            gpus: OnceLock::new(),
            failure,
            spent: Mutex::default(),
        })))
    }

    /// The rank of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.rank
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// The number of processes on this machine.
    pub fn local_size(&self) -> usize {
        self.0.local_size
    }

    /// Whether this is process 0, the only one that writes files.
    pub fn leads(&self) -> bool {
        self.0.rank == 0
    }

    /// Whether the processes' GPUs are connected to one another ([`Self::connect_gpus`]).
    pub fn connects_gpus(&self) -> bool {
        self.0.gpus.get().is_some()
    }

    /// The cost of the collectives so far.
    pub fn spent(&self) -> Spent {
        *locked(&self.0.spent)
    }

    /// Fails if this process or another one has failed.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] with the message of the process that failed.
    pub fn check(&self) -> Result<()> {
        self.0.failure.cause().map_or(Ok(()), |cause| Err(Error::Process(cause)))
    }

    /// All-reduce: the sum over all processes, which must pass equally many values. After a failure, the values are
    /// returned unchanged.
    pub fn sum(&self, values: &[f32]) -> Vec<f32> {
        self.exchange(values, None)
    }

    /// [`Self::sum`] without a copy. After a failure, the values returned are meaningless.
    pub fn sum_in_place(&self, values: Vec<f32>) -> Vec<f32> {
        let count = values.len();
        self.exchange_owned(values, None).unwrap_or_else(|| vec![0.0; count])
    }

    /// All-reduce of integers, like [`Self::sum`].
    pub fn sum_counts(&self, counts: &[i64]) -> Vec<i64> {
        self.exchange(counts, None)
    }

    /// All-gather: the values of all processes in order of rank, equally many from each. After a failure, those of the
    /// others are 0.
    pub fn gather(&self, values: &[f32]) -> Vec<f32> {
        let mut all = vec![0.0; values.len() * self.0.size];
        all[values.len() * self.0.rank..][..values.len()].copy_from_slice(values);
        self.sum(&all)
    }

    /// Whether `vote` is true in any of the processes.
    pub fn any(&self, vote: bool) -> bool {
        self.sum_counts(&[i64::from(vote)])[0] > 0
    }

    /// Broadcast: the values of process 0, in all processes; the others pass a buffer of the same length, whose
    /// contents are ignored.
    pub fn broadcast(&self, values: &[f32]) -> Vec<f32> {
        self.exchange(values, Some(0))
    }

    /// Broadcast of bytes from process `root`; what the others pass is ignored.
    pub fn broadcast_bytes(&self, bytes: Vec<u8>, root: usize) -> Vec<u8> {
        let own = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let length = self.exchange(&[own], Some(root))[0];
        let mut bytes = bytes;
        bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        self.exchange(&bytes, Some(root))
    }

    /// Barrier: waits until all processes have reached it.
    pub fn meet(&self) {
        self.any(false);
    }

    /// Records the folder of the run that has begun, for later attempts.
    pub fn note_begun(&self, folder: &Path) {
        self.with_link(|link| link.set(true, BEGUN, folder.as_os_str().as_encoded_bytes()));
    }

    /// The folder of the run that an earlier attempt has begun; known only if the launcher outlives its processes.
    pub fn begun(&self) -> Option<PathBuf> {
        let find = |link: &Link| if link.has(BEGUN)? { link.get(true, BEGUN).map(Some) } else { Ok(None) };
        self.with_link(find).flatten().map(path_of)
    }

    fn with_link<T>(&self, ask: impl FnOnce(&Link) -> Result<T, String>) -> Option<T> {
        let link = locked(&self.0.link);
        let answer = link.as_ref().map(ask)?;
        answer.map_err(|cause| self.0.failure.set(format!("the connection between the processes broke: {cause}"))).ok()
    }

    /// Compares the settings of all processes with those of process 0: pairs of a name and a value.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] in every process if a setting differs, naming it.
    pub fn agree(&self, settings: &[(&str, String)]) -> Result<()> {
        // Broadcast as bytes, whose length may differ between processes: in other collectives, that would abort the
        // program.
        let own = serde_json::to_vec(&settings).map_err(|e| Error::failed("encode settings", e))?;
        let theirs: Vec<(String, String)> = serde_json::from_slice(&self.broadcast_bytes(own, 0)).unwrap_or_default();
        let value = |name: &str| theirs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let differs = settings.iter().find(|(name, own)| value(name) != own);
        let (rank, size) = (self.0.rank, self.0.size);
        let words = differs.map(|(name, own)| {
            let values = if own.len().max(value(name).len()) > 60 {
                String::new()
            } else {
                format!(": '{own}' there, '{}' in process 0", value(name))
            };
            format!(
                "process {rank} of {size} trains with another {name} than process 0{values}; give all the same command"
            )
        });
        let found = self.first_words(words);
        // The process that differs may have ended already, before its words were here; then they are those of its failure.
        self.check()?;
        found.map_or(Ok(()), |(_, words)| Err(Error::Process(words)))
    }

    /// `result` if all processes succeeded; otherwise this process's own error, or that of the first process that
    /// failed. An error that several processes have in common, such as the faults of their data set, is returned by the
    /// first of them; the others refer to it.
    ///
    /// # Errors
    ///
    /// Those of `result`, or [`Error::Process`].
    pub fn together<T>(&self, result: Result<T>) -> Result<T> {
        let own = result.as_ref().err().map(ToString::to_string);
        let failed = self.first_words(own.clone());
        self.check()?;
        if failed.is_some() {
            // One that leaves with its error is a failure to the others, so none does before all have the words.
            self.meet();
        }
        match (failed, result) {
            (None, result) => result,
            (Some((first, words)), Ok(_)) => Err(Error::Process(format!("process {first}: {words}"))),
            // Wrong usage has its own exit code.
            (Some((first, words)), Err(error))
                if first != self.0.rank && own.as_ref() == Some(&words) && !error.is_wrong_usage() =>
            {
                Err(Error::Process(format!("failed with the same error as process {first}")))
            }
            (_, Err(error)) => Err(error),
        }
    }

    /// The rank and message of the first process that has a message; the same in all processes.
    pub(super) fn first_words(&self, words: Option<String>) -> Option<(usize, String)> {
        let speaking = self.gather(&[f32::from(u8::from(words.is_some()))]);
        let first = speaking.iter().position(|speaks| *speaks > 0.0)?;
        let told = self.broadcast_bytes(words.unwrap_or_default().into_bytes(), first);
        Some((first, String::from_utf8_lossy(&told).into_owned()))
    }

    /// Leaves the group: without a cause, once all processes have finished; with a cause, immediately, which also ends
    /// the others.
    ///
    /// # Errors
    ///
    /// Without a cause, [`Error::Process`] if another process failed before it finished.
    pub fn leave(&self, cause: Option<&str>) -> Result<()> {
        let mut met = Ok(());
        if cause.is_none() {
            // Process 0 hosts the store, so none may leave before all have finished. Connections that break from here
            // on do so because the others are done.
            self.meet();
            met = self.check();
        }
        let (gpus, over) = (self.0.gpus.get(), cause.is_none() && met.is_ok());
        gpus.iter().filter(|_| over).for_each(|gpus| gpus.close());
        let watch = locked(&self.0.watch).take();
        if let Some(watch) = watch {
            watch.leave(cause);
        }
        // After the others have been told: an abort takes a while.
        gpus.iter().filter(|_| !over).for_each(|gpus| gpus.abort());
        let link = locked(&self.0.link).take();
        // Otherwise, closing it would wait for a process that is lost.
        if let Some(link) = link.filter(|_| over) {
            link.close();
        }
        met
    }

    fn exchange<T: Number + Clone>(&self, values: &[T], root: Option<usize>) -> Vec<T> {
        self.exchange_owned(values.to_vec(), root).unwrap_or_else(|| values.to_vec())
    }

    /// `None` after a failure, which is recorded.
    fn exchange_owned<T: Number>(&self, values: Vec<T>, root: Option<usize>) -> Option<Vec<T>> {
        let link = locked(&self.0.link);
        let link = link.as_ref().filter(|_| !self.0.failure.is_set())?;
        let (began, bytes) = (Instant::now(), size_of_val(&values[..]));
        let exchanged = link.exchange(values, BUCKET, root, &self.0.failure);
        let mut spent = locked(&self.0.spent);
        spent.time += began.elapsed();
        spent.bytes += bytes as u64;
        drop(spent);
        exchanged.unwrap_or_else(|cause| {
            // If a process dies, this connection breaks a moment before its heartbeat connection, whose error message
            // is clearer.
            std::thread::sleep(Duration::from_millis(500));
            self.0.failure.set(format!("the connection between the processes broke: {cause}"));
            None
        })
    }
}

/// One that did not leave has met an error or a panic: the others would wait for it forever.
impl Drop for Member {
    fn drop(&mut self) {
        let watch = self.watch.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watch) = watch {
            watch.leave(Some("it ended without finishing"));
            self.gpus.get().iter().for_each(|gpus| gpus.abort());
        }
    }
}

/// The path of these bytes, which `as_encoded_bytes` gave.
#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

fn connect(membership: &Membership, failure: &Failure) -> Result<(Link, Watch), String> {
    let Membership { rank, size, local_size, host, port, launcher_serves, restarts, .. } = membership;
    c10d::use_threads(threads_each(*local_size));
    let link = Link::join(&Joining {
        host,
        port: *port,
        serves: *rank == 0 && !launcher_serves,
        // Hides what an earlier attempt left in the launcher's store.
        prefix: &format!("segtool/{restarts}"),
        rank: *rank,
        size: *size,
        seconds: PATIENCE.as_secs_f64(),
    })?;
    let address = own_address(&link, membership)?;
    let interfaces = std::env::var("GLOO_SOCKET_IFNAME").ok().filter(|names| !names.is_empty());
    link.connect(&address.to_string(), interfaces.as_deref())?;
    let name = machine_name();
    let watch = if *rank == 0 {
        let listener = TcpListener::bind(SocketAddr::new(address, 0)).map_err(|e| e.to_string())?;
        let at = listener.local_addr().map_err(|e| e.to_string())?;
        link.set(false, "watch", format!("{at} {name}").as_bytes())?;
        Watch::lead(&listener, *size, PATIENCE, failure)?
    } else {
        let text = link.get(false, "watch")?;
        let text = String::from_utf8_lossy(&text);
        let (at, leader) = text.split_once(' ').unwrap_or((&text, "?"));
        Watch::follow(*rank, &name, at, leader, failure)?
    };
    Ok((link, watch))
}

/// The address at which the others reach this process: its own on the route to the first of them that is on another
/// machine.
fn own_address(link: &Link, membership: &Membership) -> Result<IpAddr, String> {
    let towards = |host: &str, port: u16| -> std::io::Result<IpAddr> {
        let there = (host, port).to_socket_addrs()?.next();
        let there = there.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        // Sends nothing; the system only selects a route.
        socket.connect(there)?;
        Ok(socket.local_addr()?.ip())
    };
    let own = towards(&membership.host, membership.port).map_err(|e| e.to_string())?;
    link.set(false, &format!("address/{}", membership.rank), own.to_string().as_bytes())?;
    if !own.is_loopback() {
        return Ok(own);
    }
    // A machine's own host name often resolves to a loopback address, at which other machines would reach themselves.
    for rank in 0..membership.size {
        let other = link.get(false, &format!("address/{rank}"))?;
        let other: Option<IpAddr> = String::from_utf8_lossy(&other).parse().ok();
        if let Some(other) = other.filter(|other| !other.is_loopback()) {
            return towards(&other.to_string(), membership.port).map_err(|e| e.to_string());
        }
    }
    Ok(own)
}

/// Number of threads for each of `processes` processes on this machine.
pub fn threads_each(processes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / processes.max(1)).max(1)
}

/// Sets the number of threads that libtorch shares an operation of this process out to; on joining a group it is that of
/// [`threads_each`].
pub fn use_threads(count: usize) {
    c10d::use_threads(count);
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "another machine".into() } else { name.trim().into() }
}

#[cfg(test)]
#[cfg(feature = "libtorch")]
mod tests {
    use super::super::MeetingPlace;
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_path_that_is_no_utf_8_is_the_same_afterwards() {
        use std::os::unix::ffi::OsStrExt;
        let folder = Path::new(std::ffi::OsStr::from_bytes(b"runs/caf\xe9"));
        assert_eq!(path_of(folder.as_os_str().as_encoded_bytes().to_vec()), folder);
    }

    #[test]
    fn a_member_that_drops_out_ends_the_others() {
        let place = MeetingPlace::open().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(Group::join(&place.membership(1, 2)).unwrap()));
            let group = Group::join(&place.membership(0, 2)).unwrap();
            // Nobody else takes part.
            group.meet();
            let words = group.check().unwrap_err().to_string();
            assert!(words.contains("process 1: it ended without finishing"), "{words}");
            group.leave(Some(&words)).unwrap();
        });
    }
}
