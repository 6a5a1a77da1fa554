//! Writing what `torch.load` reads: a zip archive of a pickle that describes the tensors and their bytes beside it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use safetensors::tensor::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::checkpoint::Stored;
use super::torch::TYPES;
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
    let class = TYPES.iter().find_map(|(stored, _, class)| class.filter(|_| *stored == dtype));
    class.ok_or_else(|| format!("tensors of type {dtype:?} cannot be written for PyTorch"))
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
    let mut out = Pickle(opcode::PROTO.to_vec());
    out.begin(around);
    out.ordered_dict();
    out.push(opcode::MARK);
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        out.text(name);
        out.tensor(i, tensor)?;
    }
    out.end(around);
    Ok(out.0)
}

/// A pickle that is being written.
struct Pickle(Vec<u8>);

impl Pickle {
    fn push(&mut self, opcode: u8) {
        self.0.push(opcode);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.push(opcode::GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").bytes());
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([opcode::EMPTY_TUPLE, opcode::REDUCE]);
    }

    fn text(&mut self, text: &str) {
        self.push(opcode::BINUNICODE);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
    }

    fn integer(&mut self, number: usize) {
        self.0.extend([opcode::LONG1, 9]); // one byte more than a number without sign needs
        self.0.extend((number as u64).to_le_bytes());
        self.push(0);
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.push(opcode::MARK);
        numbers.iter().for_each(|number| self.integer(*number));
        self.push(opcode::TUPLE);
    }

    /// The call that makes a tensor of the archive's storage `index`.
    fn tensor(&mut self, index: usize, tensor: &Stored) -> Result<(), String> {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend([opcode::MARK, opcode::MARK]);
        self.text("storage");
        self.global("torch", storage(tensor.dtype())?);
        self.text(&index.to_string());
        self.text("cpu");
        self.integer(tensor.len());
        self.0.extend([opcode::TUPLE, opcode::BINPERSID]);
        self.integer(0);
        let shape = tensor.shape();
        let strides: Vec<usize> = (1..=shape.len()).map(|i| shape[i..].iter().product()).collect();
        self.tuple(shape);
        self.tuple(&strides);
        self.push(opcode::NEWFALSE);
        self.ordered_dict();
        self.0.extend([opcode::TUPLE, opcode::REDUCE]);
        Ok(())
    }

    /// What stands before the tensors.
    fn begin(&mut self, around: &Around) {
        if matches!(around, Around::Nothing | Around::MaskValues(_)) {
            return;
        }
        self.0.extend([opcode::EMPTY_DICT, opcode::MARK]);
        if *around == Around::Epoch {
            self.text("epoch");
            self.integer(0);
        } else {
            self.text("meta");
            self.push(opcode::EMPTY_DICT);
        }
        self.text("state_dict");
    }

    /// What stands after them.
    fn end(&mut self, around: &Around) {
        if let Around::MaskValues(values) = around {
            self.text("mask_values");
            self.0.extend([opcode::EMPTY_LIST, opcode::MARK]);
            values.iter().for_each(|value| self.integer(usize::from(*value)));
            self.push(opcode::APPENDS);
        }
        self.push(opcode::SETITEMS);
        if matches!(around, Around::Epoch | Around::Meta) {
            self.push(opcode::SETITEMS);
        }
        self.push(opcode::STOP);
    }
}
