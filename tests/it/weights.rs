//! Weights of other projects: recognised, equal in effect to what they were there, written back, or refused in words.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::tensor::{Dtype, SafeTensors, View};
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{
    C1Config, DecoderConfig, Dilation, EncoderDecoderConfig, NetworkConfig, PyramidConfig, ResNetConfig, Stem, Variant,
    collect,
};
use segtool::weights::{Checkpoint, Content, Names, Target, Weights};
use tempfile::{TempDir, tempdir};

use crate::common::references::{Case, STEP, cases, weight};
use crate::common::tensors::{Raw, raw, torchvision, write};
use crate::common::{
    devices, fixture, fixture_path, floats, read_tensors, relative_error, segtool, small_data, stderr_of, stdout_of,
    text,
};

/// Sums of float32 in another order: 1e-4 leaves room, another dilation does not.
const TOLERANCE: f32 = 1e-4;

/// Files as a case's project writes them: weights and counters under its names, `state_dict.module.` before them.
fn foreign(case: &Case, name: &str, folder: &Path) -> Vec<PathBuf> {
    let csail = name.starts_with("csail");
    let mut parts: BTreeMap<&str, Vec<(String, Raw)>> = BTreeMap::new();
    for (theirs, shape) in &case.shapes {
        let (file, inside) = match theirs.split_once('.') {
            Some((part, rest)) if csail => (part, rest),
            _ => ("weights", theirs.as_str()),
        };
        let tensors = parts.entry(file).or_default();
        tensors.push((format!("state_dict.module.{inside}"), raw(&weight(theirs, shape.clone()))));
        if let Some(layer) = inside.strip_suffix("running_mean") {
            let counter = Raw(Vec::new(), Dtype::I64, 5i64.to_le_bytes().to_vec());
            tensors.push((format!("state_dict.module.{layer}num_batches_tracked"), counter));
        }
    }
    let momentum = Raw(vec![2], Dtype::F32, vec![0; 8]);
    parts.values_mut().next().unwrap().push(("optimizer.state.0.momentum_buffer".into(), momentum));
    parts.into_iter().map(|(file, tensors)| write(&folder.join(format!("{file}.safetensors")), tensors)).collect()
}

/// The names of a case's project, and for whom `export` writes them; those of Keras networks are restated as segtool's own.
fn project(name: &str) -> Option<(Names, Target)> {
    let (project, rest) = name.split_once('-').unwrap();
    Some(match (project, rest) {
        ("csail", _) => (Names::Csail, Target::Csail),
        ("semseg", _) => (Names::Semseg, Target::Semseg),
        ("mmseg", _) => (Names::Mmseg, Target::Mmseg),
        ("smp", rest) if rest.starts_with("unet") => (Names::SmpUnet, Target::Smp),
        ("smp", _) => (Names::SmpPspnet, Target::Smp),
        ("milesial", _) => (Names::Milesial, Target::Milesial),
        ("seeps", "unet") => (Names::Seeps, Target::Seeps),
        ("seeps", _) => (Names::SeepsResnet, Target::Seeps),
        _ => return None,
    })
}

fn tensors_of(paths: &[PathBuf]) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let checkpoint = Checkpoint::open(paths).unwrap();
    let content = |name: &str| {
        let tensor = &checkpoint.tensors[name];
        (tensor.shape().to_vec(), tensor.data().to_vec())
    };
    checkpoint.tensors.keys().map(|name| (name.clone(), content(name))).collect()
}

#[test]
fn weights_of_every_project_mean_what_they_meant_and_are_written_back() {
    let golden = fixture("networks.safetensors");
    let (choice, device) = devices().pop().unwrap();
    for (name, case) in cases() {
        let Some((names, target)) = project(&name) else { continue };
        let folder = tempdir().unwrap();
        let files = foreign(&case, &name, folder.path());
        let weights = Weights::open(&files, None).unwrap();
        assert_eq!(weights.description.names, names, "{name}");
        assert_eq!(weights.checkpoint.beside.get("optimizer"), Some(&1), "{name}");
        // Through segtool's own file, which must say all that counts.
        let own = folder.path().join("own.safetensors");
        weights.write(&own).unwrap();
        let weights = Weights::open(&[own], None).unwrap();
        let (network, report) = weights.load(weights.network().unwrap().init(0, &device).unwrap(), false).unwrap();
        assert!(report.fresh.is_empty(), "{name}: {report}");
        let size = case.sizes[0];
        let output = floats(&network.forward(case.image("input", 1, size, &device)).into_data());
        let found: Vec<f32> = output.into_iter().step_by(STEP).collect();
        let error = relative_error(&found, &floats(&golden[&format!("{name}.{}x{}", size[0], size[1])]));
        println!("{name} on {choice}: {error:.1e}");
        assert!(error < TOLERANCE, "{name} on {choice}: {error:e}");
        let output = folder.path().join(if names == Names::Csail { "exported" } else { "exported.pth" });
        let (written, notes) = weights.export(target, &output).unwrap();
        assert!(notes.is_empty() || names == Names::Csail, "{name}: {notes:?}");
        assert!(tensors_of(&files) == tensors_of(&written), "{name}");
    }
}

#[test]
fn an_encoder_is_recognised_kept_whole_and_written_back() {
    let folder = tempdir().unwrap();
    for (variant, name) in
        [(Variant::Resnet18, "resnet18"), (Variant::Resnet34, "resnet34"), (Variant::Resnet152, "resnet152")]
    {
        let file = torchvision(variant, 4, folder.path());
        let (own, back) = (folder.path().join("own.safetensors"), folder.path().join("back.pth"));
        let said = stderr_of(&["import", &text(&file), "--output", &text(&own)], 0);
        assert!(said.contains(&format!("the encoder {name} (conv7 stem) from torchvision")), "{said}");
        assert!(said.contains("not loaded (the classifier of the pretraining): fc.weight"), "{said}");
        let Content::Encoder { encoder, bands } =
            Weights::open(std::slice::from_ref(&own), None).unwrap().description.content
        else {
            panic!("{name}");
        };
        assert_eq!((encoder.variant, encoder.width, encoder.stem, bands), (variant, 4, Stem::Conv7, 3));
        stdout_of(&["export", &text(&own), "--to", "torchvision", "--output", &text(&back)]);
        assert!(tensors_of(&[file]) == tensors_of(&[back]), "{name}");
        let refused = stderr_of(&["predict", "--weights", &text(&own), "--output-path", "p", "x.png"], 1);
        assert!(refused.contains("cannot predict on its own"), "{refused}");
    }
}

#[test]
fn vgg_is_checked_layer_by_layer() {
    let folder = tempdir().unwrap();
    let shapes = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)];
    let deep = [(17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512)];
    let tensors = |skip: usize| {
        shapes.into_iter().chain(deep).filter(move |(entry, ..)| *entry != skip).flat_map(|(entry, inputs, outputs)| {
            let name = |leaf| format!("features.{entry}.{leaf}");
            [
                (name("weight"), Raw(vec![outputs, inputs, 3, 3], Dtype::F32, vec![0; outputs * inputs * 36])),
                (name("bias"), Raw(vec![outputs], Dtype::F32, vec![0; outputs * 4])),
            ]
        })
    };
    let whole = write(&folder.path().join("vgg16.safetensors"), tensors(99));
    let own = folder.path().join("own.safetensors");
    let said = stderr_of(&["import", &text(&whole), "--output", &text(&own)], 0);
    assert!(said.contains("loaded 26 tensors (14714688 numbers)"), "{said}");
    let part = write(&folder.path().join("part.safetensors"), tensors(14));
    let said = stderr_of(&["import", &text(&part), "--output", &text(&own)], 1);
    assert!(said.contains("missing: features.14.weight [256, 256, 3, 3]"), "{said}");
    let said = stderr_of(
        &[
            "train",
            "--recipe",
            "mit-resnet34-c1",
            "--weights",
            &text(&whole),
            "--images",
            "a",
            "--labels",
            "b",
            "--output-path",
            &text(&folder.path().join("run")),
        ],
        1,
    );
    assert!(said.contains("VGG-16 from torchvision, which a recipe of hypercolumns can take"), "{said}");
}

#[test]
fn what_torch_saves_is_read_in_both_formats() {
    let expected = fixture("unet_seeps_weights.safetensors");
    for file in ["unet_seeps_zip.pth", "unet_seeps_legacy.pth"] {
        let checkpoint = Checkpoint::open(&[fixture_path(file)]).unwrap();
        assert_eq!(checkpoint.tensors.len(), expected.len(), "{file}");
        for (name, tensor) in &checkpoint.tensors {
            let (found, data) = (tensor.floats(name).unwrap(), &expected[name]);
            assert_eq!(found.shape(), data.shape(), "{file}: {name}");
            assert_eq!(floats(&found), floats(data), "{file}: {name}");
        }
        assert_eq!(Weights::recognise(checkpoint, None).unwrap().description.names, Names::Seeps);
    }
}

#[test]
fn pytorch_reads_what_export_writes() {
    if !Command::new("python3").args(["-c", "import torch"]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 with torch is not there");
        return;
    }
    let folder = tempdir().unwrap();
    let (zip, back) = (text(&fixture_path("unet_seeps_zip.pth")), folder.path().join("back.pth"));
    stdout_of(&["export", &zip, "--to", "seeps", "--output", &text(&back)]);
    let program = "
import sys, torch
a = torch.load(sys.argv[1], weights_only=False)['state_dict']
b = torch.load(sys.argv[2], weights_only=True)
assert {k.removeprefix('module.') for k in a} == set(b)
assert all(torch.equal(v, b[k.removeprefix('module.')]) for k, v in a.items())
";
    let output = Command::new("python3").args(["-c", program, &zip]).arg(&back).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_pickle_is_never_executed() {
    let folder = tempdir().unwrap();
    let (marker, file) = (folder.path().join("executed"), folder.path().join("evil.pth"));
    // os.system("touch MARKER"), as `pickle.loads` would run it.
    let mut pickle = b"\x80\x02cposix\nsystem\nX".to_vec();
    let command = format!("touch {}", marker.display());
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.bytes());
    pickle.extend(b"\x85R.");
    fs::write(&file, &pickle).unwrap();
    let said = stderr_of(&["import", &text(&file), "--output", &text(&folder.path().join("o.safetensors"))], 1);
    assert!(said.contains("evil.pth"), "{said}");
    assert!(!marker.exists());
}

/// What `import` says of a file that it must refuse; nothing is written.
fn refusal(folder: &TempDir, file: &Path) -> String {
    let output = folder.path().join("refused.safetensors");
    let said = stderr_of(&["import", &text(file), "--output", &text(&output)], 1);
    assert!(!output.exists(), "{said}");
    assert!(said.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
    said
}

#[test]
fn damaged_files_are_refused_in_words() {
    let folder = tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    for file in ["unet_seeps_zip.pth", "unet_seeps_legacy.pth", "unet_seeps_weights.safetensors"] {
        let bytes = fs::read(fixture_path(file)).unwrap();
        for part in [bytes.len() / 3, bytes.len() - 40] {
            let said = refusal(&folder, &put(&format!("cut_{part}_{file}"), &bytes[..part]));
            assert!(said.contains("cut short") || said.contains("damaged"), "{file} {part}: {said}");
        }
    }
    // One bit of a weight in the zip file, whose checksum shows it.
    let mut bytes = fs::read(fixture_path("unet_seeps_zip.pth")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let said = refusal(&folder, &put("flipped.pth", &bytes));
    assert!(said.contains("damaged") || said.contains("not a readable"), "{said}");
    for (name, bytes) in
        [("empty.pth", &b""[..]), ("text.pth", b"these are no weights"), ("page.pth", b"<!DOCTYPE html><html>")]
    {
        let said = refusal(&folder, &put(name, bytes));
        assert!(said.contains("not a readable weight file"), "{said}");
    }
    let said = stderr_of(&["import", "nowhere.pth", "--output", "x.safetensors"], 1);
    assert!(said.contains("cannot read nowhere.pth"), "{said}");
    let said = stderr_of(&["import", "resnet51-imagenet", "--output", "x.safetensors"], 2);
    assert!(said.contains("unknown weights 'resnet51-imagenet'") && said.contains("resnet50-imagenet"), "{said}");
}

/// The fixture's tensors, changed.
fn changed(path: &Path, change: impl Fn(&mut BTreeMap<String, Raw>)) -> PathBuf {
    let mut tensors: BTreeMap<String, Raw> =
        fixture("unet_seeps_weights.safetensors").iter().map(|(name, data)| (name.clone(), raw(data))).collect();
    change(&mut tensors);
    write(path, tensors)
}

#[test]
fn doubtful_weights_are_refused_in_words() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let said = refusal(
        &folder,
        &changed(&path("nan.safetensors"), |tensors| {
            tensors.get_mut("dconv_up1.0.bias").unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }),
    );
    assert!(said.contains("tensor dconv_up1.0.bias holds NaN"), "{said}");
    let said =
        refusal(&folder, &changed(&path("missing.safetensors"), |tensors| _ = tensors.remove("dconv_up2.2.bias")));
    assert!(said.contains("missing: dconv_up2.2.bias"), "{said}");
    let said = refusal(
        &folder,
        &changed(&path("more.safetensors"), |tensors| {
            tensors.insert("attention.weight".into(), Raw(vec![1], Dtype::F32, vec![0; 4]));
        }),
    );
    assert!(said.contains("left over: attention.weight [1]"), "{said}");
    let said = refusal(
        &folder,
        &changed(&path("shape.safetensors"), |tensors| {
            tensors.get_mut("conv_last.weight").unwrap().0 = vec![4, 3, 1, 1]
        }),
    );
    assert!(said.contains("conv_last.weight: the file has [4, 3, 1, 1]"), "{said}");
    let said = refusal(
        &folder,
        &changed(&path("integers.safetensors"), |tensors| tensors.get_mut("conv_last.bias").unwrap().1 = Dtype::I32),
    );
    assert!(said.contains("has type I32; weights are floating point"), "{said}");
    let one = |name: &str| (name.to_owned(), Raw(vec![1, 1, 1, 1], Dtype::F32, vec![0; 4]));
    for (file, names, expected) in [
        (
            "decoder.safetensors",
            &["ppm.0.1.weight", "conv_last.0.weight"][..],
            "the decoder alone of CSAIL; give the encoder",
        ),
        ("head.safetensors", &["decode_head.conv_seg.weight"], "a head of mmsegmentation without its backbone"),
        ("vgg11.safetensors", &["features.0.weight", "features.18.weight"], "a VGG of another depth"),
        (
            "fpn.safetensors",
            &["encoder.layer1.0.conv1.weight", "decoder.p5.weight"],
            "another network of segmentation_models",
        ),
        ("other.safetensors", &["transformer.wte.weight"], "not recognised; its tensors are transformer.wte.weight"),
        (
            "fcn.safetensors",
            &["backbone.layer1.0.conv1.weight", "classifier.0.weight"],
            "a torchvision segmentation network",
        ),
    ] {
        let said = refusal(&folder, &write(&path(file), names.iter().map(|name| one(name))));
        assert!(said.contains(expected), "{said}");
    }
    // A ResNet of another number of blocks.
    let file = torchvision(Variant::Resnet18, 4, folder.path());
    let tensors = read_tensors(&file);
    let more = tensors.iter().map(|(name, data)| (name.clone(), raw(data)));
    let again = tensors
        .iter()
        .filter(|(name, _)| name.starts_with("layer1.1."))
        .map(|(name, data)| (name.replace("layer1.1.", "layer1.2."), raw(data)));
    let said = refusal(&folder, &write(&path("blocks.safetensors"), more.chain(again)));
    assert!(said.contains("a residual network of [3, 2, 2, 2] blocks is not known"), "{said}");
}

#[test]
fn export_refuses_what_the_other_project_would_misread() {
    let folder = tempdir().unwrap();
    let save = |variant: Variant, dilation: Dilation, stem: Stem| {
        let encoder = ResNetConfig { width: 4, stem, dilation, ..ResNetConfig::new(variant) };
        let config = EncoderDecoderConfig::new(encoder, DecoderConfig::C1(C1Config::default()), 3, 2);
        let config = NetworkConfig::EncoderDecoder(config);
        let network = config.init(0, &DeviceChoice::Flex.open().unwrap()).unwrap();
        let path = folder.path().join("own.safetensors");
        let normalisation = segtool::data::Normalisation::PerImage { valid: segtool::data::ValidPixels::All };
        segtool::weights::save(&network, &segtool::weights::Description::own(config, normalisation), &path).unwrap();
        path
    };
    let export = |path: &Path, to: &str, output: &str, code: i32| {
        stderr_of(&["export", &text(path), "--to", to, "--output", &text(&folder.path().join(output))], code)
    };
    let export = |path: &Path, to: &str, code: i32| match to {
        "csail" => export(path, to, "out", code),
        _ => export(path, to, "out.pth", code),
    };
    let torchvisions = save;
    let save = |dilation: Dilation, stem: Stem| torchvisions(Variant::Resnet18, dilation, stem);
    for (dilation, note) in [
        (Dilation::AfterStride, "the one with 'dilated'"),
        (Dilation::None, "the one without 'dilated'"),
        (Dilation::Stage4, "dilate_scale=16"),
    ] {
        let said = export(&save(dilation, Stem::Deep), "csail", 0);
        assert!(said.contains(note), "{said}");
    }
    let said = export(&save(Dilation::Throughout, Stem::Deep), "csail", 1);
    assert!(said.contains("encoder.dilation is \"throughout\", there \"after-stride\""), "{said}");
    let said = export(&save(Dilation::AfterStride, Stem::Conv7), "csail", 1);
    assert!(said.contains("cannot have that"), "{said}");
    let said = export(&save(Dilation::AfterStride, Stem::Deep), "milesial", 1);
    assert!(said.contains("cannot have that"), "{said}");
    let deep = |dilation: Dilation| torchvisions(Variant::Resnet50, dilation, Stem::Conv7);
    let said = export(&deep(Dilation::Throughout), "torchvision", 1);
    assert!(said.contains("the first one, too"), "{said}");
    let said = export(&deep(Dilation::AfterStride), "torchvision", 0);
    assert!(said.contains("replace_stride_with_dilation=[False, True, True]"), "{said}");
    assert!(said.contains("left out, 7 tensors") && said.contains("fc is not there"), "{said}");
    // torchvision's basic blocks cannot be dilated.
    for dilation in [Dilation::AfterStride, Dilation::AfterStrideConv1, Dilation::Stage4, Dilation::Throughout] {
        let said = export(&save(dilation, Stem::Conv7), "torchvision", 1);
        assert!(said.contains("which torchvision refuses for the basic blocks of ResNet-18"), "{said}");
    }
    export(&save(Dilation::None, Stem::Conv7), "torchvision", 0);
}

#[test]
fn mmsegs_stem_of_one_convolution_keeps_its_own_names() {
    let folder = tempdir().unwrap();
    let encoder = ResNetConfig { width: 4, ..ResNetConfig::new(Variant::Resnet18) };
    let decoder = DecoderConfig::Pyramid(PyramidConfig::default());
    let config = NetworkConfig::EncoderDecoder(EncoderDecoderConfig::new(encoder, decoder, 3, 2));
    let network = config.init(0, &DeviceChoice::Flex.open().unwrap()).unwrap();
    let theirs = |name: &str| match name {
        "encoder.conv1.weight" => "backbone.conv1.weight".to_owned(),
        _ if name.starts_with("encoder.bn1.") => name.replace("encoder", "backbone"),
        _ => Names::Mmseg.theirs(name).unwrap(),
    };
    let tensors = collect(&network).into_iter().map(|p| (theirs(&p.name), raw(&p.data)));
    let file = write(&folder.path().join("mmseg.safetensors"), tensors);
    let weights = Weights::open(std::slice::from_ref(&file), None).unwrap();
    assert_eq!(weights.description.names, Names::Mmseg);
    let (written, _) = weights.export(Target::Mmseg, &folder.path().join("back.pth")).unwrap();
    assert!(tensors_of(&[file]) == tensors_of(&written));
}

#[test]
fn a_recipe_says_what_weights_do_not_show() {
    let folder = tempdir().unwrap();
    let own = |recipe: &str| {
        let path = folder.path().join("r.toml");
        fs::write(&path, fs::read_to_string(self::recipe(folder.path(), recipe)).unwrap()).unwrap();
        text(&path)
    };
    let pspnet = |variant: &str| {
        format!(
            "architecture = \"encoder-decoder\"\nencoder = {{ variant = \"{variant}\", stem = \"deep\", dilation = \"none\" }}\n\
             decoder = {{ kind = \"pyramid\", deep_supervision = {{ weight = 0.4 }} }}"
        )
    };
    let (name, case) = cases().remove_entry("csail-resnet50dilated-ppm").unwrap();
    let files = foreign(&case, &name, folder.path());
    let output = text(&folder.path().join("o.safetensors"));
    let [a, b] = &files[..] else { panic!("{files:?}") };
    let said =
        stderr_of(&["import", &text(a), &text(b), "--recipe", &own(&pspnet("resnet50")), "--output", &output], 0);
    assert!(said.contains("encoder.dilation: none"), "{said}");
    let NetworkConfig::EncoderDecoder(found) =
        Weights::open(&[output.clone().into()], None).unwrap().network().unwrap().clone()
    else {
        panic!("{said}");
    };
    assert_eq!(found.decoder.deep_supervision(), None, "the file has no second head");
    let said =
        stderr_of(&["import", &text(a), &text(b), "--recipe", &own(&pspnet("resnet101")), "--output", &output], 1);
    assert!(said.contains("encoder.variant is \"resnet50\"; the recipe's is \"resnet101\""), "{said}");
    let said = stderr_of(&["import", &text(a), &text(b), "--dataset", "seeps", "--output", &output], 0);
    assert!(said.contains("normalisation: each image by its own"), "{said}");
    let said = stderr_of(&["import", &text(a), &text(b), "--dataset", "demo", "--output", &output], 1);
    assert!(said.contains("measures its normalisation in training"), "{said}");
}

/// A recipe of one epoch on made sections, with the network of a built-in one.
fn recipe(folder: &Path, network: &str) -> String {
    let path = folder.join("recipe.toml");
    let text_ = format!(
        "name = \"r\"\ndataset = \"demo\"\n[network]\n{network}\n[training]\nepochs = 4\nbatch_size = 3\nlearning_rate = 0.02\n\
         optimizer = {{ kind = \"adam\" }}\nschedule = {{ kind = \"constant\" }}\nloss = [{{ kind = \"cross-entropy\" }}]\n"
    );
    fs::write(&path, text_).unwrap();
    text(&path)
}

fn train(folder: &Path, recipe: &str, more: &[&str]) -> std::process::Output {
    let data = |name: &str| text(&folder.join("data").join(name));
    let (images, labels, run) = (data("train_images.txt"), data("train_labels.txt"), text(&folder.join("run")));
    let start = ["train", "--recipe", recipe, "--train-list", &images, "--label-list", &labels, "--output-path", &run];
    segtool(&[&start[..], &["--overwrite", "--device", "flex"], more].concat())
}

fn losses(folder: &Path) -> Vec<f64> {
    let log = fs::read_to_string(folder.join("run/log.csv")).unwrap();
    let column = log.lines().next().unwrap().split(',').position(|name| name.contains("loss")).unwrap();
    log.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse().unwrap()).collect()
}

#[test]
fn training_begins_with_weights() {
    let folder = tempdir().unwrap();
    small_data(folder.path());
    let encoder = torchvision(Variant::Resnet34, 4, folder.path());
    let c1 = "architecture = \"encoder-decoder\"\nencoder = { variant = \"resnet34\", stem = \"deep\" }\n\
              decoder = { kind = \"c1\", deep_supervision = { weight = 0.4 } }";
    // An encoder of 3 bands on data of 1: stem and width follow the file, the first convolution is summed.
    let output = train(folder.path(), &recipe(folder.path(), c1), &["--weights", &text(&encoder)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for expected in [
        "encoder.stem: deep -> conv7",
        "encoder.width: 64 -> 4",
        "spread over 1 bands instead of 3",
        "starts anew (the file holds an encoder alone)",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let found = losses(folder.path());
    assert!(found[3] < found[0], "{found:?}");
    // The run's weights go on as they are, whole ...
    let run = text(&folder.path().join("run"));
    let kept = folder.path().join("kept.safetensors");
    fs::copy(folder.path().join("run/model.safetensors"), &kept).unwrap();
    let recipe_ = recipe(folder.path(), c1);
    let output = train(folder.path(), &recipe_, &["--weights", &text(&kept)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("starts anew"), "{said}");
    assert!(losses(folder.path())[0] < found[0], "{:?} {found:?}", losses(folder.path()));
    // ... and with other classes only when asked.
    let merged = ["--weights", &text(&kept), "--merge-classes"];
    let output = train(folder.path(), &recipe_, &merged);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("add --new-head"), "{said}");
    let output = train(folder.path(), &recipe_, &[&merged[..], &["--new-head"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("starts anew (new head): decoder.conv_last.weight, decoder.conv_last.bias"), "{said}");
    // Where they began is on record.
    let config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("run/config.json")).unwrap()).unwrap();
    assert_eq!(config["weights"][0].as_str().unwrap(), text(&kept), "{run}");
    // Weights of another encoder, or of another network.
    let other = torchvision(Variant::Resnet18, 4, folder.path());
    let output = train(folder.path(), &recipe_, &["--weights", &text(&other)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the recipe's encoder is resnet34"), "{said}");
    let output = train(folder.path(), &recipe_, &["--weights", &text(&fixture_path("unet_seeps_zip.pth"))]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Take a recipe of that network"), "{said}");
}

#[test]
fn pspnet_with_a_new_head_and_the_attention_unet_learn() {
    let folder = tempdir().unwrap();
    small_data(folder.path());
    let pspnet = "architecture = \"encoder-decoder\"\nencoder = { variant = \"resnet50\", stem = \"deep\", dilation = \"throughout\", width = 4 }\n\
                  decoder = { kind = \"pyramid\", deep_supervision = { weight = 0.4, width = 8 } }\n\
                  resampling = { interpolation = \"bilinear\", align_corners = true }";
    let first = recipe(folder.path(), pspnet);
    assert!(train(folder.path(), &first, &["--num-epoch", "1"]).status.success());
    let weights = folder.path().join("first.safetensors");
    fs::copy(folder.path().join("run/model.safetensors"), &weights).unwrap();
    let output = train(folder.path(), &first, &["--weights", &text(&weights), "--new-head"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let reported = "starts anew (new head): decoder.conv_last.4.weight, decoder.conv_last.4.bias, decoder.conv_last_deepsup.weight";
    assert!(said.contains(reported), "{said}");
    let found = losses(folder.path());
    assert!(found[3] < found[0], "{found:?}");
    let attention = "architecture = \"unet-attention\"\nwidth = 4";
    let output = train(folder.path(), &recipe(folder.path(), attention), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = losses(folder.path());
    assert!(found[3] < found[0], "{found:?}");
}

#[test]
fn predictions_from_weights_need_no_run() {
    let folder = tempdir().unwrap();
    let (_, val) = small_data(folder.path());
    let output =
        train(folder.path(), &recipe(folder.path(), "architecture = \"unet-seeps\"\nwidth = 4\ndepth = 2"), &[]);
    assert!(output.status.success());
    let run = folder.path().join("run");
    let predict = |given: &[&str], to: &str| {
        let to = folder.path().join(to);
        let (output, image) = (text(&to), text(&val[0].image));
        let more = ["--output-path", &output, "--prob", "--device", "flex", &image];
        stdout_of(&[&["predict"], given, &more].concat());
        let files: HashMap<_, _> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "npy"))
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect();
        assert_eq!(files.len(), 2);
        files
    };
    let weights = text(&run.join("model.safetensors"));
    let expected = predict(&["--run", &text(&run)], "a");
    assert_eq!(predict(&["--weights", &weights], "b"), expected);
    assert_eq!(predict(&["--weights", &weights, "--dataset", "demo"], "c"), expected);
    let said = stderr_of(&["predict", "--weights", &weights, "--dataset", "camvid", "--output-path", "d", "x.png"], 1);
    assert!(said.contains("the weights have 4 outputs, but data set 'camvid' has 11 classes"), "{said}");
}

#[test]
fn header_of_imported_weights_is_pythons() {
    let folder = tempdir().unwrap();
    let own = folder.path().join("own.safetensors");
    stdout_of(&["import", &text(&fixture_path("unet_seeps_zip.pth")), "--output", &text(&own)]);
    let bytes = fs::read(&own).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let expected = fixture("unet_seeps_weights.safetensors");
    let found = read_tensors(&own);
    assert!(found.len() == expected.len() && expected.iter().all(|(name, data)| floats(&found[name]) == floats(data)));
}
