//! Jobs: how they are watched, cancelled, queued and forgotten.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use super::http::{Request, finish};
use super::served::{Served, world};
use crate::common::wait_for;

/// An image that takes the small network seconds, in hundreds of windows.
fn large() -> Vec<u8> {
    world().image(7, 1600, 1600)
}

#[test]
fn progress_is_told_as_it_happens_and_a_job_can_be_cancelled() {
    let served = Served::new(&["--tile", "32"]);
    let sent = served.post("/api/jobs?name=large.png", &large()).json();
    let id = sent["id"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = Request::new("GET", &format!("/api/jobs/{id}/events")).bytes();
    std::io::Write::write_all(&mut stream, &request).unwrap();
    let mut text = String::new();
    let mut part = [0; 4096];
    // Until two events with progress were seen.
    while text.matches("\"progress\":{").count() < 2 {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "the events ended: {text}");
        text += &String::from_utf8_lossy(&part[..read]);
    }
    assert!(text.contains("text/event-stream") && text.contains("event: job"));
    assert_eq!(Request::new("DELETE", &format!("/api/jobs/{id}")).send(served.port).status, 204);
    let rest = finish(stream);
    assert!(rest.is_none());
    let told = served.get(&format!("/api/jobs/{id}")).json();
    assert_eq!((&told["state"], &told["result"]), (&"cancelled".into(), &serde_json::Value::Null));
    assert_eq!(served.get(&format!("/api/jobs/{id}/labels.npy")).status, 410);
    // The next one does not wait for the rest of it.
    assert_eq!(served.job("name=a.png", &world().image(1, 40, 30))["state"], "done");
    assert_eq!(Request::new("DELETE", &format!("/api/jobs/{id}")).send(served.port).status, 204);
    assert_eq!(served.get(&format!("/api/jobs/{id}")).status, 404);
}

#[test]
fn a_full_queue_is_answered_with_the_time_to_wait() {
    let served = Served::new(&["--tile", "32", "--max-queue", "2"]);
    let send = |seed: u32| served.post("/api/jobs?name=a.png", &world().image(seed, 40 + seed, 30));
    let running = served.post("/api/jobs?name=large.png", &large()).json()["id"].as_str().unwrap().to_owned();
    wait_for(|| served.get("/api/health").json()["queue"]["waiting"] == 0);
    let waiting: Vec<_> = (0..2).map(|seed| send(seed).json()).collect();
    assert_eq!((&waiting[0]["position"], &waiting[1]["position"]), (&1.into(), &2.into()));
    let full = send(3);
    assert_eq!(full.status, 503, "{}", full.text());
    assert!(full.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let full = served.post("/api/predict", &world().image(4, 40, 30));
    assert_eq!(full.status, 503);
    // A place that gets free is taken, and those behind it move up.
    let first = waiting[0]["id"].as_str().unwrap();
    assert_eq!(Request::new("DELETE", &format!("/api/jobs/{first}")).send(served.port).status, 204);
    let second = waiting[1]["id"].as_str().unwrap();
    assert_eq!(served.get(&format!("/api/jobs/{second}")).json()["position"], 1);
    assert_eq!(send(5).status, 202);
    Request::new("DELETE", &format!("/api/jobs/{running}")).send(served.port);
    assert_eq!(served.over(second)["state"], "done");
}

#[test]
fn an_image_that_takes_too_long_is_given_up() {
    let served = Served::new(&["--tile", "32", "--max-time", "300ms"]);
    let told = served.job("name=large.png", &large());
    assert_eq!(told["state"], "failed");
    assert!(told["error"].as_str().unwrap().contains("300ms"), "{told}");
    let answer = served.post("/api/predict", &large());
    assert_eq!(answer.status, 422);
}

#[test]
fn nobody_waits_for_a_program_that_has_gone() {
    let served = Served::new(&["--tile", "32"]);
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    let request = Request::new("POST", "/api/predict?name=large.png").body(&large());
    std::io::Write::write_all(&mut stream, &request.bytes()).unwrap();
    let running = |served: &Served| served.get("/metrics").text().contains("segtool_jobs_running 1");
    wait_for(|| running(&served));
    drop(stream);
    wait_for(|| !running(&served));
    assert!(served.get("/metrics").text().contains("segtool_jobs_total{end=\"cancelled\"} 1"));
}

#[test]
fn images_of_one_size_that_wait_are_computed_together() {
    let served = Served::new(&["--tile", "64"]);
    let first = served.post("/api/jobs?name=large.png", &large()).json();
    let ids: Vec<String> = (0..4)
        .map(|seed| {
            served.post("/api/jobs?name=a.png", &world().image(seed, 48, 32)).json()["id"].as_str().unwrap().into()
        })
        .collect();
    let alone = served.post("/api/predict", &world().image(0, 48, 32)).body;
    assert!(ids.iter().all(|id| served.over(id)["state"] == "done"));
    assert_eq!(served.get(&format!("/api/jobs/{}/labels.npy", ids[0])).body, alone);
    assert_eq!(served.over(first["id"].as_str().unwrap())["state"], "done");
    let metrics = served.get("/metrics").text();
    let number = |name: &str| -> u32 {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(number("segtool_batch_images_total"), 6);
    assert!(number("segtool_batches_total") <= 4, "{metrics}");
}

#[test]
fn faults_of_images_are_told_in_words() {
    let served = Served::new(&["--max-pixels", "10k"]);
    let colours = image::RgbImage::from_fn(20, 20, |x, y| image::Rgb([x as u8 * 9, y as u8 * 5, 200]));
    let mut file = std::io::Cursor::new(Vec::new());
    colours.write_to(&mut file, image::ImageFormat::Png).unwrap();
    let wrong_bands = served.post("/api/predict?name=colours.png", file.get_ref());
    assert_eq!(wrong_bands.status, 422);
    let said = wrong_bands.text();
    assert!(said.contains("colours.png") && said.contains("band") && !said.contains("memory:"), "{said}");
    // One of its bands will do.
    assert_eq!(served.post("/api/predict?bands=2", file.get_ref()).status, 200);
    assert_eq!(served.post("/api/predict?bands=4", file.get_ref()).status, 422);
    let large = served.post("/api/jobs?name=a.png", &world().image(0, 101, 100));
    assert!(large.status == 413 && large.text().contains("10000 pixels"), "{}", large.text());
    let cut = world().image(0, 60, 60);
    let cut = served.post("/api/predict?name=cut.png", &cut[..cut.len() / 2]);
    assert!(cut.status == 422 && cut.text().contains("cut.png"), "{}", cut.text());
    for (body, kind) in [(&b"%PDF-1.7"[..], "a PDF"), (b"hello", "not an image"), (b"GIF89a", "a.bin")] {
        let answer = served.post("/api/jobs?name=a.bin", body);
        assert!(answer.status == 415 && answer.text().contains(kind), "{}", answer.text());
    }
    for (query, status) in [
        ("model=none", 404),
        ("bands=x", 422),
        ("bands=1,2", 422),
        ("bands=0", 422),
        ("colour=1", 400),
        ("sample=x", 400),
        ("sample=0&url=http://h/a", 400),
        ("format=npy", 400),
    ] {
        assert_eq!(served.post(&format!("/api/jobs?{query}"), b"x").status, status, "{query}");
    }
    assert_eq!(served.post("/api/predict?format=bmp", b"x").status, 400);
}
