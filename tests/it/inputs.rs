//! Folders, lists and special files as people have them.

use std::fs;
use std::path::Path;

use crate::common::{output_of, small_data, small_recipe, stderr_of, stdout_of, text};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, Luma};
use segtool::image::{RawLabels, Samples, read_image, read_labels};

/// A JPEG of 64 x 48 in grey.
fn jpeg() -> Vec<u8> {
    let samples: Vec<u8> = (0..64 * 48u32).map(|i| (i % 64 * 3 + i / 64) as u8).collect();
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode(&samples, 64, 48, ExtendedColorType::L8).unwrap();
    bytes
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| text(Path::new(&entry.unwrap().file_name()))).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn a_folder_leaves_nothing_out_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&input).unwrap();
    for name in ["a.jpg", "b.jfif", "d.xyz", "e.JPE"] {
        fs::write(input.join(name), jpeg()).unwrap();
    }
    fs::write(input.join("._a.jpg"), "of macOS").unwrap();
    std::os::unix::fs::symlink("/not/mounted/c.jpg", input.join("c.jpg")).unwrap();
    let arguments = ["rgb2gray", "--input-folder", &text(&input), "--output-folder", &text(&output)];
    let said = stderr_of(&arguments, 3);
    assert!(said.contains(&format!("cannot read {}", input.join("c.jpg").display())), "{said}");
    assert!(said.contains("1 file was left out") && said.contains("d.xyz is a JPG image by its content"), "{said}");
    assert!(!said.contains("._a"), "{said}");
    assert_eq!(names(&output), ["a.png", "b.png", "e.png"]);
}

#[test]
fn motion_photos_are_read_and_damaged_jpegs_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let whole = jpeg();
    let file = |name: &str, parts: &[&[u8]]| {
        let path = folder.path().join(name);
        fs::write(&path, parts.concat()).unwrap();
        path
    };
    let wanted = read_image(&file("whole.jpg", &[&whole])).unwrap();
    let video: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let middle = whole.len() / 2;
    for good in [
        file("video.jpg", &[&whole, b"MotionPhoto_Data", &video]),
        file("two.jpg", &[&whole, &whole]),
        file("open.jpg", &[&whole[..whole.len() - 2]]),
    ] {
        assert_eq!(read_image(&good).unwrap(), wanted, "{}", good.display());
    }
    let foreign = file("foreign.jpg", &[&whole[..middle], b"\xff\x00\x13\xff\xd8\xff\xe1", &whole[middle + 20..]]);
    assert!(read_image(&foreign).unwrap_err().to_string().contains("damaged JPEG: unexpected marker d8 at byte"));
    let cut = file("cut.jpg", &[&whole[..middle]]);
    assert!(read_image(&cut).unwrap_err().to_string().contains("damaged JPEG: its end is missing"));
}

#[test]
fn gif_and_pnm_are_images_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pgm");
    fs::write(&path, b"P5\n3 1\n15\n\x00\x07\x0f").unwrap();
    assert_eq!(read_image(&path).unwrap().samples, Samples::U8(vec![0, 119, 255]));
    let RawLabels::Values(_, values) = read_labels(&path).unwrap() else { panic!("colours") };
    assert_eq!(values, [0, 7, 15]);
    let path = folder.path().join("a.gif");
    let mut encoder = gif::Encoder::new(fs::File::create(&path).unwrap(), 3, 1, &[9, 9, 9, 1, 2, 3]).unwrap();
    encoder.write_frame(&gif::Frame::from_indexed_pixels(3, 1, &[1, 0, 1][..], None)).unwrap();
    drop(encoder);
    assert_eq!(read_image(&path).unwrap().samples, Samples::U8(vec![1, 2, 3, 9, 9, 9, 1, 2, 3]));
    let RawLabels::Values(_, values) = read_labels(&path).unwrap() else { panic!("colours") };
    assert_eq!(values, [1, 0, 1]);
}

#[test]
fn lists_are_understood_as_people_write_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("m")).unwrap();
    for name in ["m/1.png", "m/1_label.png"] {
        GrayImage::from_pixel(8, 6, Luma([90])).save(folder.path().join(name)).unwrap();
    }
    let wide = "\u{feff}m/1.png\r\n".encode_utf16();
    let lists: [(&str, Vec<u8>, Option<&str>); 5] = [
        ("utf16.txt", wide.flat_map(u16::to_le_bytes).collect(), None),
        (
            "pairs.txt",
            b"m/1.png m/1_label.png\n".to_vec(),
            Some("names two files in each line; the first of the two is used"),
        ),
        ("pairs_tab.txt", b"m/1.png\tm/1_label.png\n".to_vec(), Some("names two files in each line")),
        ("quoted.txt", b"\"m/1.png\"\n".to_vec(), None),
        ("windows.txt", b"m\\1.png\r\n".to_vec(), None),
    ];
    for (name, bytes, note) in lists {
        let (list, out) = (folder.path().join(name), folder.path().join(format!("out-{name}")));
        fs::write(&list, bytes).unwrap();
        let said = stderr_of(&["rgb2gray", "--input-list", &text(&list), "--output-folder", &text(&out)], 0);
        match note {
            Some(note) => assert!(said.contains(note), "{name}: {said}"),
            None => assert!(!said.contains("note:"), "{name}: {said}"),
        }
        assert_eq!(names(&out), ["1.png"], "{name}");
    }
    let latin = folder.path().join("latin.txt");
    fs::write(&latin, b"m/1.png\nm/\xe9.png\n").unwrap();
    let said = stderr_of(&["rgb2gray", "--input-list", &text(&latin), "--output-folder", "out"], 1);
    assert!(said.contains("line 2 holds byte 0xe9, which is not UTF-8; save it as UTF-8"), "{said}");
}

#[test]
fn one_list_of_pairs_trains_and_scores() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let data = folder.path().join("data");
    let pairs = |name: &str| {
        let [images, labels] =
            ["images", "labels"].map(|what| fs::read_to_string(data.join(format!("{name}_{what}.txt"))).unwrap());
        let lines = images.lines().zip(labels.lines()).map(|(image, label)| format!("{image}\t{label}\n"));
        fs::write(data.join(format!("{name}.txt")), lines.collect::<String>()).unwrap();
        text(&data.join(format!("{name}.txt")))
    };
    let (train, validation, recipe) = (pairs("train"), pairs("val"), small_recipe(folder.path(), 1));
    let run = text(&folder.path().join("run"));
    let lists = ["--train-list", &train, "--val-list", &validation];
    stdout_of(&[&["train", "--recipe", &recipe, "--output-path", &run, "--device", "flex"][..], &lists].concat());
    let scored = |more: &[&str]| stdout_of(&[&["metrics", "--run", &run, "--device", "flex", "--json"], more].concat());
    let own = scored(&[]);
    assert_eq!(scored(&["--image-list", &validation]), own);
    let (images, labels) = (text(&data.join("val_images.txt")), text(&data.join("val_labels.txt")));
    assert_eq!(scored(&["--image-list", &images, "--list-true", &labels]), own);
    let said = stderr_of(&["metrics", "--list-predict", &labels, "--num-class", "3"], 1);
    assert!(
        said.contains("line 1 names only one file") && said.contains("name an image and its label image in each line"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn outputs_may_be_pipes_links_and_private_files() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    GrayImage::from_fn(4, 4, |x, _| Luma([1 + x as u8])).save(at("p.png")).unwrap();
    fs::write(at("pairs.txt"), "p.png p.png\n").unwrap();
    let pairs = text(&at("pairs.txt"));
    let score = |output: &Path| {
        stdout_of(&["metrics", "--list-predict", &pairs, "--num-class", "5", "--partial", &text(output)]);
    };
    score(&at("plain.json"));
    let wanted = fs::read(at("plain.json")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = at("pipe");
        move || fs::read(pipe).unwrap()
    });
    score(&at("pipe"));
    assert_eq!(reader.join().unwrap(), wanted);
    assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
    symlink("real.json", at("link.json")).unwrap();
    score(&at("link.json"));
    assert!(fs::symlink_metadata(at("link.json")).unwrap().is_symlink());
    assert_eq!(fs::read(at("real.json")).unwrap(), wanted);
    fs::write(at("private.json"), "old").unwrap();
    fs::set_permissions(at("private.json"), fs::Permissions::from_mode(0o600)).unwrap();
    score(&at("private.json"));
    assert_eq!(fs::metadata(at("private.json")).unwrap().mode() & 0o777, 0o600);
    let output = output_of(&["metrics", "--list-predict", &pairs, "--num-class", "5", "--partial", "/dev/stdout"]);
    assert!(output.status.success() && output.stdout.windows(wanted.len()).any(|part| part == wanted));
    let said = stderr_of(&["rgb2gray", "--output-folder", &text(&at("out")), &text(&at("pipe"))], 1);
    assert!(said.contains("is a pipe, socket or device"), "{said}");
}

#[cfg(not(feature = "cloud"))]
#[test]
fn a_build_without_stores_says_so_of_urls() {
    let folder = tempfile::tempdir().unwrap();
    let (out, list) = (text(&folder.path().join("out")), text(&folder.path().join("list.txt")));
    fs::write(&list, "s3://bucket/a.tif\n").unwrap();
    for arguments in
        [&["s3://bucket/scenes/"][..], &["--input-list", &list], &["--output-path", "gs://bucket/out", "a.png"]]
    {
        let said = stderr_of(&[&["predict", "--run", &out][..], arguments].concat(), 1);
        assert!(said.contains("://bucket/") && said.contains("cargo install --features cloud"), "{said}");
    }
}
