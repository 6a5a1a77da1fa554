//! What a weight file holds, whoever wrote it: named tensors that are read when they are needed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::TensorData;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, View};

use super::foreign_files;
use super::torch::{self, TorchFile};
use super::unwrap::{Choice, Unwrapped, unwrap};
use crate::base::files::{open_file, read_bytes};
use crate::base::{Error, Result};
use crate::weights::torch::{Storages, Strided};

/// What milesial's checkpoints say beside the weights: the label value of each class.
pub(super) const MASK_VALUES: &str = "mask_values";
/// How smp's decoder enlarges, where a pickled module says it.
pub(super) const INTERPOLATION_MODE: &str = "interpolation_mode";
/// The text of the configuration that mmsegmentation writes beside the weights.
pub(super) const MMSEG_CONFIG: &str = "mmseg_config";

/// As much of a file as shows its kind.
const HEAD: u64 = 512;

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
    Torch(Arc<Storages>, Strided),
    File(Arc<Vec<u8>>, Range<usize>),
}

impl Stored {
    /// A tensor that is at hand, of no file.
    pub(super) fn of_bytes(shape: Vec<usize>, dtype: Dtype, bytes: Vec<u8>) -> Self {
        let whole = 0..bytes.len();
        Self { shape, dtype, source: Source::File(Arc::new(bytes), whole), path: Path::new("").into() }
    }

    /// What PyTorch's batch norms count their steps with, at 0.
    pub(super) fn zero_counter() -> Self {
        Self::of_bytes(Vec::new(), Dtype::I64, vec![0; 8])
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

    /// Whether it is a whole number, as counters of steps and epochs are.
    pub(super) fn is_counter(&self) -> bool {
        let float = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16].contains(&self.dtype);
        !float && self.len() == 1
    }

    /// Type of its elements.
    pub(super) fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its elements, little-endian.
    pub(super) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Torch(storages, tensor) => tensor
                .read(storages)
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
                let reason = format!("tensor {name} has type {other:?}; weights must be floating point");
                return Err(Error::content(&self.path, reason));
            }
        };
        if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
            let reason = format!(
                "tensor {name} holds {bad}; weights must be finite: the training diverged, or the file is damaged"
            );
            return Err(Error::content(&self.path, reason));
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
            Source::Torch(_, tensor) => tensor.byte_len().unwrap_or_default(),
            Source::File(_, range) => range.len(),
        }
    }
}

/// The tensors of one or more weight files.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// By name, without what they are wrapped in.
    pub tensors: BTreeMap<String, Stored>,
    /// Tensors among them that cannot be read, and what they are.
    pub odd: BTreeMap<String, String>,
    /// What the files hold beside the weights, by the first words of the names, and how many tensors that is.
    pub beside: BTreeMap<String, usize>,
    /// The text entries of a safetensors file, and what else lies beside the weights as text.
    pub metadata: HashMap<String, String>,
    /// What the user should know of how the files were read, a line each.
    pub notes: Vec<String>,
}

impl Checkpoint {
    /// Opens weight files that belong together: safetensors, or what `torch.save` wrote (zip, or the pickles before
    /// PyTorch 1.6). Nothing in a pickle is executed. Names lose what is before those of a network that is known, such as
    /// `state_dict.module.`.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        Self::open_chosen(paths, &Choice::default())
    }

    /// The same for files that hold several networks: `choice` says which.
    pub fn open_chosen(paths: &[PathBuf], choice: &Choice) -> Result<Self> {
        let mut all = Self { paths: paths.to_vec(), ..Self::default() };
        for path in paths {
            all.add(path, open_one(path)?, choice)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path, file: Opened, choice: &Choice) -> Result<()> {
        if file.tensors.is_empty() {
            return Err(Error::content(path, "holds no tensors; give a weight file"));
        }
        let own = file.metadata.contains_key(ENTRY);
        let mut found = if own && *choice == Choice::default() {
            Unwrapped::plain(file.tensors)
        } else {
            unwrap(file.tensors, choice).map_err(|reason| Error::content(path, reason))?
        };
        self.metadata.extend(file.metadata);
        self.notes.extend(file.notes);
        for (name, what) in file.odd {
            // A name without a point is an entry beside a state dict's, and no part of a module.
            match found.inside(&name).filter(|name| name.contains('.')) {
                Some(name) => _ = self.odd.insert(name.to_owned(), what),
                None => *found.beside.entry(format!("{name}, {what}")).or_default() += 1,
            }
        }
        for (word, count) in found.beside {
            *self.beside.entry(word).or_default() += count;
        }
        if !found.averaged.is_empty() {
            let places = found.averaged.join(", ");
            self.notes.push(format!("the file also holds averaged weights, under {places}; `averaged` takes those"));
        }
        for (name, tensor) in found.tensors {
            if self.tensors.insert(name.clone(), tensor).is_some() {
                let reason =
                    format!("tensor {name} is also in another of the files; give files that complement each other");
                return Err(Error::content(path, reason));
            }
        }
        Ok(())
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

/// What one file holds.
struct Opened {
    tensors: BTreeMap<String, Stored>,
    odd: BTreeMap<String, String>,
    metadata: HashMap<String, String>,
    notes: Vec<String>,
}

fn open_one(path: &Path) -> Result<Opened> {
    if path.is_dir() {
        return Err(Error::content(path, "is a folder, not a weight file"));
    }
    let mut head = Vec::new();
    let (file, _) = open_file(path)?;
    file.take(HEAD).read_to_end(&mut head).map_err(|e| Error::read(path, e))?;
    // A safetensors file begins with the length of its header, and that with a brace.
    if head.get(8) == Some(&b'{') {
        return open_safetensors(path);
    }
    match foreign_files::by_head(path, &head) {
        Some(what) => Err(Error::content(path, what)),
        None => Ok(of_torch(path, torch::open(path)?)),
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
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Opened { tensors: tensors.collect(), odd: BTreeMap::new(), metadata, notes: Vec::new() })
}

fn of_torch(path: &Path, file: TorchFile) -> Opened {
    let shared: Arc<Path> = path.into();
    let tensors = file.tensors.into_iter().map(|(name, tensor)| {
        let (shape, dtype) = (tensor.shape().to_vec(), tensor.dtype());
        (name, Stored { shape, dtype, source: Source::Torch(file.storages.clone(), tensor), path: shared.clone() })
    });
    let values = file.mask_values.map(|values| (MASK_VALUES, serde_json::json!(values).to_string()));
    let mode = file.interpolation_mode.map(|mode| (INTERPOLATION_MODE, mode));
    let config = file.config.map(|config| (MMSEG_CONFIG, config));
    let texts = [values, mode, config].into_iter().flatten();
    let class = file.modules.iter().next().map(|(_, class)| class);
    let notes = class.map(|class| {
        format!("the file is a pickled module of class {class}: its parameters and buffers are read, its code is not")
    });
    Opened {
        tensors: tensors.collect(),
        odd: file.odd,
        metadata: texts.map(|(key, text)| (key.to_owned(), text)).collect(),
        notes: notes.into_iter().collect(),
    }
}

/// The entry of a safetensors file in which segtool says what it holds.
pub(crate) const ENTRY: &str = "segtool";
