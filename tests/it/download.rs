//! Weights from the web: a server on loopback that behaves badly in every way that counts.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use crate::common::{fixture_path, stdout_of, text};

/// A request: its path, and the first byte that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    path: String,
    from: usize,
}

/// What the server does with a request, which it numbers from 0.
type Script = dyn Fn(usize, &Request) -> Vec<u8> + Send + Sync;

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(script: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script): (_, Arc<Script>) = (seen.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &log, &*script);
            }
        });
        Self { address, seen }
    }

    fn url(&self, path: &str, bytes: &[u8]) -> String {
        format!("{}/{path}#sha256={}", self.address, sha256(bytes))
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers one request and ends the connection.
fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, script: &Script) {
    let lines: Vec<String> = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let range = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    let request = Request { path: path.to_owned(), from };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    // The client may have gone.
    let _ = stream.write_all(&script(number, &request));
}

fn answer(status: &str, headers: &[String], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    headers.iter().for_each(|header| text.push_str(&format!("{header}\r\n")));
    [format!("{text}\r\n").as_bytes(), body].concat()
}

/// The file from where it is asked for, all of it announced, `sent` bytes of it sent.
fn part(bytes: &[u8], from: usize, sent: usize) -> Vec<u8> {
    let mut headers = vec![format!("Content-Length: {}", bytes.len() - from)];
    let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
    if from > 0 {
        headers.push(format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len()));
    }
    answer(status, &headers, &bytes[from..(from + sent).min(bytes.len())])
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn weights() -> Vec<u8> {
    fs::read(fixture_path("unet_seeps_zip.pth")).unwrap()
}

/// `segtool import URL` with a cache of its own.
fn import(url: &str, folder: &TempDir) -> Output {
    let output = folder.path().join("imported.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
    for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command
        .env("SEGTOOL_CACHE", folder.path().join("cache"))
        .args(["import", url, "--output", &text(&output)])
        .output()
        .unwrap()
}

fn cached(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path().join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        // Locks stay.
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn succeeds(output: &Output, folder: &TempDir) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let [name] = &cached(folder)[..] else { panic!("{:?}", cached(folder)) };
    assert_eq!(fs::read(folder.path().join("cache").join(name)).unwrap(), weights());
    said
}

/// What is said of a download that fails; nothing that looks like the file is left.
fn fails(output: &Output, folder: &TempDir, left: &[&str]) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let names = cached(folder);
    assert_eq!(names, left.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), "{said}");
    assert!(!folder.path().join("imported.safetensors").exists());
    said
}

#[test]
fn a_file_is_downloaded_once_and_then_works_offline() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, request| part(&weights(), request.from, usize::MAX - 1_000_000));
    let url = server.url("w.pth", &weights());
    succeeds(&import(&url, &folder), &folder);
    succeeds(&import(&url, &folder), &folder);
    assert_eq!(server.seen(), [Request { path: "/w.pth".into(), from: 0 }]);
}

#[test]
fn a_damaged_file_in_the_cache_is_downloaded_again() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, request| part(&weights(), request.from, 1 << 30));
    let url = server.url("w.pth", &weights());
    succeeds(&import(&url, &folder), &folder);
    let path = folder.path().join("cache").join(&cached(&folder)[0]);
    fs::write(&path, b"not what it was").unwrap();
    let said = succeeds(&import(&url, &folder), &folder);
    assert!(said.contains("is damaged and will be downloaded again"), "{said}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_cache_that_cannot_be_written_to_serves_what_it_has() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, request| part(&weights(), request.from, 1 << 30));
    let url = server.url("w.pth", &weights());
    succeeds(&import(&url, &folder), &folder);
    // Whoever runs the tests may be allowed to write anywhere, but nobody writes to a folder.
    let lock = folder.path().join("cache").join(format!(".{}-w.pth.lock", &sha256(&weights())[..8]));
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    succeeds(&import(&url, &folder), &folder);
    assert_eq!(server.seen().len(), 1);
    fs::write(folder.path().join("cache").join(&cached(&folder)[0]), "damaged").unwrap();
    let said = String::from_utf8(import(&url, &folder).stderr).unwrap();
    assert!(said.contains("a download cannot be kept here") && said.contains("with SEGTOOL_CACHE"), "{said}");
    assert!(!said.contains("--output-path"), "{said}");
}

#[test]
fn a_very_long_name_is_cut() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, request| part(&weights(), request.from, 1 << 30));
    succeeds(&import(&server.url(&format!("{}.pth", "w".repeat(300)), &weights()), &folder), &folder);
    assert!(cached(&folder)[0].ends_with("ww.pth"));
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let folder = tempdir().unwrap();
    let server =
        Server::start(|number, request| part(&weights(), request.from, if number < 2 { 10_000 } else { 1 << 30 }));
    let said = succeeds(&import(&server.url("w.pth", &weights()), &folder), &folder);
    assert!(said.contains("the connection broke after"), "{said}");
    assert_eq!(server.seen().iter().map(|request| request.from).collect::<Vec<_>>(), [0, 10_000, 20_000]);
}

#[test]
fn what_has_arrived_serves_the_next_call() {
    let folder = tempdir().unwrap();
    // Four tries without a byte more, then the rest.
    let server = Server::start(|number, request| match number {
        0 => part(&weights(), request.from, 12_345),
        1..=3 => part(&weights(), request.from, 0),
        _ => part(&weights(), request.from, 1 << 30),
    });
    let url = server.url("w.pth", &weights());
    let name = format!("{}-w.pth.part", &sha256(&weights())[..8]);
    let said = fails(&import(&url, &folder), &folder, &[&name]);
    assert!(said.contains("is kept: the same command continues from there"), "{said}");
    succeeds(&import(&url, &folder), &folder);
    assert_eq!(server.seen().last().unwrap().from, 12_345);
}

#[test]
fn a_server_that_cannot_go_on_starts_again() {
    let folder = tempdir().unwrap();
    let server = Server::start(|number, _| part(&weights(), 0, if number == 0 { 5_000 } else { 1 << 30 }));
    succeeds(&import(&server.url("w.pth", &weights()), &folder), &folder);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_changed_file_is_not_sewn_together() {
    let folder = tempdir().unwrap();
    let name = format!("{}-w.pth.part", &sha256(&weights())[..8]);
    fs::create_dir_all(folder.path().join("cache")).unwrap();
    fs::write(folder.path().join("cache").join(name), vec![7; 3_000]).unwrap();
    let server = Server::start(|_, request| part(&weights(), request.from, 1 << 30));
    succeeds(&import(&server.url("w.pth", &weights()), &folder), &folder);
    assert_eq!(server.seen().iter().map(|request| request.from).collect::<Vec<_>>(), [3_000, 0]);
}

#[test]
fn a_whole_part_needs_no_byte_more() {
    let folder = tempdir().unwrap();
    let name = format!("{}-w.pth.part", &sha256(&weights())[..8]);
    fs::create_dir_all(folder.path().join("cache")).unwrap();
    fs::write(folder.path().join("cache").join(name), weights()).unwrap();
    let server = Server::start(|_, _| {
        let total = weights().len();
        answer(
            "416 Range Not Satisfiable",
            &["Content-Length: 0".into(), format!("Content-Range: bytes */{total}")],
            b"",
        )
    });
    succeeds(&import(&server.url("w.pth", &weights()), &folder), &folder);
}

#[test]
fn two_processes_download_once() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, request| {
        // Long enough for the second to come.
        thread::sleep(Duration::from_millis(500));
        part(&weights(), request.from, 1 << 30)
    });
    let url = server.url("w.pth", &weights());
    thread::scope(|scope| {
        let both: Vec<_> = (0..2).map(|_| scope.spawn(|| import(&url, &folder))).collect();
        for output in both {
            succeeds(&output.join().unwrap(), &folder);
        }
    });
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, _| part(b"<html>please log in</html>", 0, 1 << 30));
    let said = fails(&import(&server.url("w.pth", &weights()), &folder), &folder, &[]);
    assert!(
        said.contains(&sha256(b"<html>please log in</html>")) && said.contains("the download was deleted"),
        "{said}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_missing_file_is_not_asked_for_again() {
    let folder = tempdir().unwrap();
    let server = Server::start(|_, _| answer("404 Not Found", &["Content-Length: 4".into()], b"gone"));
    let said = fails(&import(&server.url("w.pth", &weights()), &folder), &folder, &[]);
    assert!(said.contains("the server says 404 Not Found: the file does not exist"), "{said}");
    assert!(said.contains(&server.address), "{said}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn redirects_are_followed_but_not_in_a_circle() {
    let folder = tempdir().unwrap();
    let to = |path: &str| answer("302 Found", &[format!("Location: {path}"), "Content-Length: 0".into()], b"");
    let server = Server::start(move |_, request| match request.path.as_str() {
        "/once.pth" => to("/there.pth"),
        "/there.pth" => part(&weights(), request.from, 1 << 30),
        "/a.pth" => to("/b.pth"),
        _ => to("/a.pth"),
    });
    succeeds(&import(&server.url("once.pth", &weights()), &folder), &folder);
    let circle = tempdir().unwrap();
    let output = import(&server.url("a.pth", &weights()), &circle);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("redirected more than 10 times"), "{said}");
}

#[test]
fn no_server_and_no_checksum_are_said() {
    let folder = tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = import(&format!("http://{address}/w.pth#sha256=0123456789"), &folder);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("no answer from the server"), "{said}");
    let said = import("http://127.0.0.1:1/w.pth", &folder);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("it must be followed by the file's SHA-256"), "{said}");
}

#[test]
fn info_lists_what_there_is() {
    let said = stdout_of(&["info", "--weights", "--recipes", "--datasets"]);
    for expected in
        ["resnet50-imagenet", "BSD-3-Clause", "0676ba61", "pspnet50-ade20k", "camvid", "downloads are kept in"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
