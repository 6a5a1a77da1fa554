//! Servers for tests: moto, which stands for S3, a proxy before it that counts and cuts, and a web server.

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// A server of the S3 protocol with an empty bucket `bucket`.
pub(super) struct S3 {
    server: Child,
    address: SocketAddr,
}

impl S3 {
    /// `None`, and a word about it, where moto is not installed.
    pub(super) fn start() -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let server = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(server) => server,
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                println!("skipped: there is no moto_server; pip install 'moto[server]'");
                return None;
            }
            Err(fault) => panic!("moto_server: {fault}"),
        };
        let s3 = Self { server, address };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "moto_server does not answer");
            sleep(Duration::from_millis(100));
        }
        s3.ask("PUT", "", &[]);
        Some(s3)
    }

    /// The body of an answer that must be a success, about something in the bucket.
    fn ask(&self, method: &str, key: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        // Who asks matters to moto, but not whether the signature is right.
        let who =
            "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let head = format!(
            "{method} /bucket{key} HTTP/1.0\r\nHost: {}\r\nAuthorization: {who}\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.split(' ').nth(1).unwrap().starts_with('2'), "{method} {key}: {head}");
        answer.split_off(end + 4)
    }

    pub(super) fn put(&self, key: &str, body: &[u8]) {
        self.ask("PUT", &format!("/{key}"), body);
    }

    pub(super) fn get(&self, key: &str) -> Vec<u8> {
        self.ask("GET", &format!("/{key}"), &[])
    }

    pub(super) fn remove(&self, key: &str) {
        self.ask("DELETE", &format!("/{key}"), &[]);
    }

    /// Puts all files of a folder below a prefix.
    pub(super) fn put_folder(&self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let key = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.path().is_dir() {
                true => self.put_folder(&entry.path(), &(key + "/")),
                false => self.put(&key, &fs::read(entry.path()).unwrap()),
            }
        }
    }

    /// The names below a prefix, in order.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let listing = String::from_utf8(self.ask("GET", &format!("?list-type=2&prefix={prefix}"), &[])).unwrap();
        let keys = listing.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
        keys.map(|key| key.strip_prefix(prefix).unwrap().to_owned()).collect()
    }

    pub(super) fn proxy(&self) -> Proxy {
        Proxy::before(self.address)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What stands between a client and a server.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    /// Connections that are still to be cut, and after how many bytes of the answers.
    cuts: AtomicUsize,
    after: AtomicUsize,
    /// Connections that were.
    cut: AtomicUsize,
    /// Heads of requests, and the bodies between them.
    requests: Mutex<Vec<u8>>,
}

/// What is asked for in vain: the connection ends.
const HOPELESS: &[u8] = b"hopeless";

impl Proxy {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, way) = (listener.local_addr().unwrap(), Arc::new(Way::default()));
        let kept = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let way = Arc::clone(&way);
                thread::spawn(move || way.connect(client, TcpStream::connect(server).unwrap()));
            }
        });
        Self { address, way: kept }
    }

    /// Cuts each of the next connections after a number of bytes of its answer.
    pub(super) fn cut(&self, connections: usize, after: usize) {
        self.way.after.store(after, Ordering::SeqCst);
        self.way.cuts.store(connections, Ordering::SeqCst);
    }

    /// Connections that were cut.
    pub(super) fn cuts(&self) -> usize {
        self.way.cut.load(Ordering::SeqCst)
    }

    /// Bytes that were asked for of objects whose key has this end, in requests of parts, and how many requests.
    pub(super) fn asked(&self, end: &str) -> (u64, usize) {
        let requests = self.way.requests.lock().unwrap();
        let text = String::from_utf8_lossy(&requests).to_lowercase();
        let of_it = text.split("get /").skip(1).filter(|head| head.split(' ').next().unwrap().ends_with(end));
        let range = |head: &str| {
            let (from, to) = head.split("range: bytes=").nth(1)?.split("\r\n").next()?.split_once('-')?;
            Some(to.parse::<u64>().ok()? + 1 - from.parse::<u64>().ok()?)
        };
        let ranges: Vec<u64> = of_it.map(|head| range(head).expect("a request of all of it")).collect();
        (ranges.iter().sum(), ranges.len())
    }
}

impl Way {
    fn connect(self: Arc<Self>, client: TcpStream, server: TcpStream) {
        let is_cut = self.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |cuts| cuts.checked_sub(1)).is_ok();
        let mut left = if is_cut { self.after.load(Ordering::SeqCst) } else { usize::MAX };
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let way = Arc::clone(&self);
        let asking = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from_client.read(&mut buffer) {
                let bytes = &buffer[..read];
                let is_hopeless =
                    bytes.starts_with(b"GET") && bytes.windows(HOPELESS.len()).any(|part| part == HOPELESS);
                way.requests.lock().unwrap().extend_from_slice(bytes);
                if is_hopeless || to_server.write_all(bytes).is_err() {
                    break;
                }
            }
            let _ = (from_client.shutdown(Shutdown::Both), to_server.shutdown(Shutdown::Both));
        });
        let (mut from_server, mut to_client) = (server, client);
        let mut buffer = vec![0; 1 << 12];
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            let sent = read.min(left);
            if to_client.write_all(&buffer[..sent]).is_err() {
                break;
            }
            left = left.saturating_sub(sent);
            if left == 0 {
                self.cut.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        let _ = (from_server.shutdown(Shutdown::Both), to_client.shutdown(Shutdown::Both));
        let _ = asking.join();
    }
}

/// A web server of files that are small, with or without parts of them. The first answer to each request breaks off.
pub(super) fn web_server(files: Vec<(&'static str, Vec<u8>)>, gives_parts: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut known = BTreeSet::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = answer(stream, &files, gives_parts, &mut known);
        }
    });
    address
}

/// Answers one request and ends the connection.
fn answer(
    mut stream: TcpStream,
    files: &[(&str, Vec<u8>)],
    gives_parts: bool,
    known: &mut BTreeSet<String>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let name = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let Some((_, bytes)) = files.iter().find(|(known, _)| *known == name) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let range = head.split("range: bytes=").nth(1).and_then(|rest| rest.split("\r\n").next()?.split_once('-'));
    let range = range.and_then(|(from, to)| Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?)));
    let all = bytes.len();
    let dated = "Last-Modified: Tue, 01 Jul 2025 10:00:00 GMT\r\nConnection: close";
    let (text, body) = match range.filter(|_| gives_parts) {
        Some((from, to)) => {
            let to = to.min(all - 1);
            let body = &bytes[from..=to];
            (
                format!(
                    "206 Partial Content\r\nContent-Range: bytes {from}-{to}/{all}\r\nContent-Length: {}",
                    body.len()
                ),
                body,
            )
        }
        None => (format!("200 OK\r\nContent-Length: {all}"), bytes.as_slice()),
    };
    stream.write_all(format!("HTTP/1.1 {text}\r\n{dated}\r\n\r\n").as_bytes())?;
    let is_first = known.insert(format!("{name} {range:?}"));
    let sent = if is_first && body.len() > 1 { body.len() / 2 } else { body.len() };
    if head.starts_with("head") { Ok(()) } else { stream.write_all(&body[..sent]) }
}
