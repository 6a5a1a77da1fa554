//! Files that are damaged, incomplete, of another network or of bad intent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;
use segtool::nn::model::Variant;
use tempfile::{TempDir, tempdir};

use crate::common::tensors::{Raw, raw, torchvision, write};
use crate::common::{fixture, fixture_path, read_tensors, segtool, stderr_of, text};

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
    let train = segtool("train").arg("--recipe", "mit-resnet34-c1").arg("--weights", &whole);
    let said =
        train.args(&["--images", "a", "--labels", "b"]).arg("--output-path", folder.path().join("run")).fails_with(1);
    assert!(said.contains("VGG-16 from torchvision, which a recipe of hypercolumns can use"), "{said}");
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
    assert!(said.contains("has type I32; weights must be floating point"), "{said}");
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
    assert!(said.contains("a residual network of [3, 2, 2, 2] blocks is not supported"), "{said}");
}
