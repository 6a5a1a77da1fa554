//! What a weight file holds, whoever wrote it: named tensors that are read when they are needed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::TensorData;
use half::{bf16, f16};
use pytorch_reader::{DType, PickleValue, PytorchReader};
use safetensors::tensor::{Dtype, SafeTensors, View};
use zip::ZipArchive;

use super::recognise::{ENTRY, is_known};
use crate::error::{Error, Result};
use crate::files::{open_file, read_bytes};
use crate::image::limits::{self, Coding};

/// Under these names, one in the other, people save their weights beside the state of a training.
const WRAPPERS: &[&str] =
    &["state_dict", "model_state_dict", "model_state", "module", "_orig_mod", "model", "network", "net"];

/// What milesial's checkpoints say beside the weights: the label value of each class.
pub(super) const MASK_VALUES: &str = "mask_values";

/// Most bytes that an object takes which a pickle describes in one.
const OBJECT: u64 = 100;

/// A tensor of a weight file.
#[derive(Debug, Clone)]
pub struct Stored {
    shape: Vec<usize>,
    dtype: Dtype,
    source: Source,
    path: Arc<Path>,
}

#[derive(Debug, Clone)]
enum Source {
    Torch(pytorch_reader::Tensor),
    File(Arc<Vec<u8>>, Range<usize>),
}

impl Stored {
    /// What PyTorch's batch norms count their steps with, at 0.
    pub(super) fn zero_counter() -> Self {
        let bytes = Arc::new(vec![0; 8]);
        Self { shape: Vec::new(), dtype: Dtype::I64, source: Source::File(bytes, 0..8), path: Path::new("").into() }
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of its elements.
    pub(super) fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its elements, little-endian.
    pub(super) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Torch(tensor) => tensor
                .read()
                .map(Cow::Owned)
                .map_err(|e| Error::content(&self.path, format!("damaged ({e}); fetch or copy the file again"))),
            Source::File(bytes, range) => Ok(Cow::Borrowed(&bytes[range.clone()])),
        }
    }

    /// Its elements as float32; they must be finite.
    pub fn floats(&self, name: &str) -> Result<TensorData> {
        let bytes = &self.bytes()?;
        let values = match self.dtype {
            Dtype::F32 => elements::<4>(bytes, f32::from_le_bytes),
            Dtype::F64 => elements::<8>(bytes, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => elements::<2>(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => elements::<2>(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            other => {
                return Err(Error::content(
                    &self.path,
                    format!("tensor {name} has type {other:?}; weights are floating point"),
                ));
            }
        };
        if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::content(
                &self.path,
                format!(
                    "tensor {name} holds {bad}; weights are finite: the training broke down, or the file is damaged"
                ),
            ));
        }
        Ok(TensorData::new(values, self.shape.clone()))
    }
}

fn elements<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
}

/// For writing it again as it is.
impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // Whoever writes has read every tensor before, so that a damaged one is an error and not an empty tensor here.
        self.bytes().unwrap_or_default()
    }

    fn data_len(&self) -> usize {
        match &self.source {
            Source::Torch(tensor) => tensor.byte_len(),
            Source::File(_, range) => range.len(),
        }
    }
}

/// The tensors of one or more weight files.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// By name, without what they are wrapped in.
    pub tensors: BTreeMap<String, Stored>,
    /// What the files hold beside the weights, by its first word, and how many tensors that is.
    pub beside: BTreeMap<String, usize>,
    /// The text entries of a safetensors file.
    pub metadata: HashMap<String, String>,
}

impl Checkpoint {
    /// Opens weight files that belong together: safetensors, or what `torch.save` wrote (zip, or the pickles before
    /// PyTorch 1.6). Nothing in a pickle is executed. Names lose the `state_dict.`, `model.`, `module.` before them.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut all =
            Self { paths: paths.to_vec(), tensors: BTreeMap::new(), beside: BTreeMap::new(), metadata: HashMap::new() };
        for path in paths {
            let (tensors, metadata) = open_one(path)?;
            if tensors.is_empty() {
                return Err(Error::content(path, "holds no tensor; give a file of weights"));
            }
            let (tensors, beside) = match metadata.contains_key(ENTRY) {
                true => (tensors, BTreeMap::new()),
                false => unwrap(tensors, is_known),
            };
            all.metadata.extend(metadata);
            for (word, count) in beside {
                *all.beside.entry(word).or_default() += count;
            }
            for (name, tensor) in tensors {
                if all.tensors.insert(name.clone(), tensor).is_some() {
                    return Err(Error::content(
                        path,
                        format!("tensor {name} is in another of the files, too; give files that complete each other"),
                    ));
                }
            }
        }
        Ok(all)
    }

    /// The label value of each class, where the file says it.
    pub fn label_values(&self) -> Option<Vec<u16>> {
        serde_json::from_str(self.metadata.get(MASK_VALUES)?).ok()
    }

    /// The files, as text.
    pub fn label(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" + ")
    }

    /// An error about the content of the files.
    pub fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::content(self.label(), reason)
    }
}

type Opened = (BTreeMap<String, Stored>, HashMap<String, String>);

fn open_one(path: &Path) -> Result<Opened> {
    if path.is_dir() {
        return Err(Error::content(path, "is a folder, not a file of weights"));
    }
    let mut head = Vec::new();
    let (file, _) = open_file(path)?;
    file.take(9).read_to_end(&mut head).map_err(|e| Error::read(path, e))?;
    // A safetensors file begins with the length of its header, and that with a brace.
    if head.get(8) == Some(&b'{') {
        open_safetensors(path)
    } else if head.starts_with(b"PK") {
        check_archive(path)?;
        open_torch(path)
    } else {
        open_torch(path)
    }
}

fn open_safetensors(path: &Path) -> Result<Opened> {
    let bytes = Arc::new(read_bytes(path)?);
    let damaged = |e| Error::content(path, format!("not a readable safetensors file ({e}); it may be cut short"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let shared: Arc<Path> = path.into();
    let start = bytes.as_ptr() as usize;
    let tensors = file.iter().map(|(name, view)| {
        let offset = view.data().as_ptr() as usize - start;
        let source = Source::File(bytes.clone(), offset..offset + view.data().len());
        let tensor = Stored { shape: view.shape().to_vec(), dtype: view.dtype(), source, path: shared.clone() };
        (name.to_owned(), tensor)
    });
    Ok((tensors.collect(), header.metadata().clone().unwrap_or_default()))
}

/// Looks at what a zip archive claims to unpack to. PyTorch compresses nothing, but others do.
fn check_archive(path: &Path) -> Result<()> {
    let (file, length) = open_file(path)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| not_readable(path, e))?;
    let (mut pickles, mut all) = (0u64, 0u64);
    for place in 0..archive.len() {
        let entry = archive.by_index_raw(place).map_err(|e| not_readable(path, e))?;
        all = all.saturating_add(entry.size());
        if entry.name().is_ok_and(|name| name.ends_with("data.pkl")) {
            pickles = pickles.saturating_add(entry.size());
        }
    }
    if all > Coding::Deflate(8).most_pixels(length) {
        return Err(not_readable(path, format!("it claims to hold {all} bytes, which {length} bytes cannot")));
    }
    let claim = format_args!("it unpacks to {all} bytes, {pickles} of them descriptions of tensors");
    limits::check(path, claim, pickles.saturating_mul(OBJECT).saturating_add(all))
}

fn not_readable(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::content(
        path,
        format!(
            "not a readable weight file ({reason}); it may be cut short, or of another kind: safetensors and what PyTorch's \
             torch.save writes can be read"
        ),
    )
}

fn open_torch(path: &Path) -> Result<Opened> {
    let reader = PytorchReader::new(path).map_err(|e| not_readable(path, e))?;
    // A tensor may claim the same numbers over and over, by strides of 0.
    let bytes = reader.tensors().values().fold(0u64, |sum, tensor| sum.saturating_add(tensor.byte_len() as u64));
    limits::check(path, format_args!("its {} tensors claim {bytes} bytes", reader.len()), bytes)?;
    let shared: Arc<Path> = path.into();
    let tensors = reader.into_tensors().into_iter().map(|(name, tensor)| {
        let (shape, dtype) = (tensor.shape().to_vec(), dtype(tensor.dtype()));
        (name, Stored { shape, dtype, source: Source::Torch(tensor), path: shared.clone() })
    });
    let tensors: BTreeMap<String, Stored> = tensors.collect();
    let mut metadata = HashMap::new();
    if tensors.contains_key("inc.double_conv.0.weight")
        && let Ok(PickleValue::List(values)) = PytorchReader::read_pickle_data(path, Some(MASK_VALUES))
    {
        let number = |value: &PickleValue| match value {
            PickleValue::Int(number) => Some(*number),
            _ => None,
        };
        if let Some(values) = values.iter().map(number).collect::<Option<Vec<_>>>() {
            metadata.insert(MASK_VALUES.to_owned(), serde_json::json!(values).to_string());
        }
    }
    Ok((tensors, metadata))
}

fn dtype(torch: DType) -> Dtype {
    match torch {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// Takes the wrappers off the names until `known` knows them, or none is left. Returns the weights, and what was beside them.
fn unwrap<T>(
    mut tensors: BTreeMap<String, T>,
    known: impl Fn(&BTreeMap<String, T>) -> bool,
) -> (BTreeMap<String, T>, BTreeMap<String, usize>) {
    let mut beside = BTreeMap::new();
    while !known(&tensors) {
        let wrapper = WRAPPERS.iter().map(|wrapper| format!("{wrapper}."));
        let Some(prefix) = wrapper.into_iter().find(|prefix| tensors.keys().any(|name| name.starts_with(prefix)))
        else {
            break;
        };
        let mut inside = BTreeMap::new();
        for (name, tensor) in tensors {
            match name.strip_prefix(&prefix) {
                Some(rest) => _ = inside.insert(rest.to_owned(), tensor),
                None => *beside.entry(name.split('.').next().unwrap_or_default().to_owned()).or_default() += 1,
            }
        }
        tensors = inside;
    }
    (tensors, beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_come_off_and_training_state_stays_behind() {
        for (names, expected) in [
            (vec!["conv1.weight", "fc.bias"], vec!["conv1.weight", "fc.bias"]),
            (
                vec!["state_dict.module.conv1.weight", "optimizer.state.0.momentum_buffer", "best_acc1"],
                vec!["conv1.weight"],
            ),
            (vec!["module._orig_mod.model.conv1.weight", "n_averaged"], vec!["conv1.weight"]),
            (vec!["model.conv1.weight", "ema.conv1.weight"], vec!["conv1.weight"]),
            // As PyTorch Lightning saves segmentation_models_pytorch's example.
            (
                vec!["state_dict.model.conv1.weight", "state_dict.mean", "optimizer_states.0", "callbacks.x"],
                vec!["conv1.weight"],
            ),
            // Known as it is: what is called `model` in it is no wrapper.
            (vec!["conv1.weight", "model.conv2.weight"], vec!["conv1.weight", "model.conv2.weight"]),
            (vec!["head.weight", "body.weight"], vec!["body.weight", "head.weight"]),
        ] {
            let tensors: BTreeMap<String, ()> = names.iter().map(|name| ((*name).to_owned(), ())).collect();
            let (found, beside) = unwrap(tensors, |tensors| tensors.contains_key("conv1.weight"));
            assert_eq!(found.keys().collect::<Vec<_>>(), expected, "{names:?}");
            assert_eq!(beside.values().sum::<usize>(), names.len() - expected.len());
        }
    }
}
