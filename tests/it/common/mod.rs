//! What several modules of tests need.

// The build with libtorch leaves out many of these modules (see main.rs).
#![cfg_attr(feature = "libtorch", allow(dead_code, unused_imports))]

pub(crate) mod command;
pub(crate) mod faults;
pub(crate) mod made_core;
pub(crate) mod real;
pub(crate) mod references;
pub(crate) mod tensors;
pub(crate) mod tiny;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use burn::tensor::{Device, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors};
use segtool::base::Size;
use segtool::data::Pair;
use segtool::data::synthetic::write_set;
use segtool::nn::device::DeviceChoice;
use serde_json::Value;

pub(crate) use command::{Segtool, segtool};

/// Runs the program.
pub(crate) fn output_of(arguments: &[&str]) -> Output {
    segtool(arguments[0]).args(&arguments[1..]).output()
}

/// Standard error of a run, after checking how it ended.
pub(crate) fn stderr_of(arguments: &[&str], code: i32) -> String {
    segtool(arguments[0]).args(&arguments[1..]).fails_with(code)
}

/// Standard output of a run that must succeed.
pub(crate) fn stdout_of(arguments: &[&str]) -> String {
    segtool(arguments[0]).args(&arguments[1..]).run()
}

/// Waits until something is so, two minutes at most.
pub(crate) fn wait_for(mut it_is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !it_is_so() {
        assert!(began.elapsed() < Duration::from_secs(120), "waited for two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal, such as `-TERM`.
pub(crate) fn signal(program: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &program.id().to_string()]).status().unwrap().success());
}

/// Checks that a message has all these parts.
pub(crate) fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in:\n{message}");
    }
}

/// The CPU device that tests of this build are about: libtorch where the feature is on, as the default build shows the
/// same of flex.
pub(crate) fn devices() -> Vec<(DeviceChoice, Device)> {
    let choice = if cfg!(feature = "libtorch") { DeviceChoice::Libtorch } else { DeviceChoice::Flex };
    vec![(choice, choice.open().unwrap())]
}

/// [`devices`], and Vulkan's first adapter where the feature is on and there is one.
pub(crate) fn every_device() -> Vec<(DeviceChoice, Device)> {
    let vulkan = DeviceChoice::Vulkan(0);
    let vulkan = if cfg!(feature = "vulkan") { vulkan.open().ok().map(|device| (vulkan, device)) } else { None };
    devices().into_iter().chain(vulkan).collect()
}

/// A golden file.
pub(crate) fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The tensors of a golden file.
pub(crate) fn fixture(name: &str) -> HashMap<String, TensorData> {
    read_tensors(&fixture_path(name))
}

/// The JSON of a file.
pub(crate) fn read_json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The tensors of a safetensors file.
pub(crate) fn read_tensors(path: &Path) -> HashMap<String, TensorData> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = |data: &[u8]| data.as_chunks::<4>().0.to_vec();
    file.iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            let data = match view.dtype() {
                Dtype::F32 => {
                    TensorData::new(words(view.data()).into_iter().map(f32::from_le_bytes).collect::<Vec<_>>(), shape)
                }
                Dtype::I32 => {
                    TensorData::new(words(view.data()).into_iter().map(i32::from_le_bytes).collect::<Vec<_>>(), shape)
                }
                other => panic!("{name}: {other:?}"),
            };
            (name.to_owned(), data)
        })
        .collect()
}

/// An entry of a safetensors file's metadata.
pub(crate) fn metadata(path: &Path, key: &str) -> String {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().as_ref().unwrap()[key].clone()
}

/// Largest difference, relative to the largest expected value.
pub(crate) fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let difference = found.iter().zip(expected).fold(0.0f32, |a, (f, e)| a.max((f - e).abs()));
    assert!(found.iter().all(|v| v.is_finite()));
    difference / largest.max(f32::MIN_POSITIVE)
}

/// Pseudo-random numbers in ±1.
pub(crate) fn noise(seed: u64, shape: &[usize]) -> TensorData {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    TensorData::new(values, shape.to_vec())
}

/// Values as float32.
pub(crate) fn floats(data: &TensorData) -> Vec<f32> {
    data.iter::<f32>().collect()
}

/// Writes a list of files into a folder; its path.
pub(crate) fn write_list(folder: &Path, name: &str, files: &[PathBuf]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, files.iter().map(|file| format!("{}\n", file.display())).collect::<String>()).unwrap();
    text(&path)
}

/// A .npy file as numpy writes it; its type and its shape as Python's text.
pub(crate) fn npy(version: u8, descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
    let start = if version == 1 { 10 } else { 12 };
    while (header.len() + start + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u32).to_le_bytes();
    [b"\x93NUMPY".as_slice(), &[version, 0], &length[..start - 8], header.as_bytes(), data].concat()
}

/// A few made sections of 32x32 below `folder/data`, in the lists `train_*.txt` and `val_*.txt`.
pub(crate) fn small_data(folder: &Path) -> (Vec<Pair>, Vec<Pair>) {
    let size = Size { width: 32, height: 32 };
    let data = folder.join("data");
    (write_set(&data, "train", 3, 0..9, size).unwrap(), write_set(&data, "val", 3, 9..12, size).unwrap())
}

/// A recipe file for [`small_data`] that trains in a second.
pub(crate) fn small_recipe(folder: &Path, epochs: usize) -> String {
    let path = folder.join("small.toml");
    let text = format!(
        r#"
name = "small"
dataset = "demo"
[network]
architecture = "unet-seeps"
width = 4
depth = 2
[training]
epochs = {epochs}
batch_size = 2
learning_rate = 0.01
optimizer = {{ kind = "adam" }}
schedule = {{ kind = "poly", power = 0.9 }}
loss = [{{ kind = "cross-entropy" }}, {{ kind = "dice" }}]
augment = ["flip-horizontal", "flip-vertical", "rotate180"]
"#
    );
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// A run of [`small_recipe`], trained once for all tests that only read it.
pub(crate) fn small_run() -> &'static Path {
    static RUN: std::sync::LazyLock<(tempfile::TempDir, PathBuf)> = std::sync::LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        let run = folder.path().join("run");
        let train = segtool("train").arg("--recipe", small_recipe(folder.path(), 1)).arg("--device", "flex");
        let train = train.arg("--train-list", folder.path().join("data/train_images.txt"));
        train.arg("--label-list", folder.path().join("data/train_labels.txt")).arg("--output-path", &run).run();
        (folder, run)
    });
    &RUN.1
}

/// The files of a folder and of those below it, by their names from there.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        for path in std::fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(text(path.strip_prefix(folder).unwrap()), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Copies the files of a folder and of those below it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for (name, bytes) in files_below(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Path as text.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
