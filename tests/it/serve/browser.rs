//! The pages in Chromium, by the scripts that people run by hand, too.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};

use super::served::{Served, world};
use crate::common::text;

/// Runs a script of `scripts/checks`, which fails where a page does not do what it should.
#[allow(clippy::print_stdout)]
fn check(script: &str, arguments: &[&dyn AsRef<OsStr>]) {
    let Some(python) = env::var_os("SEGTOOL_BROWSER_PYTHON") else {
        println!("skipped: SEGTOOL_BROWSER_PYTHON does not name a Python with playwright");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/checks").join(script);
    let mut command = Command::new(python);
    command.arg("-u").arg(script).args(arguments.iter().map(|argument| argument.as_ref()));
    let done = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{error}");
    println!("{out}");
}

#[test]
fn the_page_that_segments_images() {
    let folder = tempfile::tempdir().unwrap();
    let (image, scene, out) =
        (folder.path().join("section.png"), folder.path().join("scene.png"), folder.path().join("out"));
    fs::write(&image, world().image(1, 96, 64)).unwrap();
    fs::write(&scene, world().image(2, 6000, 6000)).unwrap();
    let served = Served::new(&["--tile", "256"]);
    check("browser_serve.py", &[&"--url", &served.url, &"--image", &image, &"--scene", &scene, &"--out", &out]);
}

#[test]
fn the_page_that_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels, out) = (folder.path().join("cores"), folder.path().join("kept"), folder.path().join("out"));
    fs::create_dir(&images).unwrap();
    let image = images.join("core.png");
    // Colours that tell all places apart, so that a forest can learn whatever is painted.
    let color =
        |x: u32, y: u32| Rgb([(x * 255 / 480) as u8, (y * 255 / 320) as u8, 60 + 60 * ((x / 8 + y / 8) % 2) as u8]);
    RgbImage::from_fn(480, 320, color).save(&image).unwrap();
    let program = env!("CARGO_BIN_EXE_segtool");
    // A port that is free now: the script starts the server, ends it and starts it again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let serve = format!(
        "'{program}' serve --device flex --port {port} --label '{}' --labels '{}'",
        text(&images),
        text(&labels)
    );
    let arguments: [&dyn AsRef<OsStr>; 10] =
        [&"--serve", &serve, &"--out", &out, &"--segtool", &program, &"--image", &image, &"--labels-folder", &labels];
    check("browser_label.py", &arguments);
}

#[test]
fn the_page_that_labels_several_images() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("cores");
    fs::create_dir(&images).unwrap();
    for (name, shade) in [("a.png", 60), ("b.png", 120), ("c.png", 180)] {
        RgbImage::from_fn(240, 160, |x, y| Rgb([x as u8, y as u8, shade])).save(images.join(name)).unwrap();
    }
    let served = Served::new(&["--label", &text(&images)]);
    check("browser_label_images.py", &[&"--url", &served.url]);
}
