//! What `torch.save` writes, read as data: a zip archive, or the pickles from before PyTorch 1.6.

mod object;
mod pickle;
mod storage;
mod tensors;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

use super::foreign_files;
use crate::base::files::open_file;
use crate::base::{Error, Result};
use crate::image::limits::{self, Coding};
use object::{Id, Node, Pickle};
use storage::{Archive, width};
use tensors::{Found, find, storage_of};

pub(super) use storage::{Storages, Strided, TYPES};

/// Most bytes that an object takes which a pickle describes in one.
const OBJECT: u64 = 100;
/// What every file of the older format begins with, as a whole number.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// How far into the file that number is: the protocols of pickle write different things before it.
const MAGIC_WITHIN: usize = 64;
/// The version of the older format.
const PROTOCOL: usize = 1001;

/// What a file holds.
pub(super) struct TorchFile {
    pub(super) storages: Arc<Storages>,
    /// By the keys on the way to them.
    pub(super) tensors: BTreeMap<String, Strided>,
    /// Tensors that cannot be read, and what they are.
    pub(super) odd: BTreeMap<String, String>,
    /// Classes of modules that were pickled whole.
    pub(super) modules: BTreeMap<String, String>,
    /// How smp's decoder enlarges, where a whole module says it.
    pub(super) interpolation_mode: Option<String>,
    /// Label values of classes, as milesial's checkpoints have them.
    pub(super) mask_values: Option<Vec<i64>>,
    /// The text of the configuration that mmsegmentation keeps beside the weights.
    pub(super) config: Option<String>,
}

/// Opens what `torch.save` wrote.
///
/// # Errors
/// The file is damaged, or of another kind, which the error names.
pub(super) fn open(path: &Path) -> Result<TorchFile> {
    let (mut file, _) = open_file(path)?;
    let mut head = Vec::new();
    (&mut file).take(MAGIC_WITHIN as u64).read_to_end(&mut head).map_err(|e| Error::read(path, e))?;
    file.rewind().map_err(|e| Error::read(path, e))?;
    let (pickle, storages) = if head.starts_with(b"PK") {
        of_archive(path, file)?
    } else if head.windows(MAGIC.len()).any(|part| part == MAGIC) {
        of_older(file).map_err(|reason| not_readable(path, reason))?
    } else if head.first() == Some(&0x80) && head.get(1).is_some_and(|protocol| *protocol <= 5) {
        let pickle = pickle::read(&mut BufReader::new(file)).map_err(|reason| not_readable(path, reason))?;
        return Err(not_torch(path, &pickle));
    } else {
        return Err(not_readable(path, "it is neither a zip archive nor a pickle"));
    };
    let found = find(&pickle).map_err(|reason| not_readable(path, reason))?;
    check(path, &found, &storages)?;
    if found.tensors.is_empty() {
        return Err(no_tensor(path, &found));
    }
    let root = pickle.root;
    let meta = pickle.get(root, "meta");
    let config = meta.and_then(|meta| pickle.get(meta, "cfg").or_else(|| pickle.get(meta, "config")));
    let mut modes = found.interpolation_modes.into_iter();
    Ok(TorchFile {
        storages: Arc::new(storages),
        tensors: found.tensors,
        odd: found.odd,
        modules: found.modules,
        interpolation_mode: modes.next().filter(|_| modes.next().is_none()),
        mask_values: pickle.get(root, "mask_values").and_then(|id| whole_numbers(&pickle, id)),
        config: config.and_then(|id| pickle.text(id)).map(str::to_owned),
    })
}

fn whole_numbers(pickle: &Pickle, id: Id) -> Option<Vec<i64>> {
    let number = |id: &Id| match pickle.node(*id) {
        Node::Int(number) => Some(*number),
        _ => None,
    };
    pickle.sequence(id)?.iter().map(number).collect()
}

/// That what the tensors claim is there, and can be held.
fn check(path: &Path, found: &Found, storages: &Storages) -> Result<()> {
    let mut bytes = 0u64;
    for (name, tensor) in &found.tensors {
        // A tensor may claim the same numbers over and over, by strides of 0.
        bytes = bytes.saturating_add(tensor.byte_len().map_or(u64::MAX, |bytes| bytes as u64));
        let needed =
            tensor.reach().map_or(u64::MAX, |reach| (reach as u64).saturating_mul(width(tensor.dtype()) as u64));
        let there = storages.size(&tensor.key);
        if there.is_none_or(|there| there < needed) {
            let there = there.map_or_else(|| "is missing".to_owned(), |there| format!("has {there} bytes"));
            return Err(not_readable(path, format!("tensor {name} needs {needed} bytes of a storage that {there}")));
        }
    }
    limits::check(path, format_args!("its {} tensors claim {bytes} bytes", found.tensors.len()), bytes)
}

/// A file that is none of weights, or a part of one.
pub(super) fn not_readable(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::content(
        path,
        format!(
            "not a readable weight file ({reason}); it may be cut short, or of another kind: safetensors and what PyTorch's \
             torch.save writes can be read"
        ),
    )
}

fn no_tensor(path: &Path, found: &Found) -> Error {
    let odd = found.odd.iter().next().map(|(name, what)| format!("; {name} is {what}"));
    let of: Vec<&str> = found.classes.iter().map(String::as_str).filter(|class| !class.is_empty()).take(3).collect();
    let classes = if of.is_empty() { String::new() } else { format!("; it holds objects of {}", of.join(", ")) };
    let reason =
        format!("holds no tensor that can be read{}{classes}; give a file of weights", odd.unwrap_or_default());
    Error::content(path, reason)
}

/// A pickle that PyTorch did not write.
fn not_torch(path: &Path, pickle: &Pickle) -> Error {
    let numpy = pickle.nodes().iter().any(|node| matches!(node, Node::Class(name) if name.starts_with("numpy.")));
    let what = if numpy { "a pickle of numpy arrays" } else { "a pickle without tensors" };
    let reason = format!(
        "is {what}, which PyTorch's torch.save did not write; write its weights as a state dict: \
             torch.save({{name: torch.from_numpy(array) for name, array in weights.items()}}, \"weights.pth\")"
    );
    Error::content(path, reason)
}

/// The pickle and the storages of a zip archive.
fn of_archive(path: &Path, file: File) -> Result<(Pickle, Storages)> {
    let length = file.metadata().map_err(|e| Error::read(path, e))?.len();
    // Archives of weights begin where the file begins. Were that to be found out, the crate would take the second entry for
    // the first where an entry in the directory is as long as the records of zip64, as with names of 21 letters.
    let start = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(start, BufReader::new(file)).map_err(|e| not_readable(path, e))?;
    check_archive(path, &mut archive, length)?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let Some(folder) = names.iter().filter_map(|name| name.strip_suffix("data.pkl")).min_by_key(|name| name.len())
    else {
        return Err(Error::content(path, foreign_files::archive(&names)));
    };
    if names.iter().any(|name| *name == format!("{folder}constants.pkl")) {
        return Err(Error::content(path, foreign_files::torchscript(path)));
    }
    let mut bytes_of = |name: String| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(&name).map_err(|e| not_readable(path, e))?;
        entry.read_to_end(&mut bytes).map_err(|e| not_readable(path, e))?;
        Ok(bytes)
    };
    let order = format!("{folder}byteorder");
    if names.contains(&order) && bytes_of(order)? != b"little" {
        let reason =
            "was written on a big-endian machine; save it again on a little-endian one, with torch.load and torch.save";
        return Err(Error::content(path, reason));
    }
    let pickle = pickle::read(&mut Cursor::new(bytes_of(format!("{folder}data.pkl"))?));
    let pickle = pickle.map_err(|reason| not_readable(path, reason))?;
    let storages = Storages::of_archive(archive, format!("{folder}data/")).map_err(|e| not_readable(path, e))?;
    Ok((pickle, storages))
}

/// Looks at what a zip archive claims to unpack to. PyTorch compresses nothing, but others do.
fn check_archive(path: &Path, archive: &mut Archive, length: u64) -> Result<()> {
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

/// The pickle and the storages of the older format: a number, a version, what the machine was, the object, the names of
/// the storages, and each of these as the number of its elements and the elements.
fn of_older(file: File) -> Result<(Pickle, Storages), String> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut input = BufReader::new(file);
    pickle::read(&mut input)?;
    let version = pickle::read(&mut input)?;
    if version.size(version.root) != Some(PROTOCOL) {
        return Err(format!("its format version is not {PROTOCOL}"));
    }
    let machine = pickle::read(&mut input)?;
    let little = machine.get(machine.root, "little_endian").map(|id| machine.node(id));
    if !matches!(little, Some(Node::Bool(true))) {
        return Err("it does not say that it was written on a little-endian machine".into());
    }
    let pickle = pickle::read(&mut input)?;
    let parts = parts(&pickle, &mut input, length)?;
    Ok((pickle, Storages::of_parts(input.into_inner(), parts)))
}

/// Offset and bytes of each storage.
fn parts(
    pickle: &Pickle,
    input: &mut (impl BufRead + Seek),
    length: u64,
) -> Result<HashMap<String, (u64, u64)>, String> {
    let mut widths = HashMap::new();
    for node in pickle.nodes() {
        if let Node::Persistent(id) = node
            && let Some([tag, class, key, ..]) = pickle.sequence(*id)
            && pickle.text(*tag) == Some("storage")
        {
            let key = pickle.key(*key).ok_or("a storage has no name")?;
            let known = storage_of(pickle, *id).ok().and_then(|storage| storage.dtype).map(width);
            let class = pickle.class(*class).unwrap_or_default();
            let width = known.or_else(|| odd_width(class)).ok_or_else(|| format!("a storage is of type {class}"))?;
            widths.insert(key, width as u64);
        }
    }
    let keys = pickle::read(input)?;
    let mut offset = input.stream_position().map_err(|e| e.to_string())?;
    let mut parts = HashMap::new();
    for id in keys.sequence(keys.root).unwrap_or_default() {
        let key = keys.key(*id).ok_or("a storage has no name")?;
        let width = *widths.get(&key).ok_or_else(|| format!("storage {key} is of no tensor"))?;
        let mut count = [0; 8];
        input.seek(std::io::SeekFrom::Start(offset)).map_err(|e| e.to_string())?;
        input.read_exact(&mut count).map_err(|_| format!("it ends before storage {key}"))?;
        let size = u64::from_le_bytes(count).checked_mul(width);
        let end = size.and_then(|size| offset.checked_add(8)?.checked_add(size)).filter(|end| *end <= length);
        let end = end.ok_or_else(|| format!("it ends within storage {key}"))?;
        parts.insert(key, (offset + 8, end - offset - 8));
        offset = end;
    }
    Ok(parts)
}

/// Bytes of an element of storages that no weights here are of.
fn odd_width(class: &str) -> Option<usize> {
    Some(match class.rsplit('.').next()? {
        "ComplexDoubleStorage" => 16,
        "ComplexFloatStorage" => 8,
        "QInt32Storage" => 4,
        "QInt8Storage" | "QUInt8Storage" | "UntypedStorage" => 1,
        _ => return None,
    })
}
