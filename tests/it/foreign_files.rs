//! Weight files as people have them: any wrapper around the weights, odd things beside them, other networks under known
//! names, configurations that lie beside, and files of other kinds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::tensor::Dtype;
use segtool::nn::activation::Activation;
use segtool::nn::model::{DecoderConfig, Dilation, NetworkConfig, Variant};
use segtool::nn::ops::Interpolation;
use segtool::weights::{Checkpoint, Choice, Content, Names, Weights};
use tempfile::{TempDir, tempdir};
use zip::ZipArchive;

use crate::common::references::{Case, STEP, cases, weight};
use crate::common::tensors::{Raw, raw, torchvision, write};
use crate::common::{
    fixture, fixture_path, floats, read_tensors, relative_error, small_data, small_recipe, stderr_of, stdout_of, text,
};

/// What `import` says of a file that it must refuse; nothing is written.
fn refusal(folder: &TempDir, file: &Path, more: &[&str]) -> String {
    let output = text(&folder.path().join("refused.safetensors"));
    let said = stderr_of(&[&["import", &text(file), "--output", &output], more].concat(), 1);
    assert!(!Path::new(&output).exists(), "{said}");
    said
}

/// What `import` says of a file that it must take.
fn imported(folder: &TempDir, file: &Path, more: &[&str]) -> String {
    let output = text(&folder.path().join("own.safetensors"));
    stderr_of(&[&["import", &text(file), "--output", &output], more].concat(), 0)
}

/// The tensors of a case's project, under its names, with `prefix` before them.
fn tensors(case: &Case, prefix: &str) -> Vec<(String, Raw)> {
    let tensor = |(name, shape): &(String, Vec<usize>)| (format!("{prefix}{name}"), raw(&weight(name, shape.clone())));
    case.shapes.iter().map(tensor).collect()
}

fn network(weights: &Weights) -> segtool::nn::model::EncoderDecoderConfig {
    match weights.network().unwrap() {
        NetworkConfig::EncoderDecoder(config) => config.clone(),
        other => panic!("{other:?}"),
    }
}

/// The relative error of recognised weights on a case's first image.
fn error_of(weights: &Weights, case: &Case, name: &str) -> f32 {
    let device = Device::flex();
    let (network, _) = weights.load(weights.network().unwrap().hollow(&device).unwrap(), false).unwrap();
    let size = case.sizes[0];
    let output = floats(&network.forward(case.image("input", 1, size, &device)).into_data());
    let found: Vec<f32> = output.into_iter().step_by(STEP).collect();
    relative_error(&found, &floats(&fixture("networks.safetensors")[&format!("{name}.{}x{}", size[0], size[1])]))
}

/// A zip archive as PyTorch writes it: nothing is packed, and the records of zip64 are there, needed or not.
fn torch_zip(folder: &str, entries: &[(String, Vec<u8>, u32)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, sum) in entries {
        let (name, offset) = (format!("{folder}/{name}"), out.len() as u32);
        let mut about = [20u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
        about.extend([*sum, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat());
        about.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        out.extend([b"PK\x03\x04", &about[..], name.as_bytes(), bytes].concat());
        directory
            .extend([b"PK\x01\x02", &[20, 0][..], &about, &[0; 10], &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, size, count) = (out.len() as u64, directory.len() as u64, entries.len() as u64);
    let end = start + size;
    let numbers = |numbers: [u64; 4]| numbers.map(u64::to_le_bytes).concat();
    let record = [&44u64.to_le_bytes()[..], &[45, 0, 45, 0], &[0; 8], &numbers([count, count, size, start])].concat();
    let locator = [&[0; 4][..], &end.to_le_bytes(), &1u32.to_le_bytes()].concat();
    let counts = [0, 0, count as u16, count as u16].map(u16::to_le_bytes).concat();
    let places = [size as u32, start as u32].map(u32::to_le_bytes).concat();
    let records =
        [b"PK\x06\x06", &record[..], b"PK\x06\x07", &locator, b"PK\x05\x06", &counts, &places, &[0, 0]].concat();
    [out, directory, records].concat()
}

#[test]
fn the_length_of_a_files_name_does_not_matter() {
    let mut archive = ZipArchive::new(fs::File::open(fixture_path("unet_seeps_zip.pth")).unwrap()).unwrap();
    let entries: Vec<(String, Vec<u8>, u32)> = (0..archive.len())
        .map(|i| {
            let mut entry = archive.by_index(i).unwrap();
            let name = entry.name().unwrap().split_once('/').unwrap().1.to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes, entry.crc32())
        })
        .collect();
    let expected = fixture("unet_seeps_weights.safetensors");
    let folder = tempdir().unwrap();
    for length in 1..=40 {
        let stem = "n".repeat(length);
        let path = folder.path().join(format!("{stem}.pth"));
        fs::write(&path, torch_zip(&stem, &entries)).unwrap();
        let weights = Weights::open(&[path], None).unwrap_or_else(|e| panic!("{length}: {e}"));
        assert_eq!(weights.tensors.len(), expected.len(), "{length}");
        for (name, tensor) in &weights.tensors {
            assert_eq!(floats(&tensor.floats(name).unwrap()), floats(&expected[name]), "{length}: {name}");
        }
    }
}

#[test]
fn whole_modules_and_state_dicts_beside_odd_things_are_read() {
    let expected = fixture("unet_seeps_weights.safetensors");
    for (file, beside) in [("unet_seeps_whole.pth", 0), ("unet_seeps_odd.pth", 6)] {
        let weights = Weights::open(&[fixture_path(file)], None).unwrap();
        assert_eq!((weights.description.names, weights.tensors.len()), (Names::Seeps, expected.len()), "{file}");
        for (name, tensor) in &weights.tensors {
            assert_eq!(floats(&tensor.floats(name).unwrap()), floats(&expected[name]), "{file}: {name}");
        }
        assert_eq!(weights.checkpoint.beside.values().sum::<usize>(), beside, "{:?}", weights.checkpoint.beside);
        weights.check().unwrap();
    }
    let folder = tempdir().unwrap();
    let said = imported(&folder, &fixture_path("unet_seeps_whole.pth"), &[]);
    assert!(said.contains("the file is a pickled module of class __main__.Part"), "{said}");
    let said = imported(&folder, &fixture_path("unet_seeps_odd.pth"), &[]);
    let odd = Checkpoint::open(&[fixture_path("unet_seeps_odd.pth")]).unwrap();
    for beside in [
        "spectrum, a tensor of type ComplexFloatStorage",
        "quantised, a tensor of PyTorch's kind 'qtensor'",
        "sparse, a tensor of PyTorch's kind 'sparse_tensor'",
        "eight, a tensor of type torch.float8_e4m3fn",
    ] {
        assert!(odd.beside.contains_key(beside), "{beside}");
    }
    assert!(said.contains("not loaded (beside the weights)"), "{said}");
}

#[test]
fn a_counter_among_the_weights_is_named_and_all_else_is_refused() {
    let folder = tempdir().unwrap();
    let (name, case) = cases().remove_entry("smp-unet-resnet18").unwrap();
    let with = |extra: (&str, Raw)| {
        let all = tensors(&case, "").into_iter().chain([(extra.0.to_owned(), extra.1)]);
        write(&folder.path().join("with.safetensors"), all)
    };
    let file = with(("global_step", Raw(Vec::new(), Dtype::I64, vec![7; 8])));
    let said = imported(&folder, &file, &[]);
    assert!(said.contains("not loaded (a counter, not a weight): global_step"), "{said}");
    assert!(error_of(&Weights::open(&[file], None).unwrap(), &case, &name) < 1e-4);
    let said = refusal(&folder, &with(("gamma", Raw(vec![1], Dtype::F32, vec![0; 4]))), &[]);
    assert!(said.contains("unexpected tensors: gamma"), "{said}");
    let said = refusal(&folder, &with(("encoder.layer1.0.gamma", Raw(vec![1], Dtype::F32, vec![0; 4]))), &[]);
    assert!(said.contains("has tensors that this network does not have: encoder.layer1.0.gamma"), "{said}");
}

#[test]
fn any_wrapper_comes_off_and_several_networks_are_told_apart() {
    let folder = tempdir().unwrap();
    let (name, case) = cases().remove_entry("smp-unet-resnet18").unwrap();
    let file = |prefixes: &[&str]| {
        let all = prefixes.iter().flat_map(|prefix| tensors(&case, prefix));
        write(&folder.path().join("wrapped.safetensors"), all)
    };
    for prefix in ["net_g.", "state_dict.unet.", "ema.", "a.b._orig_mod.c.", "0.", "params.", "model.teacher."] {
        let weights = Weights::open(&[file(&[prefix])], None).unwrap();
        assert_eq!(weights.description.names, Names::SmpUnet, "{prefix}");
        assert!(error_of(&weights, &case, &name) < 1e-4, "{prefix}");
    }
    let both = file(&["state_dict.", "state_dict_ema."]);
    let said = imported(&folder, &both, &[]);
    assert!(said.contains("the file also holds averaged weights, under state_dict_ema; --ema takes those"), "{said}");
    assert!(said.contains("beside the weights"), "{said}");
    let said = imported(&folder, &both, &["--ema"]);
    assert!(!said.contains("--ema takes"), "{said}");
    let two = file(&["student.", "teacher."]);
    let said = refusal(&folder, &two, &[]);
    assert!(said.contains("holds 2 networks, under student, teacher; say which with --prefix"), "{said}");
    let choice = Choice { prefix: Some("teacher".into()), averaged: false };
    let weights = Weights::open_chosen(std::slice::from_ref(&two), None, &choice).unwrap();
    assert_eq!(weights.checkpoint.beside.keys().collect::<Vec<_>>(), ["student"]);
    imported(&folder, &two, &["--prefix", "teacher"]);
    let said = refusal(&folder, &two, &["--prefix", "nobody"]);
    assert!(said.contains("names begin with student, teacher"), "{said}");
    let said = refusal(&folder, &two, &["--ema"]);
    assert!(said.contains("holds no averaged weights"), "{said}");
}

#[test]
fn encoders_with_anything_more_are_refused() {
    let folder = tempdir().unwrap();
    let plain = read_tensors(&torchvision(Variant::Resnet50, 4, folder.path()));
    let file = |extra: &[(&str, &[usize])], leave: &str| {
        let kept = plain.iter().filter(|(name, _)| leave.is_empty() || !name.ends_with(leave));
        let all = kept.map(|(name, data)| (name.clone(), raw(data)));
        let more = extra.iter().map(|(name, shape)| {
            let count: usize = shape.iter().product();
            ((*name).to_owned(), Raw(shape.to_vec(), Dtype::F32, vec![0; 4 * count]))
        });
        write(&folder.path().join("extra.safetensors"), all.chain(more))
    };
    let said = refusal(&folder, &file(&[("layer1.0.se.fc1.weight", &[1, 4, 1, 1])], ""), &[]);
    assert!(said.contains("it is an SE-ResNet") && said.contains("layer1.0.se.fc1.weight"), "{said}");
    for (name, shape) in [
        ("layer1.0.ca.fc1.weight", &[1usize, 4, 1, 1][..]),
        ("layer1.0.conv1.bias", &[4]),
        ("layer5.0.conv1.weight", &[4, 4, 1, 1]),
        ("layer1.0.downsample.0.bias", &[16]),
        ("layer2.1.downsample.0.weight", &[32, 32, 1, 1]),
        ("layer4.0.bn4.weight", &[4]),
    ] {
        let path = file(&[(name, shape)], "");
        let said = refusal(&folder, &path, &[]);
        assert!(said.contains("has tensors that this network does not have") && said.contains(name), "{said}");
        // Training and features go through the same recognition.
        assert!(Weights::open(&[path], None).is_err());
    }
    // Group normalisation has no running statistics.
    let said = refusal(&folder, &file(&[], "running_mean"), &[]);
    assert!(said.contains("missing: encoder.bn1.running_mean"), "{said}");
}

#[test]
fn relatives_of_the_residual_network_are_named() {
    let folder = tempdir().unwrap();
    let file = |inner: usize, group: usize, outputs: usize| {
        let conv = |name: &str, shape: [usize; 4]| {
            (name.to_owned(), Raw(shape.to_vec(), Dtype::F32, vec![0; 4 * shape.iter().product::<usize>()]))
        };
        let mut tensors = vec![
            conv("conv1.weight", [64, 3, 7, 7]),
            conv("layer1.0.conv1.weight", [inner, 64, 1, 1]),
            conv("layer1.0.conv2.weight", [inner, group, 3, 3]),
            conv("layer1.0.conv3.weight", [outputs, inner, 1, 1]),
        ];
        tensors.push(("bn1.weight".into(), Raw(vec![64], Dtype::F32, vec![0; 256])));
        write(&folder.path().join("relative.safetensors"), tensors)
    };
    let said = refusal(&folder, &file(128, 4, 256), &[]);
    assert!(said.contains("it is a ResNeXt, with 32 groups"), "{said}");
    let said = refusal(&folder, &file(128, 128, 256), &[]);
    assert!(said.contains("it is a wide ResNet, of 128 channels inside a block and 256 after it"), "{said}");
}

#[test]
fn mmsegmentations_basic_blocks_and_its_configuration_count() {
    let folder = tempdir().unwrap();
    for name in ["mmseg-pspnet18", "mmseg-pspnet34"] {
        let case = cases().remove(name).unwrap();
        let weights = Weights::open(&[write(&folder.path().join("m.safetensors"), tensors(&case, ""))], None).unwrap();
        assert_eq!(network(&weights).encoder.dilation, Dilation::AfterStrideConv1);
        let error = error_of(&weights, &case, name);
        assert!(error < 1e-4, "{name}: {error:e}");
    }
    // hszhao's has no basic blocks.
    let (_, case) = cases().remove_entry("csail-resnet18dilated-c1-deepsup").unwrap();
    let layers = case.shapes.iter().filter_map(|(name, shape)| Some((name.strip_prefix("encoder.")?, shape)));
    let stem =
        [("conv1", "layer0.0"), ("bn1", "layer0.1"), ("conv2", "layer0.3"), ("bn2", "layer0.4"), ("conv3", "layer0.6")];
    let renamed = |name: &str| {
        let place = stem.iter().chain(&[("bn3", "layer0.7")]).find(|(ours, _)| name.starts_with(&format!("{ours}.")));
        place.map_or_else(|| name.to_owned(), |(ours, theirs)| name.replacen(ours, theirs, 1))
    };
    let named = layers.map(|(name, shape)| (renamed(name), raw(&weight(name, shape.clone()))));
    let head = [
        ("ppm.features.0.1.weight", vec![8, 512, 1, 1]),
        ("cls.0.weight", vec![8, 544, 3, 3]),
        ("cls.4.weight", vec![3, 8, 1, 1]),
    ];
    let levels = (1..4).map(|i| (format!("ppm.features.{i}.1.weight"), vec![8, 512, 1, 1]));
    let head = head.into_iter().map(|(name, shape)| (name.to_owned(), shape)).chain(levels);
    let head = head.map(|(name, shape)| (name.clone(), raw(&weight(&name, shape))));
    let said = refusal(&folder, &write(&folder.path().join("s.safetensors"), named.chain(head)), &[]);
    assert!(said.contains("its encoder is ResNet-18, for which that project does not say"), "{said}");
}

#[test]
fn encoders_of_timm_in_smps_networks_are_the_same_networks() {
    let folder = tempdir().unwrap();
    for (name, names) in [("smp-unet-resnet34", Names::SmpUnetTimm), ("smp-pspnet-resnet34", Names::SmpPspnetTimm)] {
        let case = cases().remove(name).unwrap();
        // Those of stages that it does not need are not there.
        let used =
            |name: &str| names == Names::SmpUnetTimm || !["layer3", "layer4"].iter().any(|stage| name.contains(stage));
        let all = tensors(&case, "").into_iter().filter(|(name, _)| used(name));
        let all = all.map(|(name, tensor)| (name.replacen("encoder.", "encoder.model.", 1), tensor));
        let file = write(&folder.path().join("tu.safetensors"), all);
        let weights = Weights::open(std::slice::from_ref(&file), None).unwrap();
        assert_eq!(weights.description.names, names);
        let error = error_of(&weights, &case, name);
        assert!(error < 1e-4, "{name}: {error:e}");
        let said = imported(&folder, &file, &[]);
        assert!(said.contains("encoder taken for: timm's plain ResNet"), "{said}");
    }
}

/// A folder as `save_pretrained` writes it.
fn hub(folder: &TempDir, case: &Case, config: &serde_json::Value) -> PathBuf {
    let hub = folder.path().join("hub");
    fs::create_dir_all(&hub).unwrap();
    write(&hub.join("model.safetensors"), tensors(case, ""));
    fs::write(hub.join("config.json"), config.to_string()).unwrap();
    hub
}

#[test]
fn config_json_beside_the_weights_is_followed() {
    let folder = tempdir().unwrap();
    for mode in ["bilinear", "bicubic"] {
        let (name, case) = cases().remove_entry(&format!("{mode}-unet-resnet18")).unwrap();
        let config = serde_json::json!({ "_model_class": "Unet", "encoder_name": "resnet18", "decoder_interpolation": mode,
            "decoder_use_norm": "batchnorm", "activation": "sigmoid", "in_channels": 3, "classes": 3, "aux_params": null });
        let hub = hub(&folder, &case, &config);
        let said = imported(&folder, &hub, &[]);
        assert!(said.contains(&format!("decoder.interpolation: {mode}")), "{said}");
        assert!(!said.contains("resampling.interpolation"), "{said}");
        let weights = Weights::open(&[hub.join("model.safetensors")], None).unwrap();
        assert_eq!(weights.description.activation, Activation::Sigmoid);
        assert!(error_of(&weights, &case, &name) < 1e-4, "{mode}");
        // Without it the file is one of nearest enlargement, which is said, and a recipe says otherwise.
        let alone = folder.path().join("alone.safetensors");
        fs::copy(hub.join("model.safetensors"), &alone).unwrap();
        let said = imported(&folder, &alone, &[]);
        assert!(said.contains("decoder.interpolation: nearest"), "{said}");
        let recipe = folder.path().join("r.toml");
        let own = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/models/smp-unet-resnet34.toml")).unwrap();
        let own = own.replace("resnet34\", stem", "resnet18\", stem");
        fs::write(&recipe, own.replace("16] }", &format!("16], interpolation = \"{mode}\" }}"))).unwrap();
        let said = imported(&folder, &alone, &["--recipe", &text(&recipe)]);
        assert!(said.contains(&format!("decoder.interpolation: {mode}")), "{said}");
        let own = Weights::open(&[folder.path().join("own.safetensors")], None).unwrap();
        let DecoderConfig::Unet(decoder) = network(&own).decoder else { panic!("{said}") };
        assert_ne!(decoder.interpolation, Interpolation::Nearest);
        let (own, back) = (text(&folder.path().join("own.safetensors")), text(&folder.path().join("back.pth")));
        let said = stderr_of(&["export", &own, "--to", "smp", "--output", &back], 0);
        assert!(said.contains(&format!("decoder_interpolation='{mode}'")), "{said}");
    }
    let case = cases().remove("smp-unet-resnet18").unwrap();
    for (key, value) in [
        ("encoder_name", serde_json::json!("tu-resnetblur18")),
        ("decoder_interpolation", "area".into()),
        ("activation", "tanh".into()),
        ("_model_class", "PSPNet".into()),
        ("decoder_use_norm", "inplace".into()),
        ("output_stride", 16.into()),
    ] {
        let mut config = serde_json::json!({ "_model_class": "Unet", "encoder_name": "resnet18" });
        config[key] = value.clone();
        let said = refusal(&folder, &hub(&folder, &case, &config), &[]);
        assert!(said.contains(value.as_str().unwrap_or("output_stride")), "{key}: {said}");
    }
    let cut = hub(&folder, &case, &serde_json::json!({ "_model_class": "Unet", "decoder_interpolation": "bilinear" }));
    let config = cut.join("config.json");
    let bytes = fs::read(&config).unwrap();
    fs::write(&config, &bytes[..bytes.len() / 2]).unwrap();
    let said = refusal(&folder, &cut, &[]);
    assert!(said.contains("config.json beside it") && said.contains("is not readable"), "{said}");
}

#[test]
fn config_json_beside_the_weights_does_not_stand_in_the_way_of_an_export() {
    let folder = tempdir().unwrap();
    let case = cases().remove("smp-unet-resnet18").unwrap();
    let hub = hub(&folder, &case, &serde_json::json!({ "_model_class": "Unet", "encoder_name": "resnet18" }));
    let encoder = folder.path().join("encoder.pth");
    let arguments = ["export", &text(&hub), "--to", "torchvision", "--output", &text(&encoder)];
    let said = stderr_of(&arguments, 0);
    assert!(said.contains("left out"), "{said}");
    assert!(matches!(Weights::open(&[encoder], None).unwrap().description.content, Content::Encoder { .. }));
}

#[test]
fn files_of_other_kinds_are_named_with_the_next_step() {
    let folder = tempdir().unwrap();
    let said = refusal(&folder, &fixture_path("script.pt"), &[]);
    assert!(said.contains("is a TorchScript archive") && said.contains("torch.jit.load('"), "{said}");
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    for (name, bytes, words) in [
        ("model.h5", &b"\x89HDF\r\n\x1a\n\0\0\0\0"[..], "is an HDF5 file, as Keras writes its weights"),
        ("model.onnx", b"\x08\x08\x12\x07pytorch\x1a\x06", "is an ONNX model"),
        ("saved.pb", b"\x08\x01\x12\xff", "is a part of a TensorFlow model"),
        ("weights.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("numpy.pkl", b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.", "is a pickle of numpy arrays"),
    ] {
        let said = refusal(&folder, &put(name, bytes), &[]);
        assert!(said.contains(words) && !said.contains("cut short"), "{name}: {said}");
    }
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("m.keras")).unwrap());
    zip.start_file("model.weights.h5", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"\x89HDF").unwrap();
    zip.finish().unwrap();
    let said = refusal(&folder, &folder.path().join("m.keras"), &[]);
    assert!(said.contains("is a Keras model"), "{said}");
    fs::create_dir(folder.path().join("saved")).unwrap();
    fs::write(folder.path().join("saved/saved_model.pb"), b"\x08").unwrap();
    let said = refusal(&folder, &folder.path().join("saved"), &[]);
    assert!(said.contains("is a TensorFlow SavedModel"), "{said}");
    let names = ["segformer.encoder.block.0.0.layer_norm_1.weight", "decode_head.linear_c.0.proj.weight"];
    let one = |name: &str| (name.to_owned(), Raw(vec![1], Dtype::F32, vec![0; 4]));
    let vgg = ["encoder.features.0.weight", "encoder.features.28.weight", "decoder.blocks.0.conv1.0.weight"];
    let said = refusal(&folder, &write(&folder.path().join("v.safetensors"), vgg.map(one)), &[]);
    assert!(said.contains("with an encoder other than a ResNet"), "{said}");
    let said = refusal(&folder, &write(&folder.path().join("s.safetensors"), names.map(one)), &[]);
    assert!(said.contains("not recognised") && !said.contains("mmsegmentation without"), "{said}");
}

#[test]
fn a_run_given_for_weights_is_the_run_and_its_weights_know_its_classes() {
    let folder = tempdir().unwrap();
    let (_, val) = small_data(folder.path());
    let dataset = folder.path().join("two.toml");
    let classes = "{ name = \"beds\", values = [1, 0], color = [9, 9, 9] }, { name = \"other\", values = [3, 2], color = [255, 0, 0] }";
    let head = "name = \"two\"\nbands = 1\nnormalisation = { kind = \"per-image\" }\n";
    fs::write(&dataset, format!("{head}classes = [{classes}]\n")).unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let (run, recipe) = (path("run"), small_recipe(folder.path(), 1));
    let lists = [path("data/train_images.txt"), path("data/train_labels.txt")];
    let start = ["train", "--recipe", &recipe, "--train-list", &lists[0], "--label-list", &lists[1]];
    let more = ["--dataset", &text(&dataset), "--output-path", &run, "--device", "flex"];
    stderr_of(&[&start[..], &more].concat(), 0);
    let moved = path("moved.safetensors");
    fs::copy(format!("{run}/model.safetensors"), &moved).unwrap();
    let predicted = |option: &str, given: &str| {
        let (to, image) = (path("p"), text(&val[0].image));
        let _ = fs::remove_dir_all(&to);
        stderr_of(&["predict", option, given, "--output-path", &to, "--device", "flex", &image], 0);
        let stem = val[0].image.file_stem().unwrap().to_string_lossy().into_owned();
        fs::read(format!("{to}/{stem}.npy")).unwrap()
    };
    let expected = predicted("--run", &run);
    let values = &expected[expected.len() - 32 * 32..];
    assert!(values.iter().all(|value| [1, 3].contains(value)), "{values:?}");
    assert_eq!(predicted("--weights", &run), expected);
    assert_eq!(predicted("--weights", &moved), expected);
}

#[test]
fn classes_travel_with_the_weights() {
    let folder = tempdir().unwrap();
    let case = cases().remove("smp-unet-resnet18").unwrap();
    let file = write(&folder.path().join("w.safetensors"), tensors(&case, ""));
    let dataset = folder.path().join("rocks.toml");
    let class = |name: &str, value: u16| {
        format!("[[classes]]\nname = \"{name}\"\nvalues = [{value}]\ncolor = [{value}, 0, 9]\n")
    };
    let head = "name = \"rocks\"\nbands = 3\nnormalisation = { kind = \"per-image\" }\n";
    fs::write(&dataset, [head, &class("sand", 7), &class("salt", 40), &class("shale", 255)].concat()).unwrap();
    imported(&folder, &file, &["--dataset", &text(&dataset)]);
    let own = folder.path().join("own.safetensors");
    let values = |path: &Path| {
        let weights = Weights::open(&[path.to_owned()], None).unwrap();
        let dataset = weights.description.dataset.unwrap();
        dataset.classes.iter().map(|class| (class.name.clone(), class.values[0])).collect::<BTreeMap<_, _>>()
    };
    let expected = BTreeMap::from([("sand".into(), 7), ("salt".into(), 40), ("shale".into(), 255)]);
    assert_eq!(values(&own), expected);
    let back = folder.path().join("back.safetensors");
    stdout_of(&["export", &text(&own), "--to", "smp", "--output", &text(&back)]);
    assert_eq!(values(&back), expected);
    let weights = Weights::open(&[back], None).unwrap();
    assert_eq!(weights.description.names, Names::SmpUnet);
    assert!(matches!(weights.description.content, Content::Network(_)));
}
