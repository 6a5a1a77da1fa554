//! Scenes in sliding windows: what must hold of any network, and that rows read one after the other give what the whole
//! image gives.

use std::fs;
use std::path::{Path, PathBuf};

use segtool::base::Size;
use segtool::data::{Dataset, Normalisation, ValidPixels};
use segtool::image::{Image, Samples, read_label_npy, read_probability_npy};
use segtool::nn::activation::Rule;
use segtool::nn::device::{DeviceChoice, library_memory};
use segtool::predict::{Blend, Choices, Options, Outputs, Prediction, Predictor, Procedure, Target, Wanted};
use segtool::recipe::NetworkRecipe;
use tiff::encoder::colortype::{Gray16, RGB16};
use tiff::encoder::{Compression, TiffEncoder};

use crate::common::{devices, segtool, small_data, small_recipe, stdout_of, text};

const TILE: usize = 96;
/// Half of it, 24 pixels, is more than this network sees around a pixel.
const OVERLAP: usize = 48;
const STRIDE: usize = TILE - OVERLAP;
/// Multiples of 4, as the network takes them: others are padded, which moves the cells that it pools.
const SIZE: Size = Size { width: 172, height: 140 };
const WIDE: Size = Size { width: 330, height: 100 };

const RECIPE: &str = r#"
name = "small"
dataset = "seeps"
[network]
architecture = "unet-milesial"
width = 3
depth = 3
[training]
epochs = 1
batch_size = 1
learning_rate = 0.05
optimizer = { kind = "adam" }
schedule = { kind = "poly", power = 0.9 }
loss = [{ kind = "cross-entropy" }]
"#;

/// An untrained network of two halvings, whose layers do the same everywhere (bilinear enlargement with aligned corners does
/// not), for images of `bands` bands.
fn predictor(choice: DeviceChoice, bands: usize, normalisation: Normalisation) -> Predictor {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("small.toml");
    fs::write(&recipe, RECIPE.replace("depth = 3", &format!("depth = 3\nbands = {bands}\noutputs = 8"))).unwrap();
    let config = NetworkRecipe::find(recipe.to_str().unwrap()).unwrap().network;
    let device = choice.open().unwrap();
    let dataset = Dataset { bands, normalisation, ..Dataset::find("seeps").unwrap() };
    let network = config.init(7, &device).unwrap();
    Predictor::from_network(config, network, dataset, Rule::MostProbable, choice).unwrap()
}

fn fixed(bands: usize) -> Normalisation {
    Normalisation::Fixed { mean: vec![0.3; bands], std: vec![0.2; bands], valid: ValidPixels::All }
}

fn options(overlap: Option<usize>, blend: Option<Blend>, flip: bool) -> Options {
    let tile = overlap.map(|_| TILE);
    let procedure = Procedure::new(&Choices { tile, overlap, blend, flip, ..Choices::default() }).unwrap();
    Options { procedure, wanted: Wanted { highest: true, all: true }, batch_size: 3, ..Options::default() }
}

fn sample(x: usize, y: usize) -> u16 {
    ((x * x / 5 + 3 * y + x * y % 97) * 211 % 60_000 + 1) as u16
}

fn made(size: Size, bands: usize, left: usize) -> Image {
    let pixels = (0..size.width * size.height).map(|i| (i % size.width + left, i / size.width));
    let samples = pixels.flat_map(|(x, y)| (0..bands).map(move |band| sample(x + 31 * band, y)));
    Image::new(size, bands, Samples::U16(samples.collect()))
}

fn predicted(predictor: &Predictor, image: Image, options: &Options) -> Prediction {
    predictor.predict_with(Path::new("scene"), image, options).unwrap()
}

/// Largest difference between the probabilities of two predictions at pixels of the first that `pixel` maps to those of the
/// second.
fn difference(a: &Prediction, b: &Prediction, pixel: impl Fn(usize, usize) -> Option<(usize, usize)>) -> f32 {
    let [one, other] = [a, b].map(|prediction| prediction.probabilities.as_ref().unwrap());
    let (size, second) = (a.size(), b.size());
    let mut largest = 0.0f32;
    for (i, value) in one.iter().enumerate() {
        let (class, at) = (i / (size.width * size.height), i % (size.width * size.height));
        if let Some((x, y)) = pixel(at % size.width, at / size.width) {
            largest = largest.max((value - other[(class * second.height + y) * second.width + x]).abs());
        }
    }
    largest
}

#[test]
fn a_constant_scene_gives_a_constant_result() {
    let image = Image::new(SIZE, 1, Samples::U16(vec![20_000; SIZE.width * SIZE.height]));
    for (choice, _) in devices() {
        let predictor = predictor(choice, 1, fixed(1));
        let result = predicted(&predictor, image.clone(), &options(Some(OVERLAP), Some(Blend::Crop), false));
        let all = result.probabilities.unwrap();
        for plane in all.chunks(SIZE.width * SIZE.height) {
            assert!(plane.iter().all(|p| (p - plane[0]).abs() < 1e-5), "{choice}");
        }
        // Untiled, zeros around the image show.
        let whole = predicted(&predictor, image.clone(), &options(None, None, false)).probabilities.unwrap();
        let varies = |plane: &[f32]| plane.iter().any(|p| (p - plane[0]).abs() > 1e-4);
        assert!(whole.chunks(SIZE.width * SIZE.height).any(varies));
    }
}

#[test]
fn where_the_field_of_view_fits_in_the_overlap_windows_change_nothing_but_the_border() {
    let margin = OVERLAP / 2;
    let inside = |x: usize, y: usize| {
        let inside = (margin..SIZE.width - margin).contains(&x) && (margin..SIZE.height - margin).contains(&y);
        inside.then_some((x, y))
    };
    for (choice, _) in devices() {
        let predictor = predictor(choice, 1, fixed(1));
        let whole = predicted(&predictor, made(SIZE, 1, 0), &options(None, None, false));
        for blend in [Blend::Crop, Blend::Gaussian, Blend::Linear, Blend::Average] {
            let tiled = predicted(&predictor, made(SIZE, 1, 0), &options(Some(OVERLAP), Some(blend), false));
            let found = difference(&whole, &tiled, inside);
            // The edges of windows count unless they are cut off.
            let exact = blend == Blend::Crop;
            assert!(if exact { found < 1e-5 } else { found < 0.2 }, "{choice} {blend}: {found}");
        }
    }
}

#[test]
fn a_shift_by_a_whole_stride_changes_nothing_but_the_border() {
    let predictor = predictor(DeviceChoice::Flex, 1, fixed(1));
    for blend in [Blend::Crop, Blend::Gaussian, Blend::Linear, Blend::Average] {
        let options = options(Some(OVERLAP), Some(blend), true);
        let [one, other] = [0, STRIDE].map(|left| predicted(&predictor, made(WIDE, 1, left), &options));
        let found =
            difference(&one, &other, |x, y| (TILE + STRIDE..WIDE.width - TILE).contains(&x).then(|| (x - STRIDE, y)));
        assert!(found < 1e-6, "{blend}: {found}");
    }
}

#[test]
fn windows_say_the_same_in_any_batch() {
    let predictor = predictor(DeviceChoice::Flex, 1, fixed(1));
    let whole = options(Some(OVERLAP), None, true);
    let of = |batch_size| predicted(&predictor, made(SIZE, 1, 0), &Options { batch_size, ..whole.clone() });
    let one = of(1);
    for batch_size in [2, 3, 8] {
        assert!(difference(&one, &of(batch_size), |x, y| Some((x, y))) < 1e-6, "{batch_size}");
    }
}

/// Writes an image as a TIFF of strips of five rows, with a nodata value.
fn write(path: &Path, image: &Image, nodata: Option<u16>) {
    let Samples::U16(samples) = &image.samples else { panic!("16 bits") };
    let file = fs::File::create(path).unwrap();
    let mut encoder = TiffEncoder::new(file).unwrap().with_compression(Compression::Lzw);
    let Size { width, height } = image.size;
    macro_rules! write {
        ($kind:ty) => {{
            let mut page = encoder.new_image::<$kind>(width as u32, height as u32).unwrap();
            page.rows_per_strip(5).unwrap();
            if let Some(nodata) = nodata {
                let tag = tiff::tags::Tag::from_u16_exhaustive(42113);
                page.encoder().write_tag(tag, nodata.to_string().as_str()).unwrap();
            }
            page.write_data(samples).unwrap();
        }};
    }
    if image.bands == 3 { write!(RGB16) } else { write!(Gray16) }
}

fn files(predictor: &Predictor, inputs: &[PathBuf], folder: &Path, options: &Options, whole: bool) -> Vec<Vec<u8>> {
    let formats = Some("npy,tiff".parse().unwrap());
    // Images in colours are made of whole label maps.
    let outputs = Outputs { formats, prob: true, prob_all: true, color: whole, ..Outputs::default() };
    let summary = predictor.predict_files(inputs, &Target::new(folder), &outputs, options, &|_| ()).unwrap();
    assert_eq!((summary.written.len(), summary.skipped), (inputs.len(), 0));
    let stems = inputs.iter().map(|input| input.file_stem().unwrap().to_string_lossy().into_owned());
    let names = stems.flat_map(|stem| [".npy", ".tif", "_prob.npy", "_probs.npy"].map(|end| format!("{stem}{end}")));
    names.map(|name| fs::read(folder.join(name)).unwrap()).collect()
}

#[test]
fn rows_read_one_after_the_other_give_what_the_whole_image_gives() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut image = made(SIZE, 3, 0);
    if let Samples::U16(samples) = &mut image.samples {
        samples[3 * 5000..3 * 5400].fill(9);
    }
    write(&at("a.tif"), &image, Some(9));
    // Smaller than a window, in between.
    write(&at("b.tif"), &made(Size { width: 50, height: 40 }, 3, 0), None);
    write(&at("c.tif"), &image, None);
    let inputs = ["a.tif", "b.tif", "c.tif"].map(at);
    let per_image = Normalisation::PerImage { valid: ValidPixels::All };
    for (i, normalisation) in [fixed(3), per_image].into_iter().enumerate() {
        let predictor = predictor(DeviceChoice::Flex, 3, normalisation);
        let averaged = Procedure::new(&Choices { tile: Some(TILE), ..Choices::default() }).unwrap();
        let blends = [Blend::Crop, Blend::Gaussian, Blend::Linear, Blend::Average].map(Some);
        let all = blends.into_iter().flat_map(|blend| [false, true].map(|flip| options(Some(24), blend, flip)));
        for (j, options) in all.chain([Options { procedure: averaged, ..options(None, None, false) }]).enumerate() {
            let [rows, whole] =
                [false, true].map(|whole| files(&predictor, &inputs, &at(&format!("{i}{j}{whole}")), &options, whole));
            assert!(rows == whole, "{i} {}", options.procedure);
        }
    }
    let (size, values) = read_label_npy(&at("00false/a.npy")).unwrap();
    let unlabelled = Dataset::find("seeps").unwrap().unlabelled_value();
    let left_out: Vec<usize> = (0..values.len()).filter(|i| values[*i] == unlabelled).collect();
    assert_eq!((size, left_out), (SIZE, (5000..5400).collect()));
    assert_eq!(read_probability_npy(&at("00false/a_prob.npy")).unwrap().1[5000], 0.0);
}

#[test]
fn bands_are_chosen_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let predictor = predictor(DeviceChoice::Flex, 2, fixed(2));
    let whole = predicted(&predictor, made(SIZE, 2, 0), &options(None, None, false));
    let three = made(SIZE, 3, 0);
    let chosen = Options { bands: Some(vec![1, 2]), ..options(None, None, false) };
    assert_eq!(difference(&whole, &predicted(&predictor, three.clone(), &chosen), |x, y| Some((x, y))), 0.0);
    let turned = Options { bands: Some(vec![2, 1]), ..chosen.clone() };
    assert!(difference(&whole, &predicted(&predictor, three.clone(), &turned), |x, y| Some((x, y))) > 1e-3);
    // The same some rows at a time.
    let input = folder.path().join("a.tif");
    write(&input, &three, None);
    let rows = Options { bands: Some(vec![1, 2]), ..options(Some(OVERLAP), None, false) };
    let [rows, whole] = [false, true].map(|whole| {
        files(&predictor, std::slice::from_ref(&input), &folder.path().join(format!("{whole}")), &rows, whole)
    });
    assert!(rows == whole);
    let none = Options { bands: Some(vec![1, 4]), ..chosen };
    let refusal = predictor.predict_with(Path::new("a.tif"), three, &none).unwrap_err().to_string();
    assert!(refusal.contains("from 1 to 3, the bands of a.tif"), "{refusal}");
}

#[test]
fn the_command_says_what_it_does_and_what_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    small_data(folder.path());
    let recipe = small_recipe(folder.path(), 1);
    let [images, labels, run] = ["data/images", "data/labels", "run"].map(|name| text(&at(name)));
    let train = ["train", "--recipe", &recipe, "--images", &images, "--labels", &labels, "--output-path", &run];
    stdout_of(&[&train[..], &["--device", "flex"]].concat());
    let large = Size { width: 300, height: 200 };
    write(&at("scene.tif"), &made(large, 1, 0), None);
    let predict =
        |more: &[&str]| segtool("predict").arg("--run", &run).arg("--device", "flex").args(more).file(at("scene.tif"));
    let out = text(&at("out"));
    let said = predict(&["--tile", "50", "--overlap", "10", "--output-path", &out]).says();
    assert!(said.contains("instead of 50 and 10: this network takes multiples of"), "{said}");
    // What the libraries of this build occupy is no room for windows.
    let auto = |mebibytes: u64| {
        let (memory, output) = (library_memory() + (mebibytes << 20), text(&at(&format!("auto{mebibytes}"))));
        predict(&["--tile", "auto", "--memory", &memory.to_string(), "--output-path", &output])
    };
    let side = |mebibytes| {
        let said = auto(mebibytes).says();
        let side = said.split_once("(--tile ").and_then(|(_, after)| after.split_once(')'));
        side.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap()
    };
    let sides: [usize; 3] = [420, 105, 50].map(side);
    assert!(sides[0] == 512 && sides.is_sorted_by(|larger, smaller| larger > smaller), "{sides:?}");
    let said = auto(20).fails_with(1);
    assert!(said.contains("(--tile 64)") && said.contains("--memory"), "{said}");
    for (options, code, reason) in [
        (&["--overlap", "10"][..], 2, "--tile"),
        (&["--tile", "64", "--overlap", "40"], 2, "from 0 to 32"),
        (&["--tile", "64", "--blend", "crop"], 2, "--overlap"),
        (&["--tile", "64", "--overlap", "8", "--stride", "8"], 2, "--stride"),
        (&["--tile", "64", "--blend", "mean", "--overlap", "8"], 2, "gaussian, linear, average or crop"),
        (&["--tile", "all"], 2, "auto"),
        (&["--prob-dtype", "uint8", "--format", "tiff"], 2, "--prob-all"),
        (&["--prob-dtype", "uint8", "--prob", "--format", "npy"], 2, "tiff in --format"),
        (&["--npy-dtype", "int64", "--format", "tiff"], 2, "--format leaves out"),
        (&["--bands", "2"], 1, "numbers from 1 to 1"),
        (&["--bands", "0"], 2, "at least 1"),
        (&["--tile", "64", "--memory", "20MiB"], 1, "--memory"),
    ] {
        let output = text(&at("refused"));
        let options = [options, &["--output-path", &output]].concat();
        let said = predict(&options).fails_with(code);
        assert!(said.contains(reason), "{options:?}: {said}");
    }
}

#[test]
fn a_free_folder_is_found_for_images_of_one_name_in_several_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let inputs = ["in/a/x.tif", "in/b/x.tif"].map(at);
    for input in &inputs {
        fs::create_dir_all(input.parent().unwrap()).unwrap();
        write(input, &made(Size { width: 20, height: 20 }, 1, 0), None);
    }
    let predictor = predictor(DeviceChoice::Flex, 1, fixed(1));
    let (base, roots) = (at("out"), [at("in")]);
    let target = Target { roots: &roots, ..Target::new(&base) };
    let free = |target: &Target<'_>| {
        predictor.free_folder(target, &inputs, &Outputs::default(), &Options::default()).map_err(|e| e.to_string())
    };
    assert_eq!(free(&target), Ok(base.clone()));
    assert!(free(&Target::new(&base)).unwrap_err().contains("x.npy"));
}

#[test]
fn a_scene_that_is_cut_off_leaves_nothing_and_the_others_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a.tif", "b.tif", "c.tif"] {
        write(&at(name), &made(SIZE, 1, 0), None);
    }
    // The strips come before the directory: one in the middle becomes unreadable.
    let mut bytes = fs::read(at("b.tif")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0xff);
    fs::write(at("b.tif"), bytes).unwrap();
    let predictor = predictor(DeviceChoice::Flex, 1, fixed(1));
    let inputs = ["a.tif", "b.tif", "c.tif"].map(at);
    let output = at("out");
    let outputs = Outputs { formats: Some("npy,tiff".parse().unwrap()), prob: true, ..Outputs::default() };
    let options = options(Some(OVERLAP), None, false);
    let summary = predictor.predict_files(&inputs, &Target::new(&output), &outputs, &options, &|_| ()).unwrap();
    assert_eq!((summary.written.len(), summary.skipped), (2, 1));
    let mut names: Vec<String> =
        fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with('b') || name.ends_with(".tmp"));
    assert!(names.is_empty(), "{names:?}");
}
