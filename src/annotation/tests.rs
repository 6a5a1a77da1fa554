//! Files that cannot be read say what is wrong, where, and what to do.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use ::image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgba};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::map::epsg_of_wkt;
use super::{Annotations, Format, Geometry, Mask, open};
use crate::base::{Result, Size};
use crate::image::ReferenceSystem;

/// What a file of that name and content holds.
fn opened(name: &str, text: &str) -> Result<Annotations> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    open(&path).map(|found| (*found).clone())
}

#[test]
fn unknown_and_damaged_files_are_named() {
    assert_refused!(opened("a.json", "{\"a\": 1}"), "a.json", "no labels of a known format", "labelme, COCO, CVAT");
    assert_refused!(opened("a.json", "{\"shapes\": [}"), "a.json", "line 1");
    assert_refused!(opened("a.json", "[1, 2]"), "a.json", "line 1");
    assert_refused!(opened("a.csv", "a,b\n1,2\n"), "a.csv", "known format");
    assert_refused!(opened("a.xml", "<annotations><image></annotations>"), "a.xml", "is not XML");
    assert_refused!(opened("a.xml", "<other/>"), "a.xml", "known format");
    assert_refused!(opened("a.geojson", "{\"type\": \"FeatureCollection\", \"features\": 3}"), "a.geojson");
    assert_refused!(opened("a.shp", "nothing"), "a.shp", ".shx and .dbf");
    assert_refused!(open(Path::new("gone.json")), "gone.json");
}

#[test]
fn faults_of_shapes_are_located() {
    let labelme = |shape: &str| opened("a.json", &format!("{{\"shapes\": [{shape}], \"imagePath\": \"a.png\"}}"));
    let shape = |kind: &str, points: &str| {
        labelme(&format!("{{\"label\": \"x\", \"points\": {points}, \"shape_type\": \"{kind}\"}}"))
    };
    assert_refused!(shape("polygon", "[[0, 0], [1, 1]]"), "shape 1", "a polygon of 2 points", "complete or delete it");
    assert_refused!(shape("spline", "[[0, 0]]"), "'spline' is not a known shape");
    assert_refused!(shape("mask", "[[0, 0], [1, 1]]"), "a mask without pixels");
    assert_refused!(shape("polygon", "[[0], [1, 1], [2, 2]]"), "a.json", "line 1");
    let cvat = |element: &str| {
        opened("a.xml", &format!("<annotations>\n<image name=\"a.png\">\n{element}</image></annotations>"))
    };
    assert_refused!(cvat("<polygon points=\"0,0;1,1;2,0\"/>"), "line 3", "a shape without a label");
    assert_refused!(cvat("<polygon label=\"x\" points=\"0,0;1,b\"/>"), "'1,b' is no point");
    assert_refused!(cvat("<cuboid label=\"x\"/>"), "a cuboid; draw it as a polygon");
    assert_refused!(
        cvat("<mask label=\"x\" rle=\"0, 9\" left=\"0\" top=\"0\" width=\"2\" height=\"2\"/>"),
        "more pixels than its size"
    );
    assert_refused!(opened("a.xml", "<annotations><track/></annotations>"), "tracks of a video", "CVAT for images 1.1");
}

#[test]
fn faults_of_coco_and_label_studio_are_located() {
    let coco = |annotation: &str| {
        let text = format!(
            "{{\"images\": [{{\"id\": 1, \"file_name\": \"a.png\"}}], \"categories\": [{{\"id\": 1, \"name\": \"x\"}}], \
             \"annotations\": [{annotation}]}}"
        );
        opened("a.json", &text)
    };
    let segmentation = |text: &str| coco(&format!("{{\"image_id\": 1, \"category_id\": 1, \"segmentation\": {text}}}"));
    assert_refused!(coco("{\"image_id\": 2, \"category_id\": 1, \"segmentation\": []}"), "annotation 1", "image_id");
    assert_refused!(coco("{\"image_id\": 1, \"category_id\": 7, \"segmentation\": []}"), "annotation 1", "category_id");
    assert_refused!(segmentation("[]"), "only a box; export polygons or masks");
    assert_refused!(segmentation("[[0, 0, 1, 1]]"), "4 numbers", "at least 3 points");
    assert_refused!(segmentation("{\"size\": [2, 2], \"counts\": [1, 2]}"), "cover 3 pixels", "2x2");
    assert_refused!(segmentation("{\"size\": [2, 2], \"counts\": \"~~\"}"), "run lengths are damaged");
    assert!(segmentation("{\"size\": [2, 2], \"counts\": [1, 2, 1]}").is_ok());
    let studio = |region: &str| {
        opened(
            "a.json",
            &format!(
                "[{{\"id\": 5, \"data\": {{\"image\": \"a.png\"}}, \"annotations\": [{{\"result\": [{region}]}}]}}]"
            ),
        )
    };
    let sized = |value: &str| {
        format!("{{\"type\": \"polygonlabels\", \"original_width\": 4, \"original_height\": 4, \"value\": {value}}}")
    };
    assert_refused!(studio(&sized("{\"points\": []}")), "task 5", "has no label");
    assert_refused!(studio(&sized("{\"polygonlabels\": [\"x\"], \"points\": [[0, 0]]}")), "a polygon of 1 points");
    assert_refused!(
        studio("{\"type\": \"brushlabels\", \"value\": {\"brushlabels\": [\"x\"], \"rle\": [1]}}"),
        "original_width"
    );
}

/// A PNG in base64.
fn png(image: impl Into<DynamicImage>) -> String {
    let mut bytes = Cursor::new(Vec::new());
    let image: DynamicImage = image.into();
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    STANDARD.encode(bytes.get_ref())
}

/// The first shape of a file, which is a mask.
fn first_mask(name: &str, text: &str) -> Result<Mask> {
    let shapes = opened(name, text)?.images.swap_remove(0).shapes;
    let Geometry::Mask(mask) = &shapes[0].geometry else { panic!("{shapes:?}") };
    Ok(mask.clone())
}

#[test]
fn label_studios_bitmasks_are_set_where_they_are_not_transparent() {
    let studio = |value: &str| {
        let region = format!(
            "{{\"type\": \"bitmasklabels\", \"original_width\": 3, \"original_height\": 2, \"value\": \
             {{\"bitmasklabels\": [\"x\"]{value}}}}}"
        );
        let data = "{\"image\": \"a.png\"}";
        first_mask("a.json", &format!("[{{\"data\": {data}, \"annotations\": [{{\"result\": [{region}]}}]}}]"))
    };
    let drawn = |width: u32| {
        let image = ImageBuffer::<Rgba<u8>, _>::from_fn(width, 2, |x, _| Rgba([0, 0, 0, if x == 1 { 255 } else { 0 }]));
        studio(&format!(", \"imageDataURL\": \"data:image/png;base64,{}\"", png(image)))
    };
    let size = Size { width: 3, height: 2 };
    assert_eq!(drawn(3).unwrap(), Mask { left: 0, top: 0, size, runs: vec![1..2, 4..5] });
    assert_refused!(drawn(4), "a bitmask is 4x2, but the image 3x2");
    assert_refused!(studio(""), "a.json", "a bitmask without `imageDataURL`");
}

#[test]
fn labelmes_masks_are_set_where_they_are_not_zero() {
    // Of 16 bits, of which the largest value is far above.
    let image = ImageBuffer::<Luma<u16>, _>::from_fn(4, 1, |x, _| Luma([x as u16 % 2]));
    let text = format!(
        "{{\"shapes\": [{{\"label\": \"x\", \"points\": [[4, 5], [6, 5]], \"shape_type\": \"mask\", \"mask\": \"{}\"}}]}}",
        png(image)
    );
    let mask = first_mask("a.json", &text).unwrap();
    assert_eq!((mask.left, mask.top, mask.runs), (4, 5, vec![1..2, 3..4]));
}

#[test]
fn names_from_addresses_are_decoded() {
    let text = "[{\"data\": {\"image\": \"a%20b%+5%.png\"}, \"annotations\": [{\"result\": []}]}]";
    assert_eq!(opened("a.json", text).unwrap().images[0].name, "a b%+5%.png");
}

#[test]
fn coordinate_reference_systems_are_those_of_the_whole() {
    let degrees = "GEOGCS[\"WGS 84\",UNIT[\"degree\",0.01],AUTHORITY[\"EPSG\",\"4326\"]]";
    let unit = "UNIT[\"metre\",1,AUTHORITY[\"EPSG\",\"9001\"]]";
    let projected = |name: &str, more: &str| {
        epsg_of_wkt(&format!("PROJCS[\"{name}\",{degrees},PROJECTION[\"Transverse_Mercator\"],{unit}{more}]\n"))
    };
    let whole = ",AUTHORITY[\"EPSG\",\"32633\"]";
    assert_eq!(projected("WGS 84 / UTM zone 33N", whole), ReferenceSystem::Epsg(32633));
    assert_eq!(projected("site grid", ""), ReferenceSystem::Unknown);
    assert_eq!(projected("site grid", ",AUTHORITY[\"ESRI\",\"102001\"]"), ReferenceSystem::Unknown);
    // Its name tells.
    assert_eq!(projected("WGS_1984_UTM_Zone_33N", ""), ReferenceSystem::Epsg(32633));
    assert_eq!(epsg_of_wkt(degrees), ReferenceSystem::Epsg(4326));
    let newer = "PROJCRS[\"x\",BASEGEOGCRS[\"y\",ID[\"EPSG\",4326]],LENGTHUNIT[\"metre\",1]";
    assert_eq!(epsg_of_wkt(&format!("{newer},ID[\"EPSG\",25832]]")), ReferenceSystem::Epsg(25832));
    assert_eq!(epsg_of_wkt(&format!("{newer}]")), ReferenceSystem::Unknown);
}

#[test]
fn yolo_needs_the_names_of_its_classes() {
    assert_refused!(opened("a.txt", "0 0.1 0.1 0.5 0.5 0.1 0.5\n"), "a.txt", "no data.yaml");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    let with_names = |names: &str, text: &str| {
        fs::write(folder.path().join("data.yaml"), names).unwrap();
        fs::write(&path, text).unwrap();
        open(&path)
    };
    assert_refused!(with_names("names: [a]", "0 0.1 0.1 0.5 0.5\n"), "line 1", "a box, not an outline");
    assert_refused!(with_names("names: [a]", "1 0.1 0.1 0.5 0.5 0.1 0.5\n"), "class 1 has no name", "names 1 classes");
    assert_refused!(with_names("names: {0: a, 2: b}", "0 0.1 0.1 0.5 0.5 0.1 0.5\n"), "data.yaml", "2 classes");
    assert_refused!(with_names("nc: 1", "0 0.1 0.1 0.5 0.5 0.1 0.5\n"), "data.yaml", "`names`");
    let found = with_names("names: [a, b]", "1 0.1 0.1 0.5 0.5 0.1 0.5\n\n").unwrap();
    assert_eq!((found.format, &found.classes[..]), (Format::Yolo, &["a".to_owned(), "b".to_owned()][..]));
    assert!(matches!(found.images[0].shapes[0].geometry, Geometry::Polygon(_)));
}

#[test]
fn a_file_that_changes_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("via.json");
    let of = |names: &[&str]| {
        let region = "{\"shape_attributes\": {\"name\": \"rect\", \"x\": 0, \"y\": 0, \"width\": 2, \"height\": 2}, \
                      \"region_attributes\": {\"class\": \"x\"}}";
        let image = |name: &&str| format!("\"{name}\": {{\"filename\": \"{name}\", \"regions\": [{region}]}}");
        format!("{{{}}}", names.iter().map(image).collect::<Vec<_>>().join(", "))
    };
    fs::write(&path, of(&["a.png", "b.png"])).unwrap();
    assert_eq!(open(&path).unwrap().images.len(), 2);
    fs::write(&path, of(&["a.png", "b.png", "c.png"])).unwrap();
    let later = fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(3);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    let found = open(&path).unwrap();
    assert_eq!(found.images.len(), 3);
    assert!(found.image("c.png").is_ok());
    assert_refused!(found.image("d.png"), "via.json", "names no image 'd.png'");
}
