//! Label mode over HTTP: strokes on disk before they are answered, conflicts, a server that is killed, and runs that predict
//! what was shown.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Request};
use super::served::{Served, world};
use crate::common::made_core::{COLORS, NAMES, RECTANGLES, core};
use crate::common::{segtool, stdout_of, text, wait_for};

/// A made core that is labelled.
struct Desk {
    folder: TempDir,
    served: Served,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cores")).unwrap();
        core().save(folder.path().join("cores/a.png")).unwrap();
        let served = serve(&folder.path().join("cores"));
        let desk = Self { folder, served };
        let revision = desk.overview()["classes_revision"].clone();
        let class = |value: usize| {
            let [r, g, b] = COLORS[value];
            json!({ "value": value, "name": NAMES[value], "color": format!("#{r:02x}{g:02x}{b:02x}") })
        };
        let classes: Vec<Value> = (1..5).map(class).collect();
        let body = json!({ "revision": revision, "classes": classes });
        assert_eq!(desk.put("/api/label/classes", &body).status, 200);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn overview(&self) -> Value {
        self.served.get("/api/label").json()
    }

    fn put(&self, path: &str, body: &Value) -> Answer {
        Request::new("PUT", path).body(body.to_string().as_bytes()).send(self.served.port)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.served.post(path, body.to_string().as_bytes())
    }

    fn revision(&self) -> u64 {
        self.overview()["images"][0]["revision"].as_u64().unwrap()
    }

    fn patch(&self, revision: u64, tab: &str, [x, y, width, height]: [usize; 4], value: u8) -> Answer {
        let values = STANDARD.encode(vec![value; width * height]);
        let patch = json!({ "x": x, "y": y, "width": width, "height": height, "values": values });
        let body = json!({ "revision": revision, "tab": tab, "patches": [patch] });
        self.post("/api/label/images/0/patches", &body)
    }

    fn paint(&self) {
        for ([left, top, right, bottom], value) in RECTANGLES {
            let rect = [left, top, right - left + 1, bottom - top + 1].map(|number| number as usize);
            assert_eq!(self.patch(self.revision(), "test", rect, value).status, 200);
        }
    }

    fn labels(&self) -> Vec<u8> {
        self.served.get("/api/label/images/0/labels.bin").body
    }

    /// Trains, and waits for the model.
    fn train(&self) -> u64 {
        let answer = self.post("/api/label/train", &json!({ "image": 0, "view": [0, 0, 120, 40] }));
        assert_eq!(answer.status, 202, "{}", answer.text());
        let number = answer.json()["number"].as_u64().unwrap();
        wait_for(|| self.overview()["model"]["number"].as_u64() == Some(number));
        number
    }
}

fn serve(images: &std::path::Path) -> Served {
    Served::of(&world().path("run"), &["--label", &text(images)])
}

#[test]
fn what_was_painted_survives_the_end_of_the_server() {
    let mut desk = Desk::new();
    let first = desk.revision();
    let answer = desk.patch(first, "one", [3, 4, 5, 2], 2);
    assert_eq!((answer.status, answer.json()), (200, json!({ "revision": first + 1 })));
    assert_eq!(desk.patch(first, "two", [8, 4, 5, 2], 1).json()["revision"], first + 2);
    let answer = desk.patch(first, "two", [6, 4, 3, 1], 3);
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(answer.json()["conflicts"], json!([{ "x": 6, "y": 4, "width": 2, "height": 1 }]));
    assert_eq!(answer.json()["revision"], first + 2);
    assert!(answer.json()["error"].as_str().unwrap().contains("another tab"));
    let labels = desk.labels();
    assert_eq!(labels.iter().filter(|value| **value != 0).count(), 20);
    // Killed, not asked to stop.
    desk.served.kill();
    desk.served = serve(&desk.path("cores"));
    let answer = desk.served.get("/api/label/images/0/labels.bin");
    assert_eq!(answer.body, labels);
    let revision: u64 = answer.header("x-revision").unwrap().parse().unwrap();
    assert!(revision > first + 2);
    assert_eq!(desk.overview()["classes"][3]["name"], NAMES[4]);
    // A page that was open all the time goes on where nothing is lost by it.
    assert_eq!(desk.patch(first + 2, "one", [20, 4, 2, 2], 2).status, 200);
    assert_eq!(desk.patch(first + 2, "one", [3, 4, 1, 1], 4).status, 409);
    assert_eq!(desk.patch(revision + 1, "one", [3, 4, 1, 1], 4).status, 200);
}

#[test]
fn every_stroke_that_was_answered_is_there_after_a_kill_in_the_midst_of_them() {
    let mut desk = Desk::new();
    let (revision, port, path) = (desk.revision(), desk.served.port, "/api/label/images/0/patches");
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let stroke = |number: usize| {
        let values = STANDARD.encode([1 + (number % 4) as u8; 3]);
        let [x, y] = [number % 80 * 3, number / 80];
        let patch = json!({ "x": x, "y": y, "width": 3, "height": 1, "values": values });
        json!({ "revision": revision, "tab": "t", "patches": [patch] }).to_string()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..3200 {
                let request = Request::new("POST", path).body(stroke(number).as_bytes()).bytes();
                match TcpStream::connect(("127.0.0.1", port)).ok().and_then(|mut stream| {
                    stream.write_all(&request).ok()?;
                    super::http::finish(stream)
                }) {
                    Some(answer) if answer.status == 200 => answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                    _ => break,
                };
            }
        });
        wait_for(|| answered.load(std::sync::atomic::Ordering::SeqCst) > 60);
        desk.served.kill();
    });
    let answered = answered.load(std::sync::atomic::Ordering::SeqCst);
    desk.served = serve(&desk.path("cores"));
    let labels = desk.labels();
    for number in 0..answered {
        let place = number / 80 * 240 + number % 80 * 3;
        assert_eq!(labels[place..place + 3], [1 + (number % 4) as u8; 3], "stroke {number} of {answered}");
    }
    assert!(labels.iter().filter(|value| **value != 0).count() <= 3 * (answered + 1));
}

#[test]
fn the_saved_run_predicts_what_the_page_shows() {
    let desk = Desk::new();
    assert_eq!(desk.served.get("/api/label/images/0/prediction.bin").status, 404);
    let saved = desk.post("/api/label/save", &json!({}));
    assert_eq!((saved.status, &saved.json()["run"]), (200, &json!(null)), "labels are saved without a model, too");
    desk.paint();
    let number = desk.train();
    let answer = desk.served.get(&format!("/api/label/images/0/prediction.bin?model={number}"));
    assert_eq!((answer.status, answer.header("x-model")), (200, Some("1")));
    assert_eq!(answer.body.len(), 2 * 9600);
    let part = desk.served.get("/api/label/images/0/prediction.bin?x=30&y=10&width=40&height=5").body;
    assert_eq!(part[..40], answer.body[10 * 240 + 30..][..40]);
    assert_eq!(part[200..240], answer.body[9600 + 10 * 240 + 30..][..40]);
    let saved = desk.post("/api/label/save", &json!({})).json();
    assert_eq!(saved["run"], text(&desk.path("cores-labels/run")));
    // As it is told.
    let mut words = saved["command"].as_str().unwrap().split(' ').skip(1);
    stdout_of(&words.by_ref().collect::<Vec<_>>());
    let predicted: ndarray::Array2<u8> = ndarray_npy::read_npy(desk.path("cores-labels/predicted/a.npy")).unwrap();
    assert!(predicted.into_iter().eq(answer.body[..9600].iter().copied()));
    let mut score = Value::Null;
    wait_for(|| {
        score = desk.served.get("/api/label/score?model=1").json();
        score["state"] == "done"
    });
    assert!(score["by_region"]["mean_f1"].as_f64().unwrap() > 0.5, "{score}");
    assert_eq!(score["by_region"]["classes"][0]["regions"], 2);
    let places = desk.served.get("/api/label/images/0/suggestions?count=3").json();
    assert_eq!(places.as_array().unwrap().len(), 3);
}

#[test]
fn events_tell_every_page_and_end_with_the_server() {
    let desk = Desk::new();
    let mut stream = TcpStream::connect(("127.0.0.1", desk.served.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&Request::new("GET", "/api/label/events").bytes()).unwrap();
    let mut said = String::new();
    let mut read_until = |what: &str| {
        let began = Instant::now();
        while !said.contains(what) {
            let mut part = [0; 4096];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0 && began.elapsed() < Duration::from_secs(60), "no {what} in {said}");
            said += &String::from_utf8_lossy(&part[..read]);
        }
    };
    read_until("\r\n\r\n");
    desk.paint();
    read_until("event: labels");
    read_until(r#""tab":"test""#);
    desk.train();
    for what in
        ["event: training", r#""state":"features""#, r#""state":"fitting""#, r#""state":"ready""#, "event: score"]
    {
        read_until(what);
    }
    let revision = desk.overview()["classes_revision"].clone();
    let classes = desk.overview()["classes"].clone();
    let fewer: Vec<Value> = classes.as_array().unwrap()[..3].to_vec();
    let answer = desk.put("/api/label/classes", &json!({ "revision": revision, "classes": fewer }));
    assert_eq!((answer.status, &answer.json()["classes"]), (409, &classes));
    let body = json!({ "revision": revision, "classes": fewer, "drop_pixels": true });
    assert_eq!(desk.put("/api/label/classes", &body).status, 200);
    read_until("event: classes");
    let began = Instant::now();
    assert_eq!(desk.served.stop("TERM").0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn images_are_shown_and_predictions_of_a_run_are_offered() {
    let desk = Desk::new();
    for name in ["image.jpg", "thumbnail.jpg"] {
        let answer = desk.served.get(&format!("/api/label/images/0/{name}"));
        assert_eq!(answer.header("content-type"), Some("image/jpeg"));
        let shown = image::load_from_memory(&answer.body).unwrap();
        assert_eq!((shown.width(), shown.height()), (240, 40));
    }
    let overview = desk.overview();
    let run = overview["models"][0].as_str().unwrap();
    // The run is of grey images, and this one has colours.
    let refused = desk.served.get(&format!("/api/label/images/0/filled.bin?run={run}"));
    assert!(refused.status == 422 && refused.text().contains("has 3 bands"), "{}", refused.text());
    assert_eq!(desk.served.get("/api/label/images/0/filled.bin?run=none").status, 404);
}

#[test]
fn a_prediction_of_a_run_becomes_labels_of_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let (images, out) = (folder.path().join("images"), folder.path().join("out"));
    fs::create_dir(&images).unwrap();
    fs::write(images.join("a.png"), world().image(1, 60, 40)).unwrap();
    let served = serve(&images);
    let run = served.get("/api/label").json()["models"][0].as_str().unwrap().to_owned();
    let answer = served.get(&format!("/api/label/images/0/filled.bin?run={run}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let predict = segtool("predict").arg("--run", world().path("run")).arg("--device", "flex");
    predict.arg("--output-path", &out).file(images.join("a.png")).run();
    let predicted: ndarray::Array2<u8> = ndarray_npy::read_npy(out.join("a.npy")).unwrap();
    // Of the run's values 0 to 3, classes that are painted have 1 and 2.
    let expected: Vec<u8> = predicted.into_iter().map(|value| if value < 3 { value } else { 0 }).collect();
    assert!(answer.body == expected);
    let labels = served.get("/api/label/images/0/labels.bin").body;
    assert!(labels.iter().all(|value| *value == 0), "nothing is changed by it");
}

#[test]
fn hostile_requests_are_refused_with_a_sentence() {
    let desk = Desk::new();
    let values = STANDARD.encode([1; 4]);
    let patch = |x: Value, width: Value, values: &str| json!({ "revision": 0, "tab": "t", "patches": [{ "x": x, "y": 0, "width": width, "height": 2, "values": values }] });
    let path = "/api/label/images/0/patches";
    for (path, body, status) in [
        (path, patch(json!(239), json!(2), &values), 422),
        (path, patch(json!(-1), json!(2), &values), 400),
        (path, patch(json!(1.5), json!(2), &values), 400),
        (path, patch(json!(u64::MAX), json!(2), &values), 422),
        (path, patch(json!(0), json!(u64::MAX), &values), 422),
        (path, patch(json!(0), json!(0), ""), 422),
        (path, patch(json!(0), json!(3), &values), 422),
        (path, patch(json!(0), json!(2), "!!!!"), 422),
        (path, patch(json!(0), json!(2), "AQEBAQ"), 422),
        (path, patch(json!(0), json!(2), &STANDARD.encode([77; 4])), 422),
        (path, json!([]), 400),
        (path, json!({ "revision": 0, "tab": "t".repeat(200), "patches": [] }), 422),
        (path, json!({ "revision": 0, "tab": "t", "patches": vec![json!({}); 2] }), 400),
        ("/api/label/images/1/patches", json!({ "revision": 0, "tab": "t", "patches": [] }), 404),
        ("/api/label/images/-1/patches", json!({}), 404),
        ("/api/label/images/99999999999999999999/patches", json!({}), 404),
        ("/api/label/images/..%2f..%2fetc/patches", json!({}), 404),
        ("/api/label/train", json!({ "image": 0, "view": [0, 0, 9999, 1] }), 422),
        ("/api/label/train", json!({ "image": 7, "view": [0, 0, 1, 1] }), 422),
        ("/api/label/train", json!({ "view": "all" }), 400),
        ("/api/label/save", json!({ "model": 99 }), 404),
        ("/api/label/save", json!({ "folder": "/etc" }), 400),
    ] {
        let answer = desk.post(path, &body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert!(answer.json()["error"].as_str().is_some_and(|text| text.len() > 10), "{}", answer.text());
    }
    for path in [
        "prediction.bin?x=1",
        "prediction.bin?x=-1&y=0&width=1&height=1",
        "prediction.bin?model=x",
        "suggestions?count=-1",
        "filled.bin",
    ] {
        let answer = desk.served.get(&format!("/api/label/images/0/{path}"));
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.text());
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    let classes = json!({ "revision": 0, "classes": [{ "value": 1, "name": "a", "color": "red" }] });
    assert_eq!(desk.put("/api/label/classes", &classes).status, 400);
    assert!(desk.labels().iter().all(|value| *value == 0) && !desk.path("cores-labels/a.png").exists());
    let second = Command::new(env!("CARGO_BIN_EXE_segtool"))
        .args(["serve", "--port", "0", "--label", &text(&desk.path("cores"))])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("is being labelled by process"));
}
