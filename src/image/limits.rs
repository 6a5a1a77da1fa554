//! How much memory reading a file may take, so that a file of a few bytes that claims to be huge is an error of that file
//! alone and never ends the program.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::words::bytes_in_words;
use crate::base::{Error, Result, Size, locked, main_memory};

/// The limit where the system does not say how much memory is free.
const UNKNOWN: u64 = 8 << 30;

/// Files that take less are read without asking the system, which would take longer than reading a small image.
const SMALL: u64 = 16 << 20;

/// How long a file waits for the memory of those that are being read. Only a fault of this program could make it longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What [`set_memory_limit`] set; 0 for what is free.
static LIMIT: AtomicU64 = AtomicU64::new(0);

static HELD: Mutex<Held> = Mutex::new(Held { bytes: 0, free: 0 });
static RETURNED: Condvar = Condvar::new();

/// What the files that are being read have reserved.
struct Held {
    bytes: u64,
    /// What was free when nothing was reserved. Later some of the reserved memory is in use and some is not.
    free: u64,
}

/// Sets how much memory the files that are read at one time may take, in all threads together; `None`, the default, is
/// what the system has free.
pub fn set_memory_limit(bytes: Option<u64>) {
    LIMIT.store(bytes.map_or(0, |bytes| bytes.max(1)), Ordering::Relaxed);
}

/// Memory that reading a file may take, until this is dropped.
#[derive(Debug)]
#[must_use = "the memory is reserved until this is dropped"]
pub struct Reservation(u64);

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.0 > 0 {
            locked(&HELD).bytes -= self.0;
            RETURNED.notify_all();
        }
    }
}

/// Reserves memory for reading `path`, of which `claim` says what it claims to hold ("its header claims ..."). Waits for
/// files that other threads read, where their memory suffices together with what is free.
///
/// # Errors
/// The file would take more than is free, or than [`set_memory_limit`] allows.
pub fn reserve(path: &Path, claim: impl fmt::Display, bytes: u64) -> Result<Reservation> {
    let limit = LIMIT.load(Ordering::Relaxed);
    if limit == 0 && bytes <= SMALL {
        return Ok(Reservation(0));
    }
    let began = Instant::now();
    let mut held = locked(&HELD);
    loop {
        let free = if limit == 0 { main_memory::free().unwrap_or(UNKNOWN) } else { limit };
        if held.bytes == 0 {
            held.free = free;
        }
        let tired = began.elapsed() >= PATIENCE;
        let room = if tired { free } else { free.min(held.free.saturating_sub(held.bytes)) };
        if bytes <= room {
            held.bytes += bytes;
            return Ok(Reservation(bytes));
        }
        if held.bytes == 0 || bytes > held.free || tired {
            return Err(too_large(path, claim, bytes, room));
        }
        held = RETURNED.wait_timeout(held, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Says whether reading `path` would take more memory than there is, as [`reserve`] does, and reserves nothing.
pub fn check(path: &Path, claim: impl fmt::Display, bytes: u64) -> Result<()> {
    reserve(path, claim, bytes).map(drop)
}

fn too_large(path: &Path, claim: impl fmt::Display, bytes: u64, free: u64) -> Error {
    let reason = format!(
        "{claim}; reading it would take {} of memory, but only {} is available. If the file is intact, split it, or \
             use a machine with more memory",
        bytes_in_words(bytes),
        bytes_in_words(free)
    );
    Error::content(path, reason)
}

/// An empty vector with room for `length` items; an error of `path` where the system has no memory for it.
pub fn buffer<T>(path: &Path, length: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    items.try_reserve_exact(length).map_err(|_| {
        let bytes = (length as u64).saturating_mul(size_of::<T>() as u64);
        Error::content(
            path,
            format!(
                "reading it needs {} of memory, which the system cannot provide; read fewer files at a time",
                bytes_in_words(bytes)
            ),
        )
    })?;
    Ok(items)
}

/// `length` items, all of them 0; an error of `path` where the system has no memory for them.
pub fn zeros<T: Copy + Default>(path: &Path, length: usize) -> Result<Vec<T>> {
    let mut items = buffer(path, length)?;
    items.resize(length, T::default());
    Ok(items)
}

/// How the pixels of an image are stored, for the least size of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As they are, in this many bits a pixel.
    Plain(u32),
    /// Deflate (PNG, TIFF, zip): at most 1032 bytes come of one. With the bits a pixel before compression.
    Deflate(u32),
    /// JPEG with Huffman codes: a block of 64 samples takes a bit at the least, and a component that is stored at half
    /// the width and half the height of another takes a quarter of its blocks.
    Jpeg,
    /// Run lengths of a BMP: the longest step is a delta of 4 bytes over 255 columns and 255 rows.
    BmpRle,
    /// Nothing can be told from the size of the file: one value may stand for any number of pixels.
    Any,
}

impl Coding {
    /// How a PNG, JPEG or BMP is coded, from its first bytes; [`Self::Any`] for all others.
    pub fn of(bytes: &[u8]) -> Self {
        const OS2_HEADER: u32 = 12;
        let half = |place: usize| Some(u32::from(u16::from_le_bytes(*bytes.get(place..)?.first_chunk()?)));
        let found = if bytes.starts_with(b"\x89PNG") {
            let samples = match bytes.get(25) {
                Some(2) => 3,
                Some(4) => 2,
                Some(6) => 4,
                _ => 1,
            };
            bytes.get(24).map(|depth| Self::Deflate(u32::from(*depth) * samples))
        } else if bytes.starts_with(b"\xff\xd8") {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"BM") {
            // 1 and 2 are run lengths, 4 and 5 a JPEG or PNG inside.
            match (half(14), half(30)) {
                // The header of OS/2 is shorter and knows no compression.
                (Some(OS2_HEADER), _) => half(24).map(Self::Plain),
                (_, Some(0 | 3)) => half(28).map(Self::Plain),
                (_, Some(1 | 2)) => Some(Self::BmpRle),
                _ => None,
            }
        } else {
            None
        };
        found.unwrap_or(Self::Any)
    }

    /// The most pixels that a file of this size can hold.
    pub fn most_pixels(self, file_bytes: u64) -> u64 {
        let bits = |ratio: u64, bits: u32| file_bytes.saturating_mul(8 * ratio) / u64::from(bits.max(1));
        match self {
            Self::Plain(pixel) => bits(1, pixel),
            Self::Deflate(pixel) => bits(1032, pixel),
            Self::Jpeg => file_bytes.saturating_mul(8 * 128),
            Self::BmpRle => file_bytes.saturating_mul(255 * 255 / 4),
            Self::Any => u64::MAX,
        }
    }
}

/// Looks at what an image's header claims before anything is allocated for it, and reserves the memory: `bytes_per_pixel`
/// is all that is held at one time while it is decoded and converted.
///
/// # Errors
/// The file is too small to hold this many pixels, or they would take more memory than is free.
pub fn check_image(
    path: &Path,
    size: Size,
    bytes_per_pixel: usize,
    file_bytes: u64,
    coding: Coding,
) -> Result<Reservation> {
    let pixels = (size.width as u64).saturating_mul(size.height as u64);
    if pixels > coding.most_pixels(file_bytes) {
        let reason = format!(
            "damaged or cut short: its header claims {size} pixels, which cannot be stored in a file of {file_bytes} bytes; \
                 copy or download the file again"
        );
        return Err(Error::content(path, reason));
    }
    let claim = format_args!("its header claims {size} pixels");
    reserve(path, claim, pixels.saturating_mul(bytes_per_pixel as u64).saturating_add(file_bytes))
}

/// Largest decoded image: 8 GiB.
pub(super) const MAX_BYTES: usize = 8 << 30;

/// Bytes that are decoded together.
pub(crate) const WINDOW_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(size: [usize; 2], file_bytes: u64, coding: Coding) -> Option<String> {
        let size = Size { width: size[0], height: size[1] };
        check_image(Path::new("a.bin"), size, 1, file_bytes, coding).err().map(|e| e.to_string())
    }

    #[test]
    fn files_that_are_too_small_for_their_pixels_are_refused() {
        for (size, bytes, coding) in [
            ([50_000, 50_000], 633, Coding::Jpeg),
            ([20_000, 20_000], 633, Coding::Jpeg),
            ([45_000, 45_000], 1080, Coding::BmpRle),
            ([30_000, 30_000], 1080, Coding::BmpRle),
            ([80_000, 80_000], 69, Coding::Deflate(8)),
            ([418_000, 418_700], 100, Coding::Deflate(8)),
            ([1000, 1000], 999_999, Coding::Plain(8)),
        ] {
            let said = refusal(size, bytes, coding).unwrap_or_default();
            let claim =
                format!("claims {}x{} pixels, which cannot be stored in a file of {bytes} bytes", size[0], size[1]);
            assert!(said.contains("a.bin: damaged or cut short") && said.contains(&claim), "{coding:?}: {said}");
        }
    }

    #[test]
    fn the_coding_is_told_by_the_first_bytes() {
        let png = |depth: u8, color: u8| [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 16], &[depth, color]].concat();
        let bmp = |bits: u8, compression: u8| [b"BM".as_slice(), &[0; 26], &[bits, 0, compression, 0]].concat();
        let os2 = [&b"BM"[..], &[0; 12], &[12, 0, 0, 0, 9, 0, 9, 0, 1, 0, 24, 0], &[255, 0, 0, 255, 0, 0]].concat();
        for (bytes, expected) in [
            (png(1, 3), Coding::Deflate(1)),
            (png(8, 2), Coding::Deflate(24)),
            (png(16, 6), Coding::Deflate(64)),
            (b"\xff\xd8\xff\xe0".to_vec(), Coding::Jpeg),
            (bmp(4, 0), Coding::Plain(4)),
            (bmp(32, 3), Coding::Plain(32)),
            (bmp(8, 1), Coding::BmpRle),
            (bmp(4, 2), Coding::BmpRle),
            (bmp(0, 4), Coding::Any),
            // OS/2's header of 12 bytes, behind which pixels begin.
            (os2, Coding::Plain(24)),
            (b"II*\0".to_vec(), Coding::Any),
            (b"BM".to_vec(), Coding::Any),
            (Vec::new(), Coding::Any),
        ] {
            assert_eq!(Coding::of(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_smallest_files_that_encoders_write_are_let_through() {
        for (size, bytes, coding) in [
            // One colour: two bits a block of a grey JPEG, a code of 1 bit a block of a progressive one.
            ([4096, 4096], 4096 * 4096 / 64 / 4 + 300, Coding::Jpeg),
            ([4096, 4096], 4096 * 4096 / 64 / 8, Coding::Jpeg),
            ([30_000, 30_000], 874_852, Coding::Deflate(8)),
            ([30_000, 30_000], 120_000, Coding::Deflate(1)),
            ([10_000, 10_000], 12_500_000, Coding::Plain(1)),
            ([16_383, 16_383], 30, Coding::Any),
            // 255 pixels in two bytes, and an end of line a row.
            ([2550, 1000], 22_000, Coding::BmpRle),
        ] {
            assert_eq!(refusal(size, bytes, coding), None, "{coding:?}");
        }
    }

    #[test]
    fn what_the_system_has_not_is_an_error_of_the_file() {
        assert_refused!(buffer::<u64>(Path::new("a.bin"), usize::MAX / 8), "a.bin: reading it needs");
        assert_refused!(buffer::<u8>(Path::new("a.bin"), 1 << 62), "GiB of memory, which the system cannot provide");
        assert_eq!(zeros::<u16>(Path::new("a.bin"), 3).unwrap(), [0; 3]);
        let said = refusal([usize::MAX, 2], 30, Coding::Any).unwrap_or_default();
        assert!(said.contains("reading it would take") && said.contains("a machine with more memory"), "{said}");
    }

    #[test]
    fn files_wait_for_each_other_s_memory() {
        let path = Path::new("a.bin");
        let free = main_memory::free().unwrap_or(UNKNOWN);
        // More than half of what is free each: one at a time.
        let most = AtomicU64::new(0);
        let now = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let reservation = reserve(path, "claims much", free / 8 * 5).unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(reservation);
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
    }
}
