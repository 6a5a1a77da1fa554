//! A thousand malformed requests: each is answered with a 4xx, or not at all where it is no request, and the server lives.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::http::{Answer, Request, finish, send};
use super::served::{Served, world};

/// Longest time until a request that is sent at once is answered.
const PROMPT: Duration = Duration::from_secs(5);

/// A PNG of a few bytes whose header claims a size.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    file.extend(width.to_be_bytes());
    file.extend(height.to_be_bytes());
    file.extend([8, 2, 0, 0, 0]);
    let mut checksum = flate2::Crc::new();
    checksum.update(&file[12..]);
    file.extend(checksum.sum().to_be_bytes());
    file.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    file
}

/// A TIFF whose directory claims a size.
fn tiff_bomb(side: u32) -> Vec<u8> {
    let entries: [(u16, u16, u32); 9] = [
        (256, 4, side),
        (257, 4, side),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, side),
        (279, 4, 10),
    ];
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((entries.len() as u16).to_le_bytes());
    for (code, kind, value) in entries {
        file.extend(code.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 40]);
    file
}

/// Requests that are wrong in one of many ways.
fn malformed(rng: &mut ChaCha8Rng, image: &[u8], number: usize) -> Vec<u8> {
    let jobs = || Request::new("POST", "/api/jobs?model=run&name=a.png");
    let mut random = |length: usize| -> Vec<u8> { (0..length).map(|_| rng.random()).collect() };
    match number % 20 {
        0 => jobs().body(&random(300)).bytes(),
        1 => jobs().body(&[&image[..20], &random(200)].concat()).bytes(),
        2 => jobs().body(&bomb(60_000 + number as u32, 60_000)).bytes(),
        3 => jobs().body(&tiff_bomb(100_000 + number as u32)).bytes(),
        4 => jobs().header("Content-Type", "application/json").body(b"{\"image\": 1}").bytes(),
        5 => jobs().header("Content-Type", "multipart/form-data; boundary=x").body(b"--x\r\n").bytes(),
        6 => jobs().header("Content-Encoding", "gzip").body(&random(100)).bytes(),
        7 => Request::new("GET", &format!("/assets/{}etc/passwd", "../".repeat(1 + number % 9))).bytes(),
        8 => Request::new("GET", &format!("/api/jobs/..%2f..%2f{number}/labels.npy")).bytes(),
        9 => {
            Request::new("GET", &format!("/api/models/run/samples/{}/thumbnail.jpg", u64::MAX - number as u64)).bytes()
        }
        10 => Request::new("GET", "/").header("X-Long", &"x".repeat(70_000 + number)).bytes(),
        11 => {
            let many = (0..200).fold(Request::new("GET", "/"), |request, i| request.header(&format!("X-{i}"), "x"));
            many.bytes()
        }
        12 => Request::new("GET", &format!("/{}", "a".repeat(100_000))).bytes(),
        13 => Request::new("POST", &format!("/api/jobs?model={}", "%ff".repeat(number % 50 + 1))).body(image).bytes(),
        14 => Request::new("POST", "/api/jobs?sample=-1").bytes(),
        15 => jobs().bytes(),
        16 => Request::new(["PUT", "PATCH", "TRACE", "BREW"][number / 20 % 4], "/api/jobs").body(image).bytes(),
        17 => Request::new("GET", "/api/health").header("Host", "evil.example.org").bytes(),
        18 => [&b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n"[..], &random(50)].concat(),
        _ => [&random(8)[..], b" \0 nonsense\r\n\r\n"].concat(),
    }
}

fn assert_refused(answer: Option<Answer>, number: usize) {
    // What is no HTTP may be answered by closing the connection.
    let Some(answer) = answer else {
        assert!(number % 20 >= 18 || [10, 12].contains(&(number % 20)), "{number}: no answer");
        return;
    };
    assert!((400..500).contains(&answer.status), "{number}: {} {}", answer.status, answer.text());
    assert!(!answer.text().contains("root:"), "{number}");
    let by_us = answer.header("content-type").is_some_and(|kind| kind == "application/json");
    if by_us {
        assert!(answer.json()["error"].as_str().unwrap().len() > 10, "{number}");
    }
}

#[test]
fn a_thousand_malformed_requests_are_refused() {
    let mut served = Served::new(&["--max-size", "1MiB", "--max-pixels", "1M"]);
    let image = world().image(1, 40, 30);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    #[cfg(target_os = "linux")]
    let before = served.memory();
    for number in 0..1000 {
        let bytes = malformed(&mut rng, &image, number);
        let began = Instant::now();
        assert_refused(send(served.port, &bytes), number);
        assert!(began.elapsed() < PROMPT, "{number}: {:?}", began.elapsed());
        assert!(served.is_alive(), "{number}");
    }
    #[cfg(target_os = "linux")]
    assert!(served.memory() < before + (200 << 20), "{before} bytes became {}", served.memory());
    assert_eq!(served.job("name=a.png", &image)["state"], "done");
}

#[test]
fn uploads_that_are_cut_or_too_large_leave_nothing() {
    let served = Served::new(&["--max-size", "1MiB"]);
    let image = world().image(1, 40, 30);
    for length in [0, 1, 100, image.len() - 1] {
        let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
        let head = Request::new("POST", "/api/jobs").header("Content-Length", &image.len().to_string());
        let head = String::from_utf8(head.bytes()).unwrap().replace("Content-Length: 0\r\n", "");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&image[..length]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        if let Some(answer) = finish(stream) {
            assert_eq!(answer.status, 400, "{length}");
        }
    }
    let too_large = served.post("/api/jobs", &vec![7; (1 << 20) + 1]);
    assert_eq!(too_large.status, 413);
    // The same without saying how much comes.
    let part = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
    let chunks =
        [b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), part.repeat(20)];
    assert_eq!(send(served.port, &chunks.concat()).map(|answer| answer.status), Some(413));
    crate::common::wait_for(|| served.get("/metrics").text().contains("segtool_upload_bytes 0\n"));
}

/// What drips does not hold a place for ever. The limits are seconds, so both are waited for at once.
#[test]
fn slow_requests_are_given_up() {
    let served = Served::new(&[]);
    let port = served.port;
    let slow_body = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx").unwrap();
        finish(stream).map(|answer| answer.status)
    });
    let slow_head = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let began = Instant::now();
        let head = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
        for byte in head {
            if stream.write_all(&[*byte]).is_err() || began.elapsed() > Duration::from_secs(40) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        (began.elapsed(), finish(stream).map(|answer| answer.status))
    });
    assert_eq!(served.get("/api/health").status, 200);
    assert_eq!(slow_body.join().unwrap(), Some(408));
    let (time, status) = slow_head.join().unwrap();
    assert!(time < Duration::from_secs(30) && status.is_none_or(|status| status == 408), "{time:?} {status:?}");
    assert_eq!(served.get("/api/health").status, 200);
}
