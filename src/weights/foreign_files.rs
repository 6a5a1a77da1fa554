//! Files that people give for weights, but that hold something else or hold them in another way: what they are, and what
//! to do.

use std::path::Path;

/// How Keras' weights come here.
const KERAS: &str = "segtool has no TensorFlow; load the model there, turn each convolution's kernel from [height, width, in, \
                     out] to [out, in, height, width], and write the tensors under the names of a network here with \
                     safetensors.torch.save_file";

/// How a PyTorch module comes here.
fn state_dict_of(load: &str, path: &Path) -> String {
    format!(
        "with PyTorch, write its weights: python3 -c \"import torch; torch.save({load}('{}', \
         map_location='cpu').state_dict(), 'weights.pth')\", and give weights.pth",
        path.display()
    )
}

/// What is said of TorchScript.
pub(super) fn torchscript(path: &Path) -> String {
    format!("is a TorchScript archive, a program with its weights; {}", state_dict_of("torch.jit.load", path))
}

/// What a zip archive is that PyTorch's `torch.save` did not write, by the names in it.
pub(super) fn archive(names: &[String]) -> String {
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    let what = if any(&|name| name.ends_with("model.weights.h5")) {
        return format!("is a Keras model (a .keras archive); {KERAS}");
    } else if any(&|name| name.contains("serialized_exported_program") || name.ends_with("/models/model.json")) {
        "a program of torch.export (.pt2); save the state_dict of its module instead: \
         torch.save(torch.export.load(FILE).state_dict, \"weights.pth\")"
    } else if !names.is_empty() && !any(&|name| !name.ends_with(".npy")) {
        "a numpy archive (.npz); write its arrays as a state dict: torch.save({name: torch.from_numpy(array) for name, \
         array in numpy.load(FILE).items()}, \"weights.pth\")"
    } else if any(&|name| [".pth", ".pt", ".ckpt", ".safetensors"].iter().any(|end| name.ends_with(end))) {
        "a zip archive of weight files; unpack it and give one of them"
    } else {
        "a zip archive without PyTorch's data.pkl; give what torch.save wrote, or a safetensors file"
    };
    format!("is {what}")
}

/// What a file is that begins with `head`, if it is known and neither of weights nor a zip archive.
pub(super) fn by_head(path: &Path, head: &[u8]) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let text = String::from_utf8_lossy(head);
    Some(if head.starts_with(b"\x89HDF\r\n\x1a\n") {
        format!("is an HDF5 file, as Keras writes its weights; {KERAS}")
    } else if head.get(4..8) == Some(b"TFL3") {
        format!("is a TensorFlow Lite model; {KERAS}")
    } else if ends(&[".pb", ".pbtxt", ".tflite"]) || ends(&[".index"]) || name.contains(".data-00000-of-") {
        format!("is a part of a TensorFlow model; {KERAS}")
    } else if ends(&[".onnx"]) || (head.first() == Some(&8) && text.contains("pytorch")) {
        "is an ONNX model, a graph whose weights have lost their names; give the state dict that it was made from"
            .into()
    } else if head.starts_with(b"GGUF") || head.starts_with(b"ggml") {
        "is a llama.cpp file of a language model, which segtool does not support".into()
    } else if text.starts_with("version https://git-lfs") {
        "is a pointer of Git LFS, not the weights themselves; fetch these with `git lfs pull`".into()
    } else if text.trim_start().to_lowercase().starts_with("<!doctype html") || text.trim_start().starts_with("<html") {
        "is not a readable weight file but a web page, as a download link gives when it needs a login or a confirmation; fetch \
         the file itself"
            .into()
    } else if head.get(257..262) == Some(b"ustar") {
        "is a tar archive; unpack it and give the file of weights in it (one that PyTorch before 0.1.10 wrote: torch.load it \
         and torch.save its state dict)"
            .into()
    } else if [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"]
        .iter()
        .any(|magic| head.starts_with(magic))
    {
        "is a compressed archive; unpack it and give the file of weights in it".into()
    } else if text.starts_with('{') && ends(&[".json"]) {
        "is JSON, a list of parts or a configuration; give the .safetensors or .pth files themselves".into()
    } else {
        return None;
    })
}

/// What a folder is that holds no weights under the usual names.
pub(super) fn folder(path: &Path) -> Option<String> {
    let has = |name: &str| path.join(name).exists();
    if has("saved_model.pb") || has("keras_metadata.pb") {
        return Some(format!("is a TensorFlow SavedModel; {KERAS}"));
    }
    if has("checkpoint") && !has("model.safetensors") {
        return Some(format!("is a folder of TensorFlow checkpoints; {KERAS}"));
    }
    if has("model.safetensors.index.json") || has("pytorch_model.bin.index.json") {
        return Some(
            "holds weights in several parts; give each of them as one of `weights`, or import them \
             together"
                .into(),
        );
    }
    (has("data.pkl") && has("data")).then(|| {
        "is an unpacked PyTorch file; pack it again: zip -0 -r ../weights.pth . (with this folder as the only one in it)".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        for (name, head, words) in [
            ("m.h5", &b"\x89HDF\r\n\x1a\n\0\0"[..], "HDF5"),
            ("m.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            ("model.ckpt.index", b"\0\0", "a part of a TensorFlow model"),
            ("model.ckpt-9.data-00000-of-00001", b"\0\0", "a part of a TensorFlow model"),
            ("m.onnx", b"\x08\x07", "ONNX"),
            ("m.bin", b"\x08\x07\x12\x07pytorch\x1a", "ONNX"),
            ("m.pth", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
            ("m.pth", b"\n<!DOCTYPE html><html>", "a web page"),
            ("m.pth", b"\x1f\x8b\x08", "unpack it"),
            ("model.safetensors.index.json", b"{\"metadata\"", "JSON"),
        ] {
            let said = by_head(Path::new(name), head).unwrap();
            assert!(said.contains(words), "{name}: {said}");
        }
        assert_eq!(by_head(Path::new("m.pth"), b"\x80\x02"), None);
        for (names, words) in [
            (&["config.json", "model.weights.h5"][..], "Keras"),
            (&["a.npy", "b.npy"], "numpy archive"),
            (&["best.pth", "README"], "a zip archive of weight files"),
            (&["word/document.xml"], "without PyTorch's data.pkl"),
        ] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert!(archive(&names).contains(words), "{names:?}");
        }
    }
}
