//! Features of pixels equal torchvision's at every tap, and do not depend on how an image is gone over.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use segtool::base::Size;
use segtool::data::{Dataset, Normalisation, ValidPixels};
use segtool::image::{Image, Samples};
use segtool::nn::model::{
    Dilation, FeatureEncoder, FeatureEncoderConfig, ResNetFeaturesConfig, Stem, Style, Tap, Variant, VggConfig,
    collect, replace,
};
use segtool::pixels::hypercolumn::{FeatureCache, HypercolumnConfig, Hypercolumns, PreparedImage, Window};
use serde::Deserialize;
use tempfile::tempdir;

use crate::common::references::{numbers, weight as network_weight};
use crate::common::{devices, fixture, fixture_path, floats, metadata, relative_error};

/// Sums of float32 in another order.
const TOLERANCE: f32 = 1e-4;

/// What the generator says of its file.
#[derive(Debug, Deserialize)]
struct Goldens {
    steps: Steps,
    cases: BTreeMap<String, Case>,
    columns: BTreeMap<String, Columns>,
    shapes: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug, Deserialize)]
struct Steps {
    taps: usize,
    columns: usize,
}

#[derive(Debug, Deserialize)]
struct Case {
    sizes: Vec<[usize; 2]>,
    taps: Vec<Tap>,
}

#[derive(Debug, Deserialize)]
struct Columns {
    taps: Vec<Tap>,
    scales: Vec<usize>,
    sizes: Vec<[usize; 2]>,
}

fn goldens() -> Goldens {
    serde_json::from_str(&metadata(&fixture_path("features.safetensors"), "features")).unwrap()
}

/// The encoder of a case.
fn encoder(case: &str) -> FeatureEncoderConfig {
    let residual = |variant, dilation| {
        FeatureEncoderConfig::Resnet(ResNetFeaturesConfig { dilation, ..ResNetFeaturesConfig::new(variant) })
    };
    match case {
        "vgg16" => FeatureEncoderConfig::Vgg16(VggConfig { batch_norm: false }),
        "vgg16_bn" => FeatureEncoderConfig::Vgg16(VggConfig { batch_norm: true }),
        "resnet18" => residual(Variant::Resnet18, Dilation::None),
        "resnet50" => residual(Variant::Resnet50, Dilation::None),
        "resnet50_dilated" => residual(Variant::Resnet50, Dilation::AfterStride),
        "resnet18_timm_dilated" => residual(Variant::Resnet18, Dilation::AfterStride),
        "caffe" => FeatureEncoderConfig::Resnet(ResNetFeaturesConfig {
            style: Style::Caffe,
            ..ResNetFeaturesConfig::new(Variant::Resnet50)
        }),
        "deep" => FeatureEncoderConfig::Resnet(ResNetFeaturesConfig {
            stem: Stem::Deep,
            dilation: Dilation::Stage4,
            ..ResNetFeaturesConfig::new(Variant::Resnet18)
        }),
        "throughout" => residual(Variant::Resnet50, Dilation::Throughout),
        _ => panic!("{case}"),
    }
}

/// `weight` of the generator.
fn weight(name: &str, shape: Vec<usize>) -> TensorData {
    if shape.len() == 4 || name.ends_with("running_var") {
        return network_weight(name, shape);
    }
    let first = if name.ends_with("weight") { 0.75 } else { 0.0 };
    let values: Vec<f32> = numbers(name, shape.iter().product()).into_iter().map(|v| first + v / 4.0).collect();
    TensorData::new(values, shape)
}

fn built(config: &FeatureEncoderConfig, taps: &[Tap], device: &Device) -> FeatureEncoder {
    let encoder = config.init(3, taps, 0, device).unwrap();
    let values: BTreeMap<String, TensorData> =
        collect(&encoder).into_iter().map(|p| (p.name.clone(), weight(&p.name, p.data.shape().to_vec()))).collect();
    replace(encoder, |name| values.get(name).cloned())
}

fn numbers_of_image([height, width]: [usize; 2]) -> Vec<f32> {
    numbers("input", 3 * height * width).into_iter().map(|v| v * 1.7).collect()
}

#[test]
fn taps_equal_torchvisions() {
    let (goldens, file) = (goldens(), fixture("features.safetensors"));
    for (name, case) in &goldens.cases {
        let config = encoder(name);
        for (choice, device) in devices() {
            let plain = built(&config, &case.taps, &device);
            // Looked at on its own, a ReLU or pooling has its batch norm in the convolution.
            let convolutions = |tap: &&Tap| !matches!(tap, Tap::Conv(..));
            let others: Vec<Tap> = case.taps.iter().filter(convolutions).copied().collect();
            let folded = built(&config, &others, &device).folded(&others);
            for [height, width] in &case.sizes {
                let data = TensorData::new(numbers_of_image([*height, *width]), [1, 3, *height, *width]);
                let image = Tensor::<4>::from_data(data, &device);
                for (encoder, taps) in [(&plain, &case.taps), (&folded, &others)] {
                    for (tap, seen) in taps.iter().zip(encoder.forward(image.clone(), taps)) {
                        let key = format!("{name}.{height}x{width}.{tap}");
                        assert_eq!(seen.dims()[1..], goldens.shapes[&key], "{key}");
                        let found = floats(&seen.into_data()).into_iter().step_by(goldens.steps.taps);
                        let error = relative_error(&found.collect::<Vec<_>>(), &floats(&file[&key]));
                        assert!(error < TOLERANCE, "{key} on {choice}: {error:e}");
                    }
                }
            }
        }
    }
}

/// A data set whose images are taken as they are.
fn as_it_is() -> Dataset {
    let valid = ValidPixels::All;
    let normalisation = Normalisation::Fixed { mean: vec![0.0; 3], std: vec![1.0; 3], valid };
    Dataset { normalisation, ..Dataset::find("core").unwrap() }
}

fn raster([height, width]: [usize; 2]) -> Image {
    let planes = numbers_of_image([height, width]);
    let samples = (0..height * width).flat_map(|i| [0, 1, 2].map(|band| planes[band * height * width + i])).collect();
    Image::new(Size { width, height }, 3, Samples::F32(samples))
}

fn hypercolumns(config: &HypercolumnConfig, device: &Device) -> Hypercolumns {
    let encoder = built(&config.encoder, &config.taps, device);
    Hypercolumns::new(config.clone(), encoder, 3, device.clone()).unwrap()
}

/// All features of an image, `[features, height, width]`, in windows.
fn features(hypercolumns: &Hypercolumns, raster: &Image, side: Option<usize>) -> Vec<f32> {
    let (name, dataset) = (Path::new("image"), as_it_is());
    let image = PreparedImage::new(name, raster, &dataset).unwrap();
    let layout = hypercolumns.layout(raster.size);
    let pixels = raster.size.width * raster.size.height;
    let mut all = vec![f32::NAN; hypercolumns.features() * pixels];
    for window in side.map_or_else(|| vec![Window::whole(raster.size)], |side| layout.windows(Some(side))) {
        let seen = hypercolumns.see(&image, &layout, &window).unwrap();
        let mut block = vec![f32::NAN; hypercolumns.features() * window.pixels()];
        seen.fill(window.rows.clone(), window.columns.clone(), &mut block, window.pixels());
        for (plane, part) in all.chunks_exact_mut(pixels).zip(block.chunks_exact(window.pixels())) {
            for (y, row) in window.rows.clone().zip(part.chunks_exact(window.columns.len())) {
                let start = y * raster.size.width + window.columns.start;
                plane[start..start + row.len()].copy_from_slice(row);
            }
        }
    }
    all
}

#[test]
fn hypercolumns_equal_pytorchs() {
    let (goldens, file) = (goldens(), fixture("features.safetensors"));
    for (name, columns) in &goldens.columns {
        let config =
            HypercolumnConfig { encoder: encoder("vgg16"), taps: columns.taps.clone(), scales: columns.scales.clone() };
        for (choice, device) in devices() {
            let hypercolumns = hypercolumns(&config, &device);
            for [height, width] in &columns.sizes {
                let key = format!("{name}.{height}x{width}");
                let raster = raster([*height, *width]);
                for side in [None, Some(32)] {
                    let all = features(&hypercolumns, &raster, side);
                    assert_eq!(all.len(), goldens.shapes[&key].iter().product::<usize>(), "{key}");
                    let found: Vec<f32> = all.into_iter().step_by(goldens.steps.columns).collect();
                    let error = relative_error(&found, &floats(&file[&key]));
                    assert!(error < TOLERANCE, "{key} in windows of {side:?} on {choice}: {error:e}");
                }
            }
        }
    }
}

fn taps(names: &str) -> Vec<Tap> {
    names.split(',').map(|name| name.parse().unwrap()).collect()
}

/// Deep taps, dilation, odd sizes and several scales: what lies beyond a window matters to all of them.
#[test]
fn windows_change_nothing() {
    for (case, names, scales, size, side) in [
        ("vgg16", "pool1,pool2", vec![1], [53, 200], 64),
        ("vgg16", "colors,conv1_1,relu3_1,pool4", vec![1, 2, 3], [101, 150], 40),
        ("resnet18", "stem,layer1,layer2,layer3", vec![1, 2], [77, 190], 50),
        ("resnet50_dilated", "layer3", vec![1], [60, 300], 70),
        ("caffe", "layer2", vec![1], [20, 500], 24),
        ("deep", "stem,layer1,layer3", vec![1], [30, 400], 37),
        ("throughout", "layer3", vec![1], [30, 400], 60),
    ] {
        let config = HypercolumnConfig { encoder: encoder(case), taps: taps(names), scales };
        for (choice, device) in devices() {
            let hypercolumns = hypercolumns(&config, &device);
            let raster = raster(size);
            let (whole, parts) = (features(&hypercolumns, &raster, None), features(&hypercolumns, &raster, Some(side)));
            let error = relative_error(&parts, &whole);
            println!("{case} {names} on {choice}: {error:e}");
            assert!(error < 1e-5, "{case} {names} on {choice}: {error:e}");
        }
    }
}

#[test]
fn single_pixels_have_the_features_of_blocks() {
    let device = Device::flex();
    let config = HypercolumnConfig { encoder: encoder("vgg16"), taps: taps("colors,pool1,pool2"), scales: vec![1, 2] };
    let (hypercolumns, raster, dataset) = (hypercolumns(&config, &device), raster([41, 67]), as_it_is());
    let image = PreparedImage::new(Path::new("image"), &raster, &dataset).unwrap();
    let layout = hypercolumns.layout(raster.size);
    let window = Window { rows: 8..41, columns: 16..60 };
    let seen = hypercolumns.see(&image, &layout, &window).unwrap();
    let (features, pixels) = (hypercolumns.features(), window.pixels());
    let mut block = vec![0.0; features * pixels];
    seen.fill(window.rows.clone(), window.columns.clone(), &mut block, pixels);
    let wanted = [[8, 16], [40, 59], [23, 31], [39, 16]];
    let mut picked = vec![0.0; features * 6];
    let places: Vec<([usize; 2], usize)> = wanted.into_iter().zip([5, 0, 3, 1]).collect();
    seen.pick(&places, &mut picked, 6);
    let mut alone = vec![0.0; pixels];
    for ([y, x], to) in places {
        let place = (y - 8) * window.columns.len() + x - 16;
        for feature in 0..features {
            assert_eq!(picked[feature * 6 + to], block[feature * pixels + place]);
        }
    }
    for feature in [0, 3, 100, features - 1] {
        seen.fill_one(feature, window.rows.clone(), window.columns.clone(), &mut alone);
        assert_eq!(alone, block[feature * pixels..(feature + 1) * pixels]);
    }
}

#[test]
fn stored_features_are_those_that_were_computed_and_damaged_ones_are_computed_anew() {
    let device = Device::flex();
    let folder = tempdir().unwrap();
    // Where there is no such file: features are of the image that is given.
    let file = folder.path().join("image.png");
    let config = HypercolumnConfig { encoder: encoder("vgg16"), taps: taps("pool1,pool2"), scales: vec![1] };
    let (hypercolumns, raster, dataset) = (hypercolumns(&config, &device), raster([40, 50]), as_it_is());
    let image = PreparedImage::new(&file, &raster, &dataset).unwrap();
    let (layout, window) = (hypercolumns.layout(raster.size), Window::whole(raster.size));
    let cache = FeatureCache::open(&folder.path().join("cache")).unwrap();
    let all = |hypercolumns: &Hypercolumns, image: &PreparedImage<'_>| {
        let stored = cache.image(hypercolumns, image).unwrap();
        let seen = hypercolumns.recall(Some(&stored), image, &layout, &window).unwrap();
        let mut block = vec![0.0; hypercolumns.features() * window.pixels()];
        seen.fill(window.rows.clone(), window.columns.clone(), &mut block, window.pixels());
        block
    };
    let first = all(&hypercolumns, &image);
    let below = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    let images = below(&folder.path().join("cache"));
    let files = below(&images[0]);
    assert_eq!((images.len(), files.len()), (1, 1));
    assert_eq!(all(&hypercolumns, &image), first);
    // It is read, not written again.
    let bytes = std::fs::read(&files[0]).unwrap();
    let written = std::fs::metadata(&files[0]).unwrap().modified().unwrap();
    assert_eq!(all(&hypercolumns, &image), first);
    assert_eq!(std::fs::metadata(&files[0]).unwrap().modified().unwrap(), written);
    // What a power failure, a full disk or a bad sector may leave.
    let (mut zeros, mut changed) = (bytes.clone(), bytes.clone());
    zeros[bytes.len() / 4..].fill(0);
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [&bytes[..bytes.len() / 2], &[], &zeros, &changed] {
        std::fs::write(&files[0], damaged).unwrap();
        assert_eq!(all(&hypercolumns, &image), first);
        assert_eq!(std::fs::read(&files[0]).unwrap(), bytes);
    }
    // Another normalisation, and other weights, have places of their own.
    let normalisation = Normalisation::Fixed { mean: vec![0.1; 3], std: vec![1.0; 3], valid: ValidPixels::All };
    let shifted = PreparedImage::new(&file, &raster, &Dataset { normalisation, ..as_it_is() }).unwrap();
    assert_ne!(all(&hypercolumns, &shifted), first);
    let other = encoder("vgg16").init(3, &config.taps, 1, &device).unwrap();
    let other = Hypercolumns::new(config, other, 3, device).unwrap();
    assert_ne!(all(&other, &image), first);
    // So have other samples of an image of that name, such as its bands in another order.
    let Samples::F32(mut samples) = raster.samples.clone() else { panic!("floats") };
    samples.chunks_exact_mut(3).for_each(<[f32]>::reverse);
    let reversed = Image { samples: Samples::F32(samples), ..raster.clone() };
    let reversed = PreparedImage::new(&file, &reversed, &dataset).unwrap();
    assert_ne!(all(&hypercolumns, &reversed), first);
    assert_eq!(below(&folder.path().join("cache")).len(), 4);
}
