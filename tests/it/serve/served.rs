//! A server with a small network, and one with a larger one that takes its time.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use image::{GrayImage, Luma};

use super::http::{Answer, Request};
use crate::common::{segtool, small_data, small_recipe, text, wait_for};

/// A run with its images, made once for all tests.
pub(super) struct World {
    folder: tempfile::TempDir,
}

pub(super) fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(World::new);
    &WORLD
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        small_data(world.folder.path());
        let recipe = small_recipe(world.folder.path(), 1);
        let list = |name: &str| world.path(&format!("data/{name}.txt"));
        let train = segtool("train").arg("--recipe", &recipe).arg("--device", "flex");
        let train = train.arg("--train-list", list("train_images")).arg("--label-list", list("train_labels"));
        let train = train.arg("--val-list", list("val_images")).arg("--val-label-list", list("val_labels"));
        train.arg("--output-path", world.path("run")).run();
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bytes of a PNG.
    pub(super) fn image(&self, seed: u32, width: u32, height: u32) -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        let value = |x: u32, y: u32| Luma([((x * 7 + y * 13 + x * y / 9 + seed * 29) % 251) as u8]);
        GrayImage::from_fn(width, height, value).write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    }
}

/// A running server.
pub(super) struct Served {
    program: Child,
    pub(super) port: u16,
    /// The first line that it printed.
    pub(super) url: String,
}

impl Served {
    /// With the small run.
    pub(super) fn new(more: &[&str]) -> Self {
        Self::of(&world().path("run"), more)
    }

    pub(super) fn of(run: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
        command.args(["serve", "--device", "flex", "--port", "0", "--run", &text(run)]).args(more);
        command.env_remove("SEGTOOL_TOKEN");
        Self::start(command)
    }

    pub(super) fn start(mut command: Command) -> Self {
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let port = url.split(':').nth(2).and_then(|rest| rest.split('/').next()?.parse().ok());
        Self { program, port: port.unwrap_or_else(|| panic!("no address: {url}")), url }
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        Request::new("GET", path).send(self.port)
    }

    pub(super) fn post(&self, path: &str, body: &[u8]) -> Answer {
        Request::new("POST", path).body(body).send(self.port)
    }

    /// Sends an image to be predicted, and waits until it is over.
    pub(super) fn job(&self, query: &str, body: &[u8]) -> serde_json::Value {
        let answer = self.post(&format!("/api/jobs?{query}"), body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        self.over(answer.json()["id"].as_str().unwrap())
    }

    /// A job once it is over.
    pub(super) fn over(&self, id: &str) -> serde_json::Value {
        let mut told = serde_json::Value::Null;
        wait_for(|| {
            told = self.get(&format!("/api/jobs/{id}")).json();
            !["queued", "running"].contains(&told["state"].as_str().unwrap())
        });
        told
    }

    /// Ends it without asking.
    pub(super) fn kill(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.program.try_wait().unwrap().is_none()
    }

    /// Sends a signal; the exit code, and what was printed after the address.
    pub(super) fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.program.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), id]).status().unwrap().success());
        let began = Instant::now();
        while self.program.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut rest = String::new();
        self.program.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        (self.program.wait().unwrap().code(), rest)
    }

    /// Resident bytes.
    #[cfg(target_os = "linux")]
    pub(super) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
