//! Images from addresses that clients name, where the operator allows it.
//!
//! A client must not reach through the server what it cannot reach itself: every address that a name stands for is checked
//! before it is connected to, and it is the checked address that is connected to. That holds for each redirect, too.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::error::{ApiError, ApiResult};

/// Longest address.
const LONGEST: usize = 2048;
/// Redirects that are followed.
const REDIRECTS: u32 = 5;
/// Longest time of it all.
const TIME: Duration = Duration::from_secs(60);

/// Fetches an image of at most `limit` bytes. Blocks.
pub(super) fn fetch(url: &str, limit: u64) -> ApiResult<Vec<u8>> {
    fetch_from(url, limit, is_public)
}

fn fetch_from(url: &str, limit: u64, allowed: fn(IpAddr) -> bool) -> ApiResult<Vec<u8>> {
    check(url)?;
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(REDIRECTS)
        .max_redirects_will_error(true)
        .timeout_global(Some(TIME))
        .http_status_as_error(false)
        .build();
    let agent =
        Agent::with_parts(config, DefaultConnector::default(), Checked { allowed, inner: DefaultResolver::default() });
    let mut answer = agent.get(url).call().map_err(|fault| unreachable_text(&fault))?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(refused(format!("the server of that address answers {status}; give the address of an image")));
    }
    let too_large = || {
        let text = format!("the image at that address is larger than {limit} bytes, the most that is taken here");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let told = answer.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let read = answer.body_mut().as_reader().take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|fault| refused(format!("the image could not be fetched: {fault}")))?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// What the image at an address is called.
pub(super) fn name_of(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let after_host = path.splitn(4, '/').nth(3).unwrap_or_default();
    let last = after_host.rsplit('/').next().unwrap_or_default();
    if last.is_empty() { "image".into() } else { last.into() }
}

/// Says what is wrong with an address, before anybody is asked about it.
fn check(url: &str) -> ApiResult<()> {
    let expected = "give the http or https address of an image";
    if url.len() > LONGEST {
        return Err(ApiError::bad_request(format!("the address is longer than {LONGEST} characters; {expected}")));
    }
    let uri: Uri = url.parse().map_err(|_| ApiError::bad_request(format!("that is no address; {expected}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(ApiError::bad_request(format!("only http and https addresses are fetched; {expected}")));
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        let text = format!("an address with a user name or without a host is not fetched; {expected}");
        return Err(ApiError::bad_request(text));
    }
    Ok(())
}

fn refused(text: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text)
}

fn unreachable_text(fault: &Error) -> ApiError {
    refused(match fault {
        Error::Io(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            "that address leads into a private network or to this machine, from which nothing is fetched; upload the image \
             instead"
                .into()
        }
        Error::HostNotFound => "the host of that address is not known; check its spelling".into(),
        Error::TooManyRedirects => format!("that address redirects more than {REDIRECTS} times; give the image's own"),
        Error::Timeout(_) => format!("the image did not arrive within {} seconds; upload it instead", TIME.as_secs()),
        other => format!("the image could not be fetched: {other}"),
    })
}

/// Finds addresses, and refuses a name if any of them is not allowed.
#[derive(Debug)]
struct Checked {
    allowed: fn(IpAddr) -> bool,
    inner: DefaultResolver,
}

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        if found.iter().all(|address| (self.allowed)(address.ip())) {
            return Ok(found);
        }
        Err(Error::Io(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "an address that is not public")))
    }
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network; shared by providers; protocols; relays; measurements; reserved, broadcast among them.
        (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) | (240.., ..) => true,
        _ => address.is_documentation(),
    };
    !(special || address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast())
}

/// Global unicast without what stands for something else: IPv4 addresses (6to4, Teredo), examples, protocols.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_special = match first {
        0x2001 => second < 0x0200 || second == 0x0db8,
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    (0x2000..=0x3fff).contains(&first) && !is_special
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_fetched_from() {
        let inside = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.9.9.9 169.254.169.254 \
                         172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 \
                         203.0.113.9 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 \
                         ::ffff:8.8.8.8 ::7f00:1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: \
                         3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1";
        let outside = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.20.0.1 \
                         223.255.255.255 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1";
        let all = [(inside, false), (outside, true)];
        for (address, expected) in
            all.iter().flat_map(|(all, expected)| all.split(' ').map(move |one| (one, *expected)))
        {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn addresses_that_lead_inside_are_refused_however_they_are_written() {
        for url in [
            "http://127.0.0.1/a.png",
            "http://localhost/a.png",
            "http://[::1]/a.png",
            "http://[::ffff:127.0.0.1]/a",
            "http://169.254.169.254/latest/meta-data/",
            "http://0/",
            "http://2130706433/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://192.168.0.1:8080/",
            "https://10.0.0.1/",
        ] {
            let fault = fetch(url, 100).unwrap_err();
            assert!(fault.status == StatusCode::UNPROCESSABLE_ENTITY, "{url}: {}", fault.text());
        }
        for url in ["ftp://example.org/a", "file:///etc/passwd", "a.png", "", "http://me@example.org/", "gopher://x"] {
            assert_eq!(fetch(url, 100).unwrap_err().status, StatusCode::BAD_REQUEST, "{url}");
        }
        assert_eq!(fetch(&format!("http://h/{}", "x".repeat(3000)), 9).unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    /// Answers requests, one after another, with these texts. Returns its address.
    fn answering(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    /// Loopback, but for one address of it.
    fn one(address: IpAddr) -> bool {
        address == IpAddr::from([127, 0, 0, 1])
    }

    #[test]
    fn redirects_are_checked_and_sizes_are_limited() {
        let image = || "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nimage".to_owned();
        let to = |url: &str| {
            format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        };
        let there = answering(vec![image()]);
        let first = answering(vec![to(&format!("http://{there}/b.png"))]);
        assert_eq!(fetch_from(&format!("http://{first}/a.png"), 5, one).unwrap(), b"image");
        let inside = answering(vec![to("http://127.0.0.2:9/secret")]);
        let fault = fetch_from(&format!("http://{inside}/"), 5, one).unwrap_err();
        assert!(fault.text().contains("private network"), "{}", fault.text());
        let other = answering(vec![to("file:///etc/passwd")]);
        assert!(fetch_from(&format!("http://{other}/"), 5, one).is_err());
        let large = answering(vec![image()]);
        let fault = fetch_from(&format!("http://{large}/"), 4, one).unwrap_err();
        assert_eq!(fault.status, StatusCode::PAYLOAD_TOO_LARGE);
        let endless = answering(vec![format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(9))]);
        assert_eq!(
            fetch_from(&format!("http://{endless}/"), 8, one).unwrap_err().status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }

    #[test]
    fn names_come_from_addresses() {
        for (url, name) in [("https://h/a/b.tif?x=/y", "b.tif"), ("http://h", "image"), ("http://h/a/", "image")] {
            assert_eq!(name_of(url), name);
        }
    }
}
