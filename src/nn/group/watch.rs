//! Heartbeats between the processes of a training.
//!
//! A collective that waits for a process that is suspended or has lost its network does so for minutes, and its error
//! then mentions only connections. Process 0 therefore holds an additional connection to each of the others: both ends
//! send one byte per second, and if a process fails, all are told why.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::base::locked;

/// Interval between two heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time without a heartbeat after which a process counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time for an error message to be delivered before the program ends.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// Maximum length of an error message, in bytes.
const LONGEST: usize = 8192;

const ALIVE: u8 = b'.';
const DONE: u8 = b'=';
const FAILED: u8 = b'!';

/// The heartbeat connections of a process.
#[derive(Debug)]
pub(super) struct Watch {
    rank: usize,
    peers: Arc<Vec<Peer>>,
}

/// The other end of a connection.
#[derive(Debug)]
struct Peer {
    rank: usize,
    /// Where it runs, for messages.
    name: String,
    stream: Mutex<TcpStream>,
}

impl Peer {
    fn send(&self, message: &[u8]) -> std::io::Result<()> {
        locked(&self.stream).write_all(message)
    }

    fn close(&self) {
        let stream = locked(&self.stream);
        // The other end may be gone.
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn tell(&self, cause: &str) {
        let mut end = cause.len().min(LONGEST);
        while !cause.is_char_boundary(end) {
            end -= 1;
        }
        let text = &cause.as_bytes()[..end];
        let mut message = vec![FAILED];
        message.extend((text.len() as u32).to_le_bytes());
        message.extend(text);
        // The connection may be what failed.
        let _ = self.send(&message);
    }
}

impl Watch {
    /// The watch of process 0, which waits for all others to connect.
    pub(super) fn lead(
        listener: &TcpListener,
        size: usize,
        limit: Duration,
        failure: &Failure,
    ) -> Result<Self, String> {
        let deadline = Instant::now() + limit;
        listener.set_nonblocking(true).map_err(|e| e.to_string())?;
        let mut peers = Vec::new();
        while peers.len() + 1 < size {
            match listener.accept() {
                Ok((stream, _)) => peers.extend(greeted(stream)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() > deadline {
                        return Err(format!("only {} of {} other processes connected", peers.len(), size - 1));
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                Err(e) => return Err(e.to_string()),
            }
        }
        Self::begin(0, peers, failure)
    }

    /// The watch of another process, which connects to process 0.
    pub(super) fn follow(
        rank: usize,
        name: &str,
        address: &str,
        leader: &str,
        failure: &Failure,
    ) -> Result<Self, String> {
        let connected = TcpStream::connect(address).and_then(|mut stream| {
            let mut greeting = (rank as u32).to_le_bytes().to_vec();
            greeting.push(name.len().min(255) as u8);
            greeting.extend(name.bytes().take(255));
            stream.write_all(&greeting)?;
            Ok(stream)
        });
        let stream = connected.map_err(|e| format!("cannot connect to process 0 at {address}: {e}"))?;
        Self::begin(rank, vec![Peer { rank: 0, name: leader.into(), stream: Mutex::new(stream) }], failure)
    }

    fn begin(rank: usize, peers: Vec<Peer>, failure: &Failure) -> Result<Self, String> {
        let peers = Arc::new(peers);
        for i in 0..peers.len() {
            let stream = locked(&peers[i].stream).try_clone();
            let stream = stream.and_then(|stream| {
                // A second handle to the same connection. Reads time out after `PATIENCE`; writes of a few bytes never
                // block for long.
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(stream)
            });
            let stream = stream.map_err(|e| e.to_string())?;
            let (listening, failed) = (Arc::clone(&peers), failure.clone());
            spawn(move || listen(stream, &listening, i, &failed))?;
            let (speaking, failed) = (Arc::clone(&peers), failure.clone());
            spawn(move || {
                while !failed.is_set() && speaking[i].send(&[ALIVE]).is_ok() {
                    thread::sleep(INTERVAL);
                }
            })?;
        }
        Ok(Self { rank, peers })
    }

    /// Tells the others that this process is done, or what ended it.
    pub(super) fn leave(self, cause: Option<&str>) {
        match cause {
            None => self.peers.iter().for_each(|peer| drop(peer.send(&[DONE]))),
            Some(cause) => {
                self.peers.iter().for_each(|peer| peer.tell(&format!("process {}: {cause}", self.rank)));
                // Time for the others to read it, before the end of this process breaks their connections.
                thread::sleep(LAST_WORDS);
            }
        }
        // The heartbeat threads end when they can no longer send.
        self.peers.iter().for_each(Peer::close);
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    thread::Builder::new().name("watch".into()).spawn(work).map(drop).map_err(|e| e.to_string())
}

/// Reads the greeting of a connection: rank and name. `None` if it sends something else.
fn greeted(mut stream: TcpStream) -> Option<Peer> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let rank = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let mut name = vec![0; usize::from(head[4])];
    stream.read_exact(&mut name).ok()?;
    Some(Peer { rank, name: String::from_utf8_lossy(&name).into_owned(), stream: Mutex::new(stream) })
}

/// Reads what a peer sends until it is done or lost.
fn listen(mut stream: TcpStream, peers: &[Peer], place: usize, failure: &Failure) {
    let Some(cause) = last_words(&mut stream, &peers[place]) else { return };
    // Only process 0 is connected to all others, so it passes the cause on.
    peers.iter().enumerate().filter(|(i, _)| *i != place).for_each(|(_, other)| other.tell(&cause));
    failure.set(cause);
}

/// Why the connection ended; `None` if the peer was done.
fn last_words(stream: &mut TcpStream, peer: &Peer) -> Option<String> {
    let who = || format!("process {} ({})", peer.rank, peer.name);
    loop {
        let mut sign = [0];
        match stream.read_exact(&mut sign) {
            Ok(()) if sign[0] == ALIVE => {}
            Ok(()) if sign[0] == DONE => return None,
            Ok(()) => {
                let mut length = [0; 4];
                stream.read_exact(&mut length).ok();
                let mut text = vec![0; (u32::from_le_bytes(length) as usize).min(LONGEST)];
                stream.read_exact(&mut text).ok();
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let seconds = PATIENCE.as_secs();
                return Some(format!(
                    "{} has not answered for {seconds} seconds: it is suspended, or the network is down",
                    who()
                ));
            }
            Err(_) => return Some(format!("{} ended unexpectedly", who())),
        }
    }
}
