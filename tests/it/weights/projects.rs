//! Weights of every project mean what they meant there, and are written back.

use std::fs;
use std::path::Path;
use std::process::Command;

use safetensors::tensor::SafeTensors;
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{
    C1Config, DecoderConfig, Dilation, EncoderDecoderConfig, NetworkConfig, PyramidConfig, ResNetConfig, Stem, Variant,
    collect,
};
use segtool::weights::{Checkpoint, Content, Names, Target, Weights};
use tempfile::tempdir;

use super::{foreign, tensors_of};
use crate::common::references::{STEP, cases};
use crate::common::tensors::{raw, torchvision, write};
use crate::common::{devices, fixture, fixture_path, floats, read_tensors, relative_error, stderr_of, stdout_of, text};

/// Sums of float32 in another order: 1e-4 leaves room, another dilation does not.
const TOLERANCE: f32 = 1e-4;

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
        assert!(said.contains("not loaded (the classifier from pretraining): fc.weight"), "{said}");
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
fn export_refuses_what_the_other_project_would_misread() {
    let folder = tempdir().unwrap();
    let save_variant = |variant: Variant, dilation: Dilation, stem: Stem| {
        let encoder = ResNetConfig { width: 4, stem, dilation, ..ResNetConfig::new(variant) };
        let config = EncoderDecoderConfig::new(encoder, DecoderConfig::C1(C1Config::default()), 3, 2);
        let config = NetworkConfig::EncoderDecoder(config);
        let network = config.init(0, &DeviceChoice::Flex.open().unwrap()).unwrap();
        let path = folder.path().join("own.safetensors");
        let normalisation = segtool::data::Normalisation::PerImage { valid: segtool::data::ValidPixels::All };
        segtool::weights::save(&network, &segtool::weights::Description::own(config, normalisation), &path).unwrap();
        path
    };
    let export = |path: &Path, to: &str, code: i32| {
        let output = folder.path().join(if to == "csail" { "out" } else { "out.pth" });
        stderr_of(&["export", &text(path), "--to", to, "--output", &text(&output)], code)
    };
    let save = |dilation: Dilation, stem: Stem| save_variant(Variant::Resnet18, dilation, stem);
    for (dilation, note) in [
        (Dilation::AfterStride, "the one with 'dilated'"),
        (Dilation::None, "the one without 'dilated'"),
        (Dilation::Stage4, "dilate_scale=16"),
    ] {
        let said = export(&save(dilation, Stem::Deep), "csail", 0);
        assert!(said.contains(note), "{said}");
    }
    let own = text(&save(Dilation::None, Stem::Deep));
    for (output, code) in [("v1.0", 0), ("v1.pth", 2)] {
        let path = folder.path().join(output);
        stderr_of(&["export", &own, "--to", "csail", "--output", &text(&path)], code);
        assert_eq!(path.join("encoder.pth").is_file(), code == 0, "{output}");
    }
    let said = export(&save(Dilation::Throughout, Stem::Deep), "csail", 1);
    assert!(said.contains("encoder.dilation is \"throughout\" here, but \"after-stride\" there"), "{said}");
    let said = export(&save(Dilation::AfterStride, Stem::Conv7), "csail", 1);
    assert!(said.contains("cannot be written for"), "{said}");
    let said = export(&save(Dilation::AfterStride, Stem::Deep), "milesial", 1);
    assert!(said.contains("cannot be written for"), "{said}");
    let deep = |dilation: Dilation| save_variant(Variant::Resnet50, dilation, Stem::Conv7);
    let said = export(&deep(Dilation::Throughout), "torchvision", 1);
    assert!(said.contains("including the first"), "{said}");
    let said = export(&deep(Dilation::AfterStride), "torchvision", 0);
    assert!(said.contains("replace_stride_with_dilation=[False, True, True]"), "{said}");
    assert!(said.contains("left out 7 tensors") && said.contains("fc is missing"), "{said}");
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
