//! `segtool info --recipe`: published parameter counts, counts by hand, and shapes as they really are.

use burn::tensor::Tensor;
use segtool::base::Size;
use segtool::nn::cost::{Summary, inference_memory, summarise};
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{
    C1Config, DecoderConfig, EncoderDecoderConfig, Enlargement, NetworkConfig, PyramidConfig, ResNetConfig, UnetConfig,
    Variant, collect, shapes,
};
use segtool::nn::ops::dry;
use segtool::recipe::NetworkRecipe;
use serde_json::Value;

use crate::common::{stderr_of, stdout_of};

fn square(side: usize) -> Size {
    Size { width: side, height: side }
}

fn of(config: &NetworkConfig, side: usize) -> Summary {
    summarise(config, square(side), DeviceChoice::Flex).unwrap()
}

fn recipe(name: &str, classes: Option<usize>) -> NetworkConfig {
    NetworkRecipe::find(name).unwrap().fitted_network(classes).unwrap()
}

/// Parameters of the layers whose names begin so.
fn parameters(summary: &Summary, prefix: &str) -> u64 {
    summary.layers.iter().filter(|layer| layer.name.starts_with(prefix)).map(|layer| layer.parameters).sum()
}

#[test]
fn parameters_are_as_published() {
    // CSAIL/semantic-segmentation-pytorch: sums over `parameters()` of its modules.
    let csail = of(&recipe("mit-resnet50-ppm", Some(150)), 65);
    assert_eq!(parameters(&csail, "encoder."), 23_631_808);
    assert_eq!(parameters(&csail, "decoder."), 27_947_308);
    // torchvision's ResNet-34 without its last layer.
    let encoder = ResNetConfig::new(Variant::Resnet34);
    let network = EncoderDecoderConfig::new(encoder, DecoderConfig::C1(C1Config::default()), 3, 150);
    assert_eq!(parameters(&of(&NetworkConfig::EncoderDecoder(network), 65), "encoder."), 21_284_672);
    // torchvision's ResNet-50 without its last layer.
    let encoder = ResNetConfig::new(Variant::Resnet50);
    let network = EncoderDecoderConfig::new(encoder, DecoderConfig::Pyramid(PyramidConfig::default()), 3, 150);
    assert_eq!(parameters(&of(&NetworkConfig::EncoderDecoder(network), 65), "encoder."), 23_508_032);
    // hszhao/semseg's PSPNet-50 for ADE20K, with its second head.
    assert_eq!(of(&recipe("pspnet50-ade20k", Some(150)), 65).parameters, 49_180_908);
    // milesial/Pytorch-UNet for 2 classes.
    for (enlargement, published) in [(Enlargement::Transposed, 31_037_698), (Enlargement::Bilinear, 17_263_042)] {
        let config = UnetConfig { enlargement: Some(enlargement), ..UnetConfig::new(64, 5, 3, 2) };
        assert_eq!(of(&NetworkConfig::UnetMilesial(config), 32).parameters, published);
    }
}

#[test]
fn multiply_adds_equal_a_count_by_hand() {
    let config = UnetConfig::new(4, 2, 1, 3);
    let found = of(&NetworkConfig::UnetSeeps(config), 16);
    // Two 3x3 convolutions at each size, on the way back after joining 8 and 4 channels, and a 1x1 at the end.
    let full = 16 * 16 * (9 * (4 + 4 * 4) + 9 * (12 * 4 + 4 * 4) + 4 * 3);
    let half = 8 * 8 * 9 * (4 * 8 + 8 * 8);
    assert_eq!(found.multiply_adds, full + half);
    assert_eq!(found.layers.len(), 7);
    let outputs: Vec<_> = found.layers.iter().map(|layer| layer.output).collect();
    assert_eq!(outputs[..4], [[4, 16, 16], [4, 16, 16], [8, 8, 8], [8, 8, 8]]);
    assert_eq!(outputs[6], [3, 16, 16]);
    assert_eq!(found.layers[0].name, "dconv_down1.0");
}

#[test]
fn a_dry_run_ends_with_the_shape_of_a_real_one() {
    let device = DeviceChoice::Flex.open().unwrap();
    for name in NetworkRecipe::names() {
        let mut config = NetworkRecipe::find(name).unwrap();
        config.network.set_width(4);
        let config = config.fitted_network(None).unwrap();
        let (bands, outputs) = config.bands_and_outputs();
        // Needs mirroring and cropping in most networks.
        let [height, width] = [67, 51];
        let images = |batch| Tensor::<4>::zeros([batch, bands.unwrap(), height, width], &device);
        let real = config.init(0, &device).unwrap();
        let hollow = config.hollow(&device).unwrap();
        let (logits, record) = dry::record(|| hollow.forward(images(0)));
        assert_eq!(logits.dims(), [0, outputs.unwrap(), height, width], "{name}");
        assert_eq!(real.forward(images(1)).dims()[1..], logits.dims()[1..], "{name}");
        assert!(!record.layers.is_empty() && !record.events.is_empty());
        let names = |network| shapes(network).into_iter().map(|p| (p.name, p.shape)).collect::<Vec<_>>();
        assert_eq!(names(&real), names(&hollow), "{name}");
        let sizes: usize = collect(&real).iter().map(|p| p.data.num_elements()).sum();
        assert_eq!(sizes as u64, shapes(&hollow).iter().map(|p| p.count()).sum::<u64>(), "{name}");
    }
}

#[test]
fn all_layers_and_parameters_are_counted_in_every_recipe() {
    for name in NetworkRecipe::names() {
        let config = recipe(name, None);
        let found = of(&config, 96);
        let device = DeviceChoice::Flex.open().unwrap();
        let all = shapes(&config.hollow(&device).unwrap());
        let trained = all.iter().filter(|p| !p.name.contains(".running_")).map(|p| p.count()).sum::<u64>();
        assert_eq!(found.parameters, trained, "{name}");
        assert!(found.training.bytes(2) > found.inference.bytes(2), "{name}");
        // Nothing of a size is computed: ninety-six thousand pixels each way are no more work than ten.
        let large = inference_memory(&config, square(96_000), DeviceChoice::Flex).unwrap();
        let (small, ratio) = (inference_memory(&config, square(9_600), DeviceChoice::Flex).unwrap(), 100.0);
        let grown = large.parts(1).per_image as f64 / small.parts(1).per_image as f64;
        assert!((grown / ratio - 1.0).abs() < 0.02, "{name}: {grown}");
    }
}

#[test]
fn memory_by_the_batch_is_consistent() {
    let memory = inference_memory(&recipe("pspnet50-ade20k", None), square(473), DeviceChoice::Flex).unwrap();
    for batch in [1, 2, 7] {
        let parts = memory.parts(batch);
        assert_eq!(memory.bytes(batch), parts.fixed + batch as u64 * parts.per_image);
        assert_eq!(memory.images_within(memory.bytes(batch)), batch);
        assert_eq!(memory.images_within(memory.bytes(batch) - 1), batch - 1);
    }
    assert_eq!(memory.images_within(0), 0);
}

#[test]
fn wrong_sizes_are_refused() {
    let config = recipe("unet-demo", None);
    for side in [0, 1 << 21] {
        let message = summarise(&config, square(side), DeviceChoice::Flex).unwrap_err().to_string();
        assert!(message.contains(&side.to_string()), "{message}");
    }
}

#[test]
fn the_table_ends_with_the_totals() {
    let said = stdout_of(&["info", "--recipe", "unet-seeps", "--width", "4", "--size", "32x64", "--device", "flex"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("layer ") && lines[0].ends_with("multiply-adds"), "{said}");
    assert!(lines[1].starts_with("dconv_down1.0 ") && lines[1].contains("4 x 32 x 64"), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("total ")), "{said}");
    assert!(lines.last().unwrap().starts_with("training "), "{said}");
}

#[test]
fn json_is_one_object_with_the_totals() {
    let arguments =
        ["info", "--recipe", "mit-resnet50-ppm", "--size", "65", "--batch", "2", "--classes", "7", "--json"];
    let report: Value = serde_json::from_str(&stdout_of(&arguments)).unwrap();
    let expected = of(&recipe("mit-resnet50-ppm", Some(7)), 65);
    assert_eq!(report["parameters"], expected.parameters);
    assert_eq!(report["multiply_adds"], expected.multiply_adds);
    assert_eq!(report["batch"], 2);
    let layers = report["layers"].as_array().unwrap();
    let sum = |key: &str| layers.iter().map(|layer| layer[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("parameters"), expected.parameters);
    assert!(layers.iter().any(|layer| layer["training_only"] == true), "the second head is there");
    let memory = &report["memory"]["training"];
    let part = |key: &str| memory[key].as_u64().unwrap();
    assert_eq!(part("bytes"), part("fixed") + 2 * part("per_image"));
}

#[test]
fn wrong_arguments_are_refused() {
    let unknown = stderr_of(&["info", "--recipe", "unet-sheep"], 2);
    assert!(unknown.contains("unet-seeps"), "{unknown}");
    for size in ["0", "12x0", "x", "1000000000", "99999999999999999999", "3x4x5"] {
        stderr_of(&["info", "--recipe", "unet-demo", "--size", size], 2);
    }
    stderr_of(&["info", "--size", "64"], 2);
    stderr_of(&["info", "--recipe", "unet-demo", "--batch", "0"], 2);
    stderr_of(&["info", "--recipe", "unet-demo", "--width", "100000000"], 2);
}

/// What a process really held, against the estimate.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn memory_is_as_measured() {
    let cases: [&[&str]; 2] = [
        &["--recipe", "unet-seeps", "--width", "32", "--size", "160", "--batch", "2"],
        &["--recipe", "pspnet50-torchvision", "--width", "16", "--size", "193", "--batch", "2"],
    ];
    // Of flex, too, beside libtorch: what a process holds of it counts on every device.
    let devices = if cfg!(feature = "libtorch") { &["flex", "libtorch"][..] } else { &["flex"] };
    for &device in devices {
        for case in cases {
            let run = |what: &[&str]| -> Value {
                let arguments = [what, case, &["--device", device, "--json"]].concat();
                serde_json::from_str(&stdout_of(&arguments)).unwrap()
            };
            let estimated = &run(&["info"])["memory"];
            for (mode, key) in [("infer", "inference"), ("train", "training")] {
                let measured = run(&["bench", "--mode", mode, "--steps", "1"])["peak_memory"].as_f64().unwrap();
                let ratio = estimated[key]["bytes"].as_f64().unwrap() / measured;
                println!("{case:?} {mode} on {device}: {ratio:.3} of {:.0} MiB", measured / f64::from(1 << 20));
                assert!((0.8..1.2).contains(&ratio), "{case:?} {mode} on {device}: {ratio}");
            }
        }
    }
}
