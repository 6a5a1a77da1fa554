//! Class regions as GeoJSON: what they cover, where they lie, what is said of them.

use std::fs;
use std::path::Path;

use segtool::base::Size;
use serde_json::{Value as Json, json};

use crate::common::{assert_says, read_json, stdout_of, text};
use crate::geotiff::{Bench, KEYS, NODATA, ROTATED, SCALE, SMALL, TIEPOINT, TRANSFORMATION, UTM, Value};
use crate::geotiff::{npy_values, write_scene};

const SCENE: Size = Size { width: 220, height: 130 };
const LEFT: f64 = 399_960.0;
const TOP: f64 = 5_200_020.0;

/// A scene in a UTM zone, or in that system.
fn write_utm(path: &Path, size: Size, number: u16) {
    let keys: Vec<u16> = UTM[..UTM.len() - 1].iter().copied().chain([number]).collect();
    let tiepoint = (TIEPOINT, Value::Doubles(&[0.0, 0.0, 0.0, LEFT, TOP, 0.0]));
    let scale = (SCALE, Value::Doubles(&[10.0, 10.0, 0.0]));
    write_scene(path, size, &[scale, tiepoint, (KEYS, Value::Shorts(&keys)), (NODATA, Value::Text("0"))]);
}

fn features(file: &Json) -> &Vec<Json> {
    file["features"].as_array().unwrap()
}

/// The rings of a feature, without the point that closes each.
fn rings(feature: &Json) -> Vec<Vec<[f64; 2]>> {
    assert_eq!(feature["geometry"]["type"], "Polygon");
    let mut rings: Vec<Vec<[f64; 2]>> = serde_json::from_value(feature["geometry"]["coordinates"].clone()).unwrap();
    for ring in &mut rings {
        assert_eq!(ring.first(), ring.last(), "a ring is not closed");
        assert!(ring.len() >= 4);
        ring.pop();
    }
    rings
}

/// Area of a ring, above 0 if it runs counter-clockwise. Counted from its first point, so that few digits are lost.
fn area(ring: &[[f64; 2]]) -> f64 {
    let [x, y] = ring[0];
    let edges = ring.iter().zip(ring.iter().cycle().skip(1));
    edges.map(|(a, b)| (a[0] - x) * (b[1] - y) - (b[0] - x) * (a[1] - y)).sum::<f64>() / 2.0
}

/// Checks that areas are those of the pixels of each label, and outlines those of the areas; `exact` outlines cover each pixel.
fn check(file: &Json, (size, values): &(Size, Vec<u16>), pixel: f64, exact: bool) {
    let mut areas = [0.0; 4];
    for feature in features(file) {
        let properties = &feature["properties"];
        let label = properties["label"].as_u64().unwrap() as usize;
        assert_eq!(properties["class"], ["shale", "sand", "salt", "fault"][label]);
        let probability = properties["probability"].as_f64().unwrap();
        assert!(probability > 0.2 && probability <= 1.0, "{probability}");
        let rings = rings(feature);
        assert!(area(&rings[0]) > 0.0 && rings[1..].iter().all(|hole| area(hole) < 0.0));
        let (stated, outlined) =
            (properties["area"].as_f64().unwrap(), rings.iter().map(|ring| area(ring)).sum::<f64>());
        assert!(!exact || (stated - outlined).abs() < 1e-6 * stated, "{stated}, {outlined}");
        areas[label] += stated;
    }
    for (label, found) in areas.into_iter().enumerate() {
        let pixels = values.iter().filter(|value| usize::from(**value) == label).count();
        assert!((found - pixels as f64 * pixel).abs() < 1e-6, "label {label}: {found} of {pixels} pixels");
    }
    assert_eq!(values.len(), size.width * size.height);
}

#[test]
fn regions_have_the_coordinates_of_the_scene_and_the_areas_of_the_pixels() {
    let bench = Bench::learnt();
    let scenes = ["utm.tif", "rotated.tif", "plain.tif"].map(|name| bench.at(name));
    write_utm(&scenes[0], SCENE, 32633);
    write_scene(&scenes[1], SMALL, &[(TRANSFORMATION, Value::Doubles(ROTATED)), (KEYS, Value::Shorts(UTM))]);
    write_scene(&scenes[2], SMALL, &[]);
    let all = ["--format", "geojson,png,tiff,npy"];
    scenes.iter().fold(bench.predict("out").args(&all), |command, scene| command.file(scene)).run();
    let listed = fs::read_to_string(bench.at("out/predictions.txt")).unwrap();
    assert_eq!(listed, "utm.npy\nrotated.npy\nplain.npy\n");
    assert!(bench.names("out").contains(&"utm.png".into()) && bench.names("out").contains(&"utm.tif".into()));
    let crs = json!({ "type": "name", "properties": { "name": "urn:ogc:def:crs:EPSG::32633" } });
    let determinant = 8.66f64 * 8.66 + 25.0;
    for (name, crs, pixel) in [("utm", crs.clone(), 100.0), ("rotated", crs, determinant), ("plain", Json::Null, 1.0)] {
        let file = read_json(bench.at(&format!("out/{name}.geojson")));
        assert_eq!(file["type"], "FeatureCollection");
        assert_eq!(file.get("crs"), Some(&crs), "{name}");
        check(&file, &npy_values(&bench.at(&format!("out/{name}.npy"))), pixel, true);
    }
    let file = read_json(bench.at("out/utm.geojson"));
    assert!(features(&file).len() > 4, "{} regions", features(&file).len());
    let points: Vec<[f64; 2]> = features(&file).iter().flat_map(rings).flatten().collect();
    let (right, bottom) = (LEFT + 10.0 * SCENE.width as f64, TOP - 10.0 * SCENE.height as f64);
    // The first 9 columns are nodata.
    assert!(points.iter().all(|[x, y]| (LEFT + 90.0..=right).contains(x) && (bottom..=TOP).contains(y)));
    assert!(points.iter().any(|[x, y]| (*x, *y) == (right, bottom)));
}

#[test]
fn small_regions_are_left_out_and_outlines_simplified() {
    let bench = Bench::learnt();
    let scene = bench.at("utm.tif");
    write_utm(&scene, SCENE, 32633);
    let with = |output: &str, more: &[&str]| {
        bench.predict(output).args(&["--format", "npy,geojson"]).args(more).file(&scene).run();
        read_json(bench.at(&format!("{output}/utm.geojson")))
    };
    let (exact, simple) = (with("exact", &[]), with("simple", &["--simplify", "1.2"]));
    let areas = |file: &Json| -> Vec<f64> {
        features(file).iter().map(|one| one["properties"]["area"].as_f64().unwrap()).collect()
    };
    let all = areas(&exact);
    let least = all.iter().copied().fold(0.0, f64::max);
    let large = areas(&with("large", &["--min-area", &least.to_string()]));
    assert_eq!(large, all.iter().copied().filter(|area| *area >= least).collect::<Vec<_>>());
    assert!(large.len() < all.len(), "there is only one region");
    check(&simple, &npy_values(&bench.at("simple/utm.npy")), 100.0, false);
    let count = |file: &Json| features(file).iter().flat_map(rings).map(|ring| ring.len()).sum::<usize>();
    assert!(count(&simple) < count(&exact), "{} of {}", count(&simple), count(&exact));
    // Simplified regions cover the same area together: what one loses its neighbour gains.
    let sum = |file: &Json| features(file).iter().flat_map(rings).map(|ring| area(&ring)).sum::<f64>();
    assert!((sum(&simple) - sum(&exact)).abs() < 1e-3, "{} is not {}", sum(&simple), sum(&exact));
}

#[test]
fn longitudes_and_latitudes_are_written_where_they_take_no_more_than_a_formula() {
    let bench = Bench::learnt();
    let [utm, other, plain] = ["utm.tif", "other.tif", "plain.tif"].map(|name| bench.at(name));
    write_utm(&utm, SMALL, 32633);
    write_utm(&other, SMALL, 25832);
    write_scene(&plain, SMALL, &[]);
    let degrees = ["--format", "geojson", "--geojson-crs", "wgs84"];
    // Images without such coordinates are skipped, as those that cannot be read are.
    fs::write(bench.at("broken.tif"), "II*").unwrap();
    let mixed = bench.predict("mixed").args(&degrees).file(&other).file(&plain).file(bench.at("broken.tif")).file(&utm);
    let said = mixed.fails_with(3);
    assert_says(&said, &["other.tif", "EPSG:25832", "Leave --geojson-crs out", "ogr2ogr -t_srs EPSG:4326"]);
    assert_says(&said, &["plain.tif: has no coordinates", "leave --geojson-crs out", "3 of 4 images were skipped"]);
    assert_eq!(bench.names("mixed"), ["utm.geojson"]);
    let said = bench.predict("out").args(&degrees).file(&utm).run();
    assert_says(&said, &["no predictions.txt", "--format"]);
    assert_eq!(bench.names("out"), ["utm.geojson"]);
    let file = read_json(bench.at("out/utm.geojson"));
    assert_eq!(file.get("crs"), None);
    let near = |[x, y]: [f64; 2]| (13.68..13.70).contains(&x) && (46.94..46.95).contains(&y);
    assert!(features(&file).iter().flat_map(rings).flatten().all(near));
    check_area_of_degrees(&file);
}

/// Areas are those of the scene, in square metres.
fn check_area_of_degrees(file: &Json) {
    let metres = 111_320.0 * 111_160.0 * 46.945f64.to_radians().cos();
    for feature in features(file) {
        let (stated, outlined) = (
            feature["properties"]["area"].as_f64().unwrap(),
            rings(feature).iter().map(|ring| area(ring)).sum::<f64>(),
        );
        assert!((outlined * metres / stated - 1.0).abs() < 0.01, "{stated}, {outlined}");
    }
}

#[test]
fn polygons_alone_are_no_predictions_to_score_and_options_without_them_are_refused() {
    let bench = Bench::learnt();
    let images = bench.at("data/images");
    bench.predict("both").args(&["--format", "png,geojson"]).file(&images).run();
    let listed = fs::read_to_string(bench.at("both/predictions.txt")).unwrap();
    assert!(listed.starts_with("000.png\n001.png\n"), "{listed}");
    let [predictions, labels] = [bench.at("both"), bench.at("data/labels")].map(|path| text(&path));
    let scores = stdout_of(&["metrics", "--predictions", &predictions, "--labels", &labels, "--dataset", "demo"]);
    assert_says(&scores, &["salt"]);
    for (options, words) in [
        (&["--simplify", "1"][..], "--simplify has no effect with a --format without geojson"),
        (
            &["--format", "npy", "--min-area", "5", "--geojson-crs", "scene"],
            "--min-area and --geojson-crs have no effect",
        ),
        (&["--format", "geojson", "--simplify", "0"], "must be a number above 0"),
        (&["--format", "geojson", "--min-area", "nan"], "must be a number above 0"),
        (&["--format", "geojson", "--geojson-crs", "utm"], "choose scene or wgs84"),
    ] {
        assert_says(&bench.predict("none").args(options).file(&images).fails_with(2), &[words]);
    }
    assert!(!bench.at("none").exists());
}
