//! Writing what `torch.load` reads: a zip archive of a pickle that describes the tensors and their bytes beside it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use safetensors::tensor::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::checkpoint::Stored;
use crate::base::files::write_atomically;
use crate::base::{Error, Result};

/// The folder in the archive; PyTorch takes any name.
const ROOT: &str = "archive";
/// PyTorch aligns the bytes of a tensor like this, for mapping them into memory.
const ALIGNMENT: u16 = 64;

/// What stands around the tensors in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Around {
    /// Nothing: `torch.save(network.state_dict(), path)`.
    Nothing,
    /// `{"epoch": 0, "state_dict": ...}`, as hszhao/semseg reads it.
    Epoch,
    /// `{"meta": {}, "state_dict": ...}`, as mmengine reads it.
    Meta,
    /// The label values of the classes, under `mask_values` beside the tensors, as milesial's scripts read it.
    MaskValues(Vec<u16>),
}

/// Writes tensors as an `OrderedDict`, with what the reader expects around it.
pub(super) fn write(path: &Path, tensors: &BTreeMap<String, Stored>, around: &Around) -> Result<()> {
    let pickle = pickle(tensors, around).map_err(|reason| Error::content(path, reason))?;
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    // Every tensor is read before the file is begun, so that a damaged one is an error of its own.
    let bytes: Vec<_> = tensors.values().map(Stored::bytes).collect::<Result<_>>()?;
    write_atomically(path, |out| {
        let mut zip = ZipWriter::new(out);
        let mut entry = |name: String, content: &[u8]| -> io::Result<()> {
            let large = content.len() as u64 >= u64::from(u32::MAX);
            zip.start_file(format!("{ROOT}/{name}"), stored.large_file(large))?;
            zip.write_all(content)
        };
        entry("data.pkl".into(), &pickle)?;
        entry("byteorder".into(), b"little")?;
        for (i, bytes) in bytes.iter().enumerate() {
            entry(format!("data/{i}"), bytes)?;
        }
        entry("version".into(), b"3\n")?;
        zip.finish()?;
        Ok(())
    })
}

/// The class of PyTorch's storages of a type.
fn storage(dtype: Dtype) -> Result<&'static str, String> {
    Ok(match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I16 => "ShortStorage",
        Dtype::I8 => "CharStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::BOOL => "BoolStorage",
        other => return Err(format!("tensors of type {other:?} cannot be written for PyTorch")),
    })
}

/// Opcodes of pickle's protocol 2, as Python's `pickletools` documents them.
mod opcode {
    pub(super) const PROTO: &[u8] = &[0x80, 2];
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const MARK: u8 = b'(';
    pub(super) const TUPLE: u8 = b't';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const BINPERSID: u8 = b'Q';
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const STOP: u8 = b'.';
}

/// In the middle, an `OrderedDict` of name and `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
fn pickle(tensors: &BTreeMap<String, Stored>, around: &Around) -> Result<Vec<u8>, String> {
    use opcode::*;
    let mut out = PROTO.to_vec();
    let global = |out: &mut Vec<u8>, module: &str, name: &str| {
        out.push(GLOBAL);
        out.extend(format!("{module}\n{name}\n").bytes());
    };
    let ordered_dict = |out: &mut Vec<u8>| {
        global(out, "collections", "OrderedDict");
        out.extend([EMPTY_TUPLE, REDUCE]);
    };
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(BINUNICODE);
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.bytes());
    };
    let integer = |out: &mut Vec<u8>, number: usize| {
        out.extend([LONG1, 9]); // one byte more than a number without sign needs
        out.extend((number as u64).to_le_bytes());
        out.push(0);
    };
    let tuple = |out: &mut Vec<u8>, numbers: &[usize]| {
        out.push(MARK);
        numbers.iter().for_each(|number| integer(out, *number));
        out.push(TUPLE);
    };
    match around {
        Around::Epoch => {
            out.extend([EMPTY_DICT, MARK]);
            text(&mut out, "epoch");
            integer(&mut out, 0);
            text(&mut out, "state_dict");
        }
        Around::Meta => {
            out.extend([EMPTY_DICT, MARK]);
            text(&mut out, "meta");
            out.push(EMPTY_DICT);
            text(&mut out, "state_dict");
        }
        Around::Nothing | Around::MaskValues(_) => {}
    }
    ordered_dict(&mut out);
    out.push(MARK);
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut out, name);
        global(&mut out, "torch._utils", "_rebuild_tensor_v2");
        out.extend([MARK, MARK]);
        text(&mut out, "storage");
        global(&mut out, "torch", storage(tensor.dtype())?);
        text(&mut out, &i.to_string());
        text(&mut out, "cpu");
        integer(&mut out, tensor.len());
        out.extend([TUPLE, BINPERSID]);
        integer(&mut out, 0);
        let shape = tensor.shape();
        let strides: Vec<usize> = (1..=shape.len()).map(|i| shape[i..].iter().product()).collect();
        tuple(&mut out, shape);
        tuple(&mut out, &strides);
        out.push(NEWFALSE);
        ordered_dict(&mut out);
        out.extend([TUPLE, REDUCE]);
    }
    if let Around::MaskValues(values) = around {
        text(&mut out, "mask_values");
        out.extend([EMPTY_LIST, MARK]);
        values.iter().for_each(|value| integer(&mut out, usize::from(*value)));
        out.push(APPENDS);
    }
    out.push(SETITEMS);
    if matches!(around, Around::Epoch | Around::Meta) {
        out.push(SETITEMS);
    }
    out.push(STOP);
    Ok(out)
}
