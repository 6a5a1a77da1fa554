//! `segtool bench` in several processes: a line for each number of them.

use std::process::{Command, Stdio};

use segtool::bench::{Mode, ScalingPoint};

use super::free_port;
use crate::common::{assert_says, segtool, stdout_of};

const UNET: &[&str] = &["bench", "--recipe", "unet-seeps", "--width", "2", "--size", "16", "--steps", "3"];
/// Has batch norms, whose statistics are exchanged with so few images.
const PSPNET: &[&str] =
    &["bench", "--recipe", "pspnet50-torchvision", "--width", "2", "--size", "17", "--batch", "2", "--steps", "2"];

fn points(arguments: &[&[&str]]) -> Vec<ScalingPoint> {
    serde_json::from_str(&stdout_of(&arguments.concat())).unwrap()
}

/// The sizes of all gradients in bytes.
fn gradients(arguments: &[&str]) -> u64 {
    let of = ["info", "--recipe", arguments[2], "--width", "2", "--json"];
    let report: serde_json::Value = serde_json::from_str(&stdout_of(&of)).unwrap();
    4 * report["parameters"].as_u64().unwrap()
}

#[test]
fn a_training_step_is_measured_in_one_process_and_in_two() {
    // Builds without libtorch have no processes, so that flex is tried here, too.
    for device in ["flex", "libtorch"] {
        let more = ["--mode", "train", "--device", device, "--processes", "2", "--json"];
        for arguments in [UNET, PSPNET] {
            let all = points(&[arguments, &more]);
            assert_eq!(all.iter().map(|point| point.processes).collect::<Vec<_>>(), [1, 2]);
            let [one, two] = &all[..] else { unreachable!() };
            assert_eq!((one.efficiency, one.collectives, one.transfer, one.bytes), (Some(1.0), Some(0.0), 0.0, 0));
            assert_eq!((&one.library, two.library.as_deref()), (&None, Some("gloo")));
            assert!(one.mode == Mode::Train && one.device == device && two.device == device);
            let rate = 2.0 * two.batch as f64 / two.seconds;
            assert!((two.images_per_second / rate - 1.0).abs() < 1e-9, "{two:?}");
            let efficiency = two.images_per_second / (2.0 * one.images_per_second);
            assert!((two.efficiency.unwrap() - efficiency).abs() < 1e-9, "{two:?}");
            assert!(two.collectives > Some(0.0) && two.collectives < Some(1.0), "{two:?}");
            assert!(two.transfer > 0.0, "{two:?}");
            // All gradients, and what losses and statistics need.
            assert!(two.bytes > gradients(arguments), "{two:?}");
        }
        let synchronised = |when: &str| points(&[PSPNET, &more, &["--sync-batch-norm", when]])[1].bytes;
        let (on, off) = (synchronised("on"), synchronised("off"));
        assert!(on > off && off < gradients(PSPNET) + 100, "{on} and {off}");
    }
}

#[test]
fn the_table_has_a_line_for_each_number_of_processes() {
    let said = stdout_of(&[UNET, &["--processes", "3", "--device", "libtorch", "--batch", "2"]].concat());
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("segtool-unet-seeps-infer-libtorch-float32 s16, 2 images a process, "), "{said}");
    assert_eq!(lines.len(), 5, "{said}");
    for (line, (processes, batch)) in lines[2..].iter().zip([("1", "2"), ("2", "4"), ("3", "6")]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[0], words[1]), (processes, batch), "{said}");
        // Predictions exchange nothing.
        assert_eq!(words[6..], ["0.0", "%", "0.0", "%", "0.0", "KiB"], "{said}");
    }
}

#[test]
fn the_processes_of_a_launcher_are_measured() {
    let port = free_port();
    let process = |rank: usize, batch: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
        command
            .args(UNET)
            .args(["--mode", "train", "--device", "flex", "--batch", batch])
            .envs([("RANK", rank.to_string()), ("WORLD_SIZE", "2".to_owned())])
            .envs([("LOCAL_RANK", rank.to_string()), ("LOCAL_WORLD_SIZE", "2".to_owned())])
            .envs([("MASTER_ADDR", "127.0.0.1".to_owned()), ("MASTER_PORT", port.to_string())])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let both = [process(0, "2"), process(1, "2")].map(|child| child.wait_with_output().unwrap());
    let said = both.each_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(both.iter().all(|output| output.status.success()), "{both:?}");
    let last = said[0].lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    // One process was not measured.
    assert_eq!((last[0], last[1], last[4]), ("2", "4", "-"), "{said:?}");
    assert_eq!(said[1], "");
    let both = [process(0, "2"), process(1, "3")].map(|child| child.wait_with_output().unwrap());
    for output in &both {
        assert_eq!(output.status.code(), Some(1));
        assert_says(&String::from_utf8_lossy(&output.stderr), &["another batch", "'3' there, '2' in process 0"]);
    }
}

#[test]
fn a_process_that_cannot_be_measured_ends_the_table() {
    let bench = segtool("bench").args(&UNET[1..]).args(&["--device", "flex", "--precision", "bf16"]);
    let said = bench.args(&["--processes", "2"]).fails_with(2);
    assert_says(&said, &["only libtorch devices"]);
    assert_eq!(said.matches("error:").count(), 1, "{said}");
}
