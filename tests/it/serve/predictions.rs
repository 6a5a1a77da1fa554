//! What the server answers is what `segtool predict` writes.

use std::fs;

use segtool::base::Size;

use super::served::{Served, world};
use crate::common::{segtool, text};
use crate::geotiff::{KEYS, SCALE, TIEPOINT, UTM, Value, write_scene};

/// A GeoTIFF in UTM, larger than a window.
fn scene() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let scale = (SCALE, Value::Doubles(&[10.0, 10.0, 0.0]));
    let tiepoint = (TIEPOINT, Value::Doubles(&[0.0, 0.0, 0.0, 500_000.0, 7_000_000.0, 0.0]));
    write_scene(file.path(), Size { width: 150, height: 90 }, &[scale, tiepoint, (KEYS, Value::Shorts(UTM))]);
    fs::read(file).unwrap()
}

#[test]
fn results_are_those_of_the_command() {
    let world = world();
    let served = Served::new(&["--tile", "64"]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("scene.tif"), scene()).unwrap();
    fs::write(at("photo.png"), world.image(1, 60, 40)).unwrap();
    let predict = segtool("predict").arg("--run", world.path("run")).arg("--device", "flex").arg("--tile", "64");
    let predict = predict.arg("--format", "npy,tiff,geojson").flag("--overlay").arg("--output-path", at("out"));
    predict.file(at("scene.tif")).file(at("photo.png")).run();
    for (name, with_place) in [("scene.tif", true), ("photo.png", false)] {
        let image = fs::read(at(name)).unwrap();
        let told = served.job(&format!("model=run&name={name}"), &image);
        assert_eq!(told["state"], "done", "{told}");
        let stem = name.split('.').next().unwrap();
        let downloads = told["result"]["downloads"].as_array().unwrap();
        assert_eq!(downloads.len(), if with_place { 5 } else { 4 });
        for (format, ending) in
            [("npy", ".npy"), ("tiff", ".tif"), ("geojson", ".geojson"), ("overlay", "_overlay.png")]
        {
            let expected = fs::read(at("out").join(format!("{stem}{ending}"))).unwrap();
            if let Some(download) = downloads.iter().find(|download| download["format"] == format) {
                assert_eq!(download["name"], format!("{stem}{ending}"));
                let file = served.get(download["path"].as_str().unwrap());
                assert!(file.status == 200 && file.body == expected, "{name}: {format}: {}", file.status);
                let kept = file.header("content-disposition").unwrap();
                assert!(kept.contains(&format!("{stem}{ending}")), "{kept}");
            }
            if format == "tiff" && !with_place {
                continue;
            }
            let at_once = served.post(&format!("/api/predict?model=run&format={format}&name={name}"), &image);
            assert!(at_once.status == 200 && at_once.body == expected, "{name}: {format}: {}", at_once.status);
        }
        assert_eq!(told["result"]["tile"].as_u64(), with_place.then_some(64));
    }
}

#[test]
fn what_is_told_of_a_result_adds_up() {
    let served = Served::new(&["--tile", "64"]);
    let told = served.job("name=scene.tif", &scene());
    let result = &told["result"];
    assert_eq!((&result["width"], &result["height"], &result["bands"]), (&150.into(), &90.into(), &1.into()));
    assert_eq!((&result["georeferenced"], &result["crs"]), (&true.into(), &"EPSG:32633".into()));
    let classes = result["classes"].as_array().unwrap();
    let sum = |name: &str| classes.iter().map(|class| class[name].as_f64().unwrap()).sum::<f64>();
    assert_eq!(sum("pixels") + result["no_data"].as_f64().unwrap(), 150.0 * 90.0);
    assert!((sum("share") - 1.0).abs() < 1e-9);
    assert!((sum("area_m2") - 150.0 * 90.0 * 100.0).abs() < 1e-3);
    let id = told["id"].as_str().unwrap();
    let file = |name: &str| served.get(&format!("/api/jobs/{id}/{name}"));
    let (classes, probability) = (file("classes.bin"), file("probability.bin"));
    assert_eq!((classes.body.len(), probability.body.len()), (2 * 150 * 90, 150 * 90));
    assert_eq!(classes.header("x-scale"), Some("1"));
    let reduced = file("classes.bin?max=75");
    assert_eq!((reduced.body.len(), reduced.header("x-scale")), (2 * 75 * 45, Some("0.5")));
    let shown = image::load_from_memory(&file("image.jpg?max=75").body).unwrap();
    assert_eq!((shown.width(), shown.height()), (75, 45));
    // The label image has the values of the data set, and shows colours.
    let labels = file("labels.png").body;
    let mut reader = png::Decoder::new(std::io::Cursor::new(&labels));
    reader.set_transformations(png::Transformations::IDENTITY);
    let mut reader = reader.read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut values).unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    let array = file("labels.npy").body;
    assert_eq!(values, array[array.len() - 150 * 90..]);
}

#[test]
fn samples_of_the_validation_set_are_offered() {
    let served = Served::new(&[]);
    let models = served.get("/api/models").json();
    assert_eq!(
        (models.as_array().unwrap().len(), &models[0]["id"], &models[0]["kind"]),
        (1, &"run".into(), &"network".into())
    );
    let samples = models[0]["samples"].as_array().unwrap();
    assert!(!samples.is_empty());
    let small = served.get("/api/models/run/samples/0/thumbnail.jpg");
    assert!(small.status == 200 && image::load_from_memory(&small.body).is_ok());
    let told = served.job("model=run&sample=0", b"");
    assert_eq!((&told["state"], &told["name"]), (&"done".into(), &samples[0]["name"]));
    assert_eq!(served.get(&format!("/api/models/run/samples/{}/thumbnail.jpg", samples.len())).status, 404);
    assert_eq!(served.post("/api/jobs?model=run&sample=99", b"").status, 404);
}

#[test]
fn the_command_has_its_flags_in_words() {
    let said = segtool("serve").fails_with(2);
    assert!(said.contains("--run RUN") && said.contains("--label FOLDER"), "{said}");
    let run = text(&world().path("run"));
    let said = segtool("serve").args(&["--run", &run, "--host", "0.0.0.0", "--port", "0"]).fails_with(2);
    assert!(said.contains("--token") && said.contains("--insecure"), "{said}");
    let said = segtool("serve").args(&["--run", &run, "--token", "short"]).fails_with(2);
    assert!(said.contains("--token") && !said.contains("short"), "{said}");
    let said = segtool("serve").args(&["--run", &text(&world().path("none"))]).fails_with(1);
    assert!(said.contains("none"), "{said}");
}
