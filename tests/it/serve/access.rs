//! Who may use the server, and how it ends.

use std::process::Command;

use super::http::Request;
use super::served::{Served, world};
use crate::common::text;

const TOKEN: &str = "a-token-of-24-characters";

fn status(served: &Served, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let request = headers.iter().fold(Request::new(method, path), |request, (name, value)| request.header(name, value));
    request.send(served.port).status
}

#[test]
fn the_token_is_wanted_everywhere() {
    let served = Served::new(&["--token", TOKEN]);
    assert_eq!(served.url, format!("http://127.0.0.1:{}/?token={TOKEN}", served.port));
    let bearer = format!("Bearer {TOKEN}");
    for path in
        ["/", "/api/health", "/api/models", "/api/openapi.json", "/metrics", "/assets/app.js", "/api/none", "/none"]
    {
        assert_eq!(status(&served, "GET", path, &[]), 401, "{path}");
        assert_eq!(status(&served, "GET", path, &[("Authorization", "Bearer a-token-of-24-characterS")]), 401);
    }
    assert_eq!(status(&served, "POST", "/api/jobs", &[]), 401);
    for path in ["/", "/api/health", "/metrics", "/assets/app.js"] {
        assert_eq!(status(&served, "GET", path, &[("Authorization", &bearer)]), 200, "{path}");
    }
    let opened = Request::new("GET", &format!("/?token={TOKEN}")).send(served.port);
    assert_eq!(opened.status, 200);
    assert!(opened.text().contains("0;url=/\"") && !opened.text().contains(TOKEN), "{}", opened.text());
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(status(&served, "GET", "/api/models", &[("Cookie", cookie)]), 200);
    assert_eq!(status(&served, "GET", "/?token=wrong-token", &[]), 401);
}

#[test]
fn the_token_may_come_from_the_environment() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
    command.args(["serve", "--device", "flex", "--port", "0", "--run", &text(&world().path("run"))]);
    command.env("SEGTOOL_TOKEN", TOKEN);
    let served = Served::start(command);
    assert!(served.url.ends_with(TOKEN) && served.get("/api/health").status == 401);
}

#[test]
fn other_pages_and_other_names_are_refused() {
    let served = Served::new(&["--allow-host", "gpu.example.org"]);
    let here = format!("localhost:{}", served.port);
    for host in ["localhost", &here, "127.0.0.1", "gpu.example.org"] {
        assert_eq!(status(&served, "GET", "/api/health", &[("Host", host)]), 200, "{host}");
    }
    for host in ["evil.example.org", "evil.example.org:5000", "127.0.0.2", ""] {
        assert!([400, 403].contains(&status(&served, "GET", "/api/health", &[("Host", host)])), "{host}");
    }
    let own = format!("http://{here}");
    for (origin, expected) in [(own.as_str(), 400), ("http://evil.example.org", 403), ("null", 403)] {
        // 400: of an image without bytes.
        assert_eq!(status(&served, "POST", "/api/jobs", &[("Host", &here), ("Origin", origin)]), expected, "{origin}");
    }
    assert_eq!(status(&served, "POST", "/api/jobs", &[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(status(&served, "DELETE", "/api/jobs/x", &[("Sec-Fetch-Site", "cross-site")]), 403);
}

#[test]
fn every_answer_says_what_a_browser_may_do() {
    let served = Served::new(&[]);
    for (path, status) in
        [("/", 200), ("/assets/app.js", 200), ("/api/models", 200), ("/none", 404), ("/api/jobs/x", 404)]
    {
        let answer = served.get(path);
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        let cache = if path.starts_with("/api") { "no-store" } else { "no-cache" };
        assert_eq!(answer.header("cache-control"), Some(cache), "{path}");
        if status == 404 {
            assert!(answer.json()["error"].as_str().unwrap().len() > 10);
        }
    }
    assert_eq!(served.get("/label").status, 404);
    let script = served.get("/assets/app.js");
    assert!(script.header("content-type").unwrap().starts_with("text/javascript"));
}

#[test]
fn addresses_are_fetched_only_where_that_is_allowed_and_never_inside() {
    let sent = |served: &Served, url: &str| served.post(&format!("/api/jobs?url={url}"), b"");
    assert_eq!(sent(&Served::new(&[]), "http://example.org/a.png").status, 403);
    let served = Served::new(&["--allow-url"]);
    let own = format!("http://127.0.0.1:{}/api/models/run/samples/0/thumbnail.jpg", served.port);
    for url in [
        own.as_str(),
        "http://localhost/a",
        "http://[::1]/a",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
    ] {
        let answer = sent(&served, url);
        assert!(answer.status == 422 && answer.text().contains("private network"), "{url}: {}", answer.text());
    }
    for url in ["file:///etc/passwd", "ftp://example.org/a", "x", "http://me:word@example.org/"] {
        assert_eq!(sent(&served, url).status, 400, "{url}");
    }
    assert!(served.get("/api/models").json()[0]["url_allowed"].as_bool().unwrap());
}

#[test]
fn signals_end_it_in_peace() {
    for signal in ["TERM", "INT"] {
        let served = Served::new(&[]);
        let port = served.port;
        // A connection that is kept open, and one that says nothing.
        let _silent = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(served.get("/api/health").status, 200);
        assert_eq!(served.stop(signal), (Some(0), String::new()), "{signal}");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = Served::new(&[]);
    let serve = crate::common::segtool("serve").arg("--run", world().path("run")).arg("--device", "flex");
    let said = serve.arg("--port", taken.port.to_string()).fails_with(1);
    assert!(said.contains(&taken.port.to_string()) && said.contains("--port"), "{said}");
}

#[test]
fn the_interface_is_described_and_counted() {
    let served = Served::new(&[]);
    let described = served.get("/api/openapi.json").json();
    assert_eq!(
        (&described["openapi"], &described["info"]["version"]),
        (&"3.1.0".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let told = served.job("name=a.png", &world().image(3, 40, 30));
    let id = told["id"].as_str().unwrap();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.replace("{number}", "0");
        let path = if path.contains("/models/") { path.replace("{id}", "run") } else { path.replace("{id}", id) };
        for method in methods.as_object().unwrap().keys().filter(|method| *method == "get") {
            let status = Request::new(&method.to_uppercase(), &path).send(served.port).status;
            assert!(status == 200 || (path.ends_with(".tif") && status == 422), "{path}: {status}");
        }
    }
    let health = served.get("/api/health").json();
    assert_eq!((&health["status"], &health["models"], &health["label"]), (&"ok".into(), &1.into(), &false.into()));
    let metrics = served.get("/metrics").text();
    for line in [
        "segtool_requests_total{method=\"POST\",route=\"/api/jobs\",status=\"202\"} 1",
        "segtool_jobs_total{end=\"done\"} 1",
        "segtool_queue_length 0",
        "segtool_results_kept 1",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line}\n{metrics}");
    }
}
