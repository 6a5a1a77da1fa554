//! Weight files that claim more than they hold, read under the memory limit of the fuzzer.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use segtool::image::limits::set_memory_limit;
use segtool::weights::{Checkpoint, Weights};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::run::LIMIT;
use crate::seeds::fixture;

/// Why a file is not taken for weights.
fn refused_weights(path: &Path) -> String {
    set_memory_limit(Some(LIMIT));
    let weights = Checkpoint::open(&[path.into()]).and_then(|checkpoint| Weights::recognise(checkpoint, None)?.check());
    weights.unwrap_err().to_string()
}

#[test]
fn zip_bombs_for_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.pth");
    let deflated = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (entry, content) in [("archive/data.pkl", vec![b'N'; 1 << 20]), ("archive/data/0", vec![0; 70 << 20])] {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(entry, deflated).unwrap();
        zip.write_all(&content).unwrap();
        fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 100_000);
        let said = refused_weights(&path);
        // How much is available depends on what other tests are reading.
        assert!(said.contains("bomb.pth: it unpacks to") && said.contains(" is available"), "{said}");
    }
    // A directory that claims more than deflate can pack.
    let mut bytes = fixture("unet_seeps_zip.pth");
    let entry = bytes.windows(4).rposition(|word| word == b"PK\x01\x02").unwrap();
    bytes[entry + 24..entry + 28].copy_from_slice(&0xf000_0000u32.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert!(refused_weights(&path).contains("which 37801 bytes cannot"), "{}", refused_weights(&path));
}

/// A safetensors file of these tensors and description.
fn safetensors(header: &Value, values: usize) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; 4 * values]].concat()
}

#[test]
fn tensors_and_descriptions_that_claim_what_is_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let tensor = |shape: &[u64], start: usize, end: usize| json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] });
    // A width of 2^40 in no byte.
    let empty = json!({
        "dconv_down1.0.weight": tensor(&[1 << 40, 0, 3, 3], 0, 0),
        "dconv_down1.0.bias": tensor(&[1], 0, 4),
        "dconv_up1.0.weight": tensor(&[1], 4, 8),
        "conv_last.weight": tensor(&[1], 8, 12),
    });
    fs::write(&path, safetensors(&empty, 3)).unwrap();
    let said = refused_weights(&path);
    assert!(said.contains("a.safetensors: "), "{said}");
    // Longer than the file.
    fs::write(&path, safetensors(&json!({ "w": tensor(&[1 << 40], 0, 1 << 42) }), 1)).unwrap();
    assert!(refused_weights(&path).contains("not a readable safetensors file"));
    // A description of its own that no memory holds.
    for (key, number, expected) in
        [("outputs", u64::MAX, "must be 1 to 65535"), ("bands", 1 << 40, "1 to 65535"), ("width", 1 << 40, "width")]
    {
        let mut network = json!({ "architecture": "unet-seeps", "width": 4, "depth": 2, "bands": 1, "outputs": 4 });
        network[key] = json!(number);
        let description = json!({
            "version": "0.1.0", "names": "segtool", "content": { "network": network }, "normalisation": null,
        });
        let entries = json!({ "__metadata__": { "segtool": description.to_string() }, "w": tensor(&[1], 0, 4) });
        fs::write(&path, safetensors(&entries, 1)).unwrap();
        let said = refused_weights(&path);
        assert!(said.contains(expected) && said.contains("the file is damaged"), "{key}: {said}");
    }
}
