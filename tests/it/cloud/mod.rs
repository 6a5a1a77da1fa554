//! Images and results in stores: the same bytes as on this machine, over connections that break, and no more of a scene than
//! is needed.

mod servers;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{GrayImage, Luma};
use segtool::base::Size;
use segtool::image::{ProbabilityTiffWriter, ProbabilityType};
use servers::{S3, web_server};
use tiff_reader::TiffFile;

use crate::common::{assert_says, files_below, small_run, text};

/// Images.
struct Set {
    folder: tempfile::TempDir,
}

impl Set {
    fn new() -> Self {
        let set = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(set.path("in/north")).unwrap();
        ["in/a.png", "in/b.png", "in/north/c.png"]
            .iter()
            .enumerate()
            .for_each(|(seed, name)| set.draw(name, seed as u32));
        // It says where an image lies.
        fs::write(set.path("in/a.pgw"), "2.5\n0\n0\n-2.5\n1000\n2000\n").unwrap();
        fs::write(set.path("in/bad.png"), "no image").unwrap();
        set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn draw(&self, name: &str, seed: u32) {
        let path = self.path(name);
        GrayImage::from_fn(150, 110, |x, y| Luma([noise(x + 150 * y + 70_000 * seed)])).save(path).unwrap();
    }

    /// A COG with overviews, with as many bands, of numbers that hardly compress.
    fn scene(&self, name: &str, bands: &[&str]) -> PathBuf {
        let (path, size) = (self.path(name), Size { width: 520, height: 2100 });
        let mut writer = ProbabilityTiffWriter::new(&path, size, bands, ProbabilityType::Uint8, None).unwrap();
        let pixels = size.width * size.height;
        let values: Vec<f32> = (0..pixels * bands.len()).map(|i| f32::from(noise(i as u32)) / 255.0).collect();
        writer.push(&values, &vec![true; pixels]).unwrap();
        writer.finish().unwrap();
        path
    }

    /// Predicts into a folder or a URL; what to predict is still to be added.
    fn predict(&self, server: Option<SocketAddr>, out: &str, more: &[&str]) -> Predict {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
        let run = text(small_run());
        let out = if out.contains("://") { out.to_owned() } else { text(&self.path(out)) };
        command.args(["predict", "--device", "flex", "--run", &run, "--output-path", &out]).args(more);
        for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_REGION", "us-east-1");
        if let Some(server) = server {
            command.env("AWS_ENDPOINT_URL", format!("http://{server}")).env("AWS_ALLOW_HTTP", "true");
        }
        Predict(command)
    }

    /// The files of a folder by their names below it, without record and journal, which name the images.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = files_below(&self.path(folder));
        found.retain(|name, _| !name.contains(".json"));
        found
    }
}

/// A command that predicts.
struct Predict(Command);

impl Predict {
    /// What it says on standard error, after it has ended with this code.
    fn ends_with(mut self, code: i32) -> String {
        let output = self.0.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{:?}\n{said}", self.0);
        said + &String::from_utf8_lossy(&output.stdout)
    }
}

/// A number that hardly follows from the one before.
fn noise(number: u32) -> u8 {
    let mixed = number.wrapping_mul(0x9e37_79b1) ^ number.wrapping_mul(0x85eb_ca6b).rotate_left(13);
    (mixed.wrapping_mul(0xc2b2_ae35) >> 24) as u8
}

/// The objects below a prefix, without records and journals.
fn objects(s3: &S3, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let names = s3.names(prefix).into_iter().filter(|name| !name.contains(".json"));
    names.map(|name| (name.clone(), s3.get(&format!("{prefix}{name}")))).collect()
}

#[test]
fn a_bucket_gives_and_takes_what_a_folder_does_over_connections_that_break() {
    let Some(s3) = S3::start() else { return };
    let set = Set::new();
    s3.put_folder(&set.path("in"), "scenes/");
    let options = ["--recursive", "--format", "npy,tiff", "--prob"];
    set.predict(None, "out", &[&options[..], &[&text(&set.path("in"))]].concat()).ends_with(3);
    let local = set.files("out");
    let proxy = s3.proxy();
    let server = Some(proxy.address);
    let url = "s3://bucket/out";
    let remote = |more: &[&str]| set.predict(server, url, &[&options[..], more, &["s3://bucket/scenes/"]].concat());
    // Without an answer, in the head of one, and in its body.
    for (connections, after) in [(3, 0), (3, 40), (5, 900)] {
        proxy.cut(connections, after);
        let before = proxy.cuts();
        let said = remote(&["--overwrite"]).ends_with(3);
        assert!(proxy.cuts() > before, "no connection was cut");
        assert_says(&said, &["s3://bucket/scenes/bad.png", "3 predictions in s3://bucket/out, listed in"]);
        let found = objects(&s3, "out/");
        assert_eq!(found.keys().collect::<Vec<_>>(), local.keys().collect::<Vec<_>>());
        assert!(found == local, "after {connections} cuts at {after}");
    }
    // What is complete stays; what is gone is made again.
    assert_says(
        &remote(&["--skip-existing"]).ends_with(3),
        &["3 of 4 images have complete results in s3://bucket/out"],
    );
    s3.remove("out/north/c.tif");
    assert_says(&remote(&["--skip-existing"]).ends_with(3), &["2 of 4 images have complete results"]);
    assert!(objects(&s3, "out/") == local);
    // Other options are told from these, and so are files of unknown origin.
    let said = remote(&["--flip"]).ends_with(1);
    assert_says(&said, &["s3://bucket/out/a.npy was made by", "--overwrite"]);
    s3.put("other/a.npy", b"mine");
    let other =
        |more: &[&str]| set.predict(server, "s3://bucket/other/", &[more, &["s3://bucket/scenes/a.png"]].concat());
    assert_says(&other(&[]).ends_with(1), &["s3://bucket/other/a.npy already exists"]);
    assert_eq!(s3.get("other/a.npy"), b"mine");
    other(&["--overwrite"]).ends_with(0);
    assert_eq!(s3.get("other/a.npy"), local["a.npy"]);
    // No image makes room for its label map.
    let over = ["--format", "png", "--overwrite", "s3://bucket/scenes/"];
    let said = set.predict(server, "s3://bucket/scenes", &over).ends_with(1);
    assert_says(&said, &["s3://bucket/scenes/a.png is also an input"]);
    assert!(s3.get("scenes/a.png") == fs::read(set.path("in/a.png")).unwrap());
}

#[test]
fn of_a_scene_the_tiles_of_its_rows_travel_and_no_overviews() {
    let Some(s3) = S3::start() else { return };
    let set = Set::new();
    let path = set.scene("scene.tif", &["grey"]);
    let whole = fs::metadata(&path).unwrap().len();
    let page = TiffFile::open(&path).unwrap();
    let base: u64 = page.ifds()[0].tile_byte_counts().unwrap().iter().sum();
    assert!(whole > base * 5 / 4, "overviews are a quarter of it or more: {whole}, {base}");
    s3.put("scene.tif", &fs::read(&path).unwrap());
    let windows = ["--tile", "256", "--overlap", "32", "--format", "npy,tiff"];
    set.predict(None, "out", &[&windows[..], &[&text(&path)]].concat()).ends_with(0);
    let proxy = s3.proxy();
    set.predict(Some(proxy.address), "there", &[&windows[..], &["s3://bucket/scene.tif"]].concat()).ends_with(0);
    assert!(set.files("there") == set.files("out"));
    let (bytes, requests) = proxy.asked("/scene.tif");
    println!("{bytes} bytes in {requests} requests of {whole}, {base} of them in the base level");
    assert!(bytes < base * 11 / 10 + (64 << 10), "{bytes} bytes of {base}");
    // Each row of tiles is a request.
    assert!(requests < 16, "{requests}");
    // What cannot be predicted is not fetched to its end.
    let other = set.scene("bands.tif", &["one", "two", "three"]);
    let whole = fs::metadata(&other).unwrap().len();
    s3.put("bands.tif", &fs::read(&other).unwrap());
    let said =
        set.predict(Some(proxy.address), "failed", &[&windows[..], &["s3://bucket/bands.tif"]].concat()).ends_with(1);
    assert_says(&said, &["s3://bucket/bands.tif", "band"]);
    let (bytes, _) = proxy.asked("/bands.tif");
    println!("{bytes} bytes of {whole} until it was refused");
    assert!(bytes < whole / 2, "{bytes} of {whole}");
}

#[test]
fn what_does_not_arrive_is_skipped_in_words_and_the_rest_is_done() {
    let Some(s3) = S3::start() else { return };
    let set = Set::new();
    s3.put_folder(&set.path("in"), "");
    s3.put("hopeless.png", b"never arrives");
    let proxy = s3.proxy();
    let list = "s3://bucket/a.png\ns3://bucket/hopeless.png\ns3://bucket/gone.png\ns3://bucket/b.png\n";
    fs::write(set.path("list.txt"), list).unwrap();
    let list = text(&set.path("list.txt"));
    let said = set.predict(Some(proxy.address), "out", &["--input-list", &list]).ends_with(3);
    assert_says(
        &said,
        &["cannot read s3://bucket/hopeless.png: ", "check the connection, AWS_REGION, AWS_ENDPOINT_URL"],
    );
    assert_says(&said, &["cannot read s3://bucket/gone.png: there is no such object", "2 of 4 images were skipped"]);
    assert!(set.path("out/a.npy").is_file() && set.path("out/b.npy").is_file());
    // A bucket that is not there, and a folder without images.
    let named = |url: &str| set.predict(Some(proxy.address), "out2", &[url]).ends_with(1);
    assert_says(&named("s3://elsewhere/scenes/"), &["s3://elsewhere/scenes/", "there is no such bucket"]);
    assert_says(&named("s3://bucket/empty/"), &["s3://bucket/empty/: the folder holds no file of a known kind"]);
}

#[test]
fn shards_write_one_folder_and_a_last_run_merges_them() {
    let Some(s3) = S3::start() else { return };
    let set = Set::new();
    s3.put_folder(&set.path("in"), "scenes/");
    let run = |more: &[&str]| {
        let inputs = ["s3://bucket/scenes/a.png", "s3://bucket/scenes/b.png", "s3://bucket/scenes/north/c.png"];
        set.predict(Some(s3.proxy().address), "s3://bucket/out", &[more, &inputs].concat()).ends_with(0)
    };
    assert_says(&run(&["--shard", "1/2"]), &["listed in s3://bucket/out/predictions-1-of-2.txt"]);
    run(&["--shard", "2/2"]);
    let own = ["predictions-1-of-2.json", "predictions-1-of-2.jsonl", "predictions-1-of-2.txt"];
    assert_eq!(&s3.names("out/")[..6], &[&["a.npy", "b.npy", "c.npy"], &own[..]].concat());
    assert!(!String::from_utf8(s3.get("out/predictions-1-of-2.json")).unwrap().contains("b.npy"));
    assert_says(&run(&["--skip-existing"]), &["3 of 3 images have complete results"]);
    assert_eq!(s3.get("out/predictions.txt"), b"a.npy\nb.npy\nc.npy\n");
    assert!(String::from_utf8(s3.get("out/predictions.json")).unwrap().contains("s3://bucket/scenes/north/c.png"));
    // A shard that runs again goes on with its own journal.
    s3.remove("out/b.npy");
    assert_says(&run(&["--shard", "2/2", "--skip-existing"]), &["1 prediction in "]);
    assert_eq!(String::from_utf8(s3.get("out/predictions-2-of-2.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn web_servers_give_images() {
    let set = Set::new();
    let path = set.scene("scene.tif", &["grey"]);
    fs::copy(set.path("in/a.png"), set.path("a.png")).unwrap();
    fs::copy(set.path("in/a.pgw"), set.path("a.pgw")).unwrap();
    let options = ["--tile", "256", "--format", "npy,tiff"];
    let files = ["a.png", "a.pgw", "scene.tif"].map(|name| (name, fs::read(set.path(name)).unwrap()));
    set.predict(None, "out", &[&options[..], &[&text(&set.path("a.png")), &text(&path)]].concat()).ends_with(0);
    let predict = |address: SocketAddr, out: &str, code: i32| {
        let urls = [format!("http://{address}/a.png"), format!("http://{address}/scene.tif")];
        set.predict(None, out, &[&options[..], &[&urls[0], &urls[1]]].concat()).ends_with(code)
    };
    predict(web_server(files.to_vec(), true), "there", 0);
    assert!(set.files("there") == set.files("out"));
    let said = predict(web_server(files.to_vec(), false), "whole", 1);
    assert_says(&said, &["a.png: the server does not give parts of a file; download the file"]);
    // What web servers do not do.
    let address = web_server(files.to_vec(), true);
    let a_list = set.predict(None, "none", &[&format!("http://{address}/scenes/")]).ends_with(1);
    assert_says(&a_list, &["a web server, which does not list its files"]);
    let results = set.predict(None, &format!("http://{address}/out"), &[&text(Path::new(&set.path("a.png")))]);
    assert_says(&results.ends_with(1), &["takes no results"]);
    let signed = set.predict(None, "none", &[&format!("http://{address}/a.png?signature=1")]).ends_with(1);
    assert_says(&signed, &["has a part behind ? or #"]);
}
