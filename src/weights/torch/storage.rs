//! Where the numbers of PyTorch's tensors lie: entries of a zip archive, or what follows the pickles of the older format.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use safetensors::tensor::Dtype;
use zip::ZipArchive;

use crate::base::locked;

/// Element types, their names in PyTorch and the classes of its storages of them.
pub(in crate::weights) const TYPES: [(Dtype, &str, Option<&str>); 13] = [
    (Dtype::F64, "torch.float64", Some("DoubleStorage")),
    (Dtype::F32, "torch.float32", Some("FloatStorage")),
    (Dtype::F16, "torch.float16", Some("HalfStorage")),
    (Dtype::BF16, "torch.bfloat16", Some("BFloat16Storage")),
    (Dtype::I64, "torch.int64", Some("LongStorage")),
    (Dtype::I32, "torch.int32", Some("IntStorage")),
    (Dtype::I16, "torch.int16", Some("ShortStorage")),
    (Dtype::I8, "torch.int8", Some("CharStorage")),
    (Dtype::U8, "torch.uint8", Some("ByteStorage")),
    (Dtype::U16, "torch.uint16", None),
    (Dtype::U32, "torch.uint32", None),
    (Dtype::U64, "torch.uint64", None),
    (Dtype::BOOL, "torch.bool", Some("BoolStorage")),
];

/// An open archive.
pub(super) type Archive = ZipArchive<BufReader<File>>;

/// The storages of a file.
#[derive(Debug)]
pub(in crate::weights) struct Storages {
    place: Mutex<Place>,
    /// Bytes of each.
    sizes: HashMap<String, u64>,
    /// The one that was read last: several tensors may lie in one storage.
    last: Mutex<Option<(String, Arc<Vec<u8>>)>>,
}

#[derive(Debug)]
enum Place {
    /// Entries of an archive, below a folder in it.
    Zip(Box<Archive>, String),
    /// Parts of a file, by their offsets.
    Parts(File, HashMap<String, u64>),
}

impl Storages {
    /// Those of an archive: its entries below `folder`.
    ///
    /// # Errors
    /// The archive's directory is damaged.
    pub(super) fn of_archive(mut archive: Archive, folder: String) -> io::Result<Self> {
        let mut sizes = HashMap::new();
        for place in 0..archive.len() {
            let entry = archive.by_index_raw(place)?;
            if let Ok(name) = entry.name()
                && let Some(key) = name.strip_prefix(folder.as_str())
            {
                sizes.insert(key.to_owned(), entry.size());
            }
        }
        Ok(Self { place: Mutex::new(Place::Zip(Box::new(archive), folder)), sizes, last: Mutex::new(None) })
    }

    /// Those in a file: offset and bytes of each.
    pub(super) fn of_parts(file: File, parts: HashMap<String, (u64, u64)>) -> Self {
        let sizes = parts.iter().map(|(key, (_, size))| (key.clone(), *size)).collect();
        let offsets = parts.into_iter().map(|(key, (offset, _))| (key, offset)).collect();
        Self { place: Mutex::new(Place::Parts(file, offsets)), sizes, last: Mutex::new(None) }
    }

    /// Bytes of a storage, if it is there.
    pub(super) fn size(&self, key: &str) -> Option<u64> {
        self.sizes.get(key).copied()
    }

    /// A whole storage.
    fn read(&self, key: &str) -> io::Result<Arc<Vec<u8>>> {
        let mut last = locked(&self.last);
        if let Some((_, bytes)) = last.as_ref().filter(|(last, _)| last == key) {
            return Ok(bytes.clone());
        }
        let bytes = Arc::new(self.read_anew(key)?);
        *last = Some((key.to_owned(), bytes.clone()));
        Ok(bytes)
    }

    fn read_anew(&self, key: &str) -> io::Result<Vec<u8>> {
        let size = self.size(key).ok_or_else(|| io::Error::other(format!("storage {key} is missing")))?;
        let mut bytes = Vec::new();
        match &mut *locked(&self.place) {
            // Up to the end, so that the checksum is looked at.
            Place::Zip(archive, folder) => {
                archive.by_name(&format!("{folder}{key}"))?.take(size + 1).read_to_end(&mut bytes)?;
            }
            Place::Parts(file, offsets) => {
                file.seek(SeekFrom::Start(offsets[key]))?;
                file.take(size).read_to_end(&mut bytes)?;
            }
        }
        if bytes.len() as u64 == size {
            return Ok(bytes);
        }
        Err(io::Error::other(format!("storage {key} has {} bytes instead of {size}", bytes.len())))
    }
}

/// A tensor in a storage; offset and strides count elements.
#[derive(Debug, Clone)]
pub(in crate::weights) struct Strided {
    pub(super) key: String,
    pub(super) dtype: Dtype,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Bytes of an element.
pub(super) fn width(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

impl Strided {
    pub(in crate::weights) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(in crate::weights) fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Bytes of the tensor, if they can be counted.
    pub(in crate::weights) fn byte_len(&self) -> Option<usize> {
        self.shape.iter().try_fold(width(self.dtype), |bytes, side| bytes.checked_mul(*side))
    }

    /// Elements that its storage must have, if they can be counted.
    pub(super) fn reach(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(self.offset);
        }
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (side, stride)| last.checked_add((side - 1).checked_mul(*stride)?));
        last?.checked_add(1)
    }

    /// Its elements in order, little-endian.
    pub(in crate::weights) fn read(&self, storages: &Storages) -> io::Result<Vec<u8>> {
        let (storage, width) = (storages.read(&self.key)?, width(self.dtype));
        let count: usize = self.shape.iter().product();
        if self.reach().and_then(|reach| reach.checked_mul(width)).is_none_or(|reach| reach > storage.len()) {
            return Err(io::Error::other(format!("storage {} is too short", self.key)));
        }
        if self.is_contiguous() {
            return Ok(storage[self.offset * width..][..count * width].to_vec());
        }
        let mut bytes = Vec::with_capacity(count * width);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            let place = index.iter().zip(&self.strides).fold(self.offset, |place, (i, stride)| place + i * stride);
            bytes.extend_from_slice(&storage[place * width..][..width]);
            for (i, side) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *side {
                    break;
                }
                *i = 0;
            }
        }
        Ok(bytes)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(side, stride)| {
            let fits = *side == 1 || *stride == expected;
            expected *= side;
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_followed() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &(0..24).collect::<Vec<u8>>()).unwrap();
        let storages = Storages::of_parts(file, HashMap::from([("7".to_owned(), (4, 20))]));
        let strided = |offset, shape: &[usize], strides: &[usize]| Strided {
            key: "7".into(),
            dtype: Dtype::U8,
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        // Plain, transposed, one row thrice, empty, a number.
        assert_eq!(strided(1, &[2, 3], &[3, 1]).read(&storages).unwrap(), [5, 6, 7, 8, 9, 10]);
        assert_eq!(strided(0, &[3, 2], &[1, 3]).read(&storages).unwrap(), [4, 7, 5, 8, 6, 9]);
        assert_eq!(strided(2, &[3, 2], &[0, 1]).read(&storages).unwrap(), [6, 7, 6, 7, 6, 7]);
        assert_eq!(strided(2, &[0, 2], &[0, 1]).read(&storages).unwrap(), [0u8; 0]);
        assert_eq!(strided(19, &[], &[]).read(&storages).unwrap(), [23]);
        assert!(strided(0, &[2, 2], &[19, 1]).read(&storages).unwrap_err().to_string().contains("too short"));
        assert!(strided(0, &[usize::MAX, 2], &[usize::MAX, 1]).reach().is_none());
    }
}
