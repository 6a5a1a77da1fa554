//! Requests byte by byte, so that damaged ones can be sent, too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest time until an answer is there.
const WAIT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request with usual headers.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(method: &str, path: &str) -> Self {
        let host = ("Host".to_owned(), "localhost".to_owned());
        Self { method: method.into(), path: path.into(), headers: vec![host], body: Vec::new() }
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Sets a header in the place of one of that name.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path);
        self.headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        if !self.body.is_empty() || self.method == "POST" {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        [format!("{text}\r\n").as_bytes(), &self.body].concat()
    }

    pub(super) fn send(&self, port: u16) -> Answer {
        send(port, &self.bytes()).unwrap_or_else(|| panic!("no answer to {} {}", self.method, self.path))
    }
}

/// Sends bytes, and reads until the server closes. `None` if it does without an answer.
pub(super) fn send(port: u16, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    // A server that refuses a request need not read it to its end.
    let _ = stream.write_all(bytes);
    finish(stream)
}

/// Reads an answer to its end.
pub(super) fn finish(mut stream: TcpStream) -> Option<Answer> {
    let mut all = Vec::new();
    // The rest of a request that nobody reads resets the connection: what came before counts.
    let _ = stream.read_to_end(&mut all);
    parse(&all)
}

fn parse(all: &[u8]) -> Option<Answer> {
    let end = all.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
    let answer = Answer { status, headers, body: all[end + 4..].to_vec() };
    let chunked = answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    Some(if chunked { Answer { body: unchunked(&answer.body), ..answer } } else { answer })
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap().trim(), 16).unwrap_or(0);
        if length == 0 || body.len() < end + 4 + length {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
    }
    whole
}
