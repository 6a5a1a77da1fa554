//! Images as .npy.

use std::path::Path;

use super::array::{Array, Axes, Axis, with_array};
use super::value::{Value, by_type};
use crate::base::{Error, Result, Size};
use crate::image::{Image, Samples};

/// What images are called in a .npz that holds several arrays.
const NAMES: [&str; 4] = ["image", "img", "data", "arr_0"];

/// Most bands of an array whose shape does not say which axis they are.
const MOST_BANDS: usize = 32;

/// Reads an image from a .npy, or from a .npz that holds one array or one called `image`, `img`, `data` or `arr_0`. Two
/// dimensions are (height, width); three are (height, width, bands) or (bands, height, width), told apart by the bands being
/// fewer than rows and columns. Unsigned integers of 8 and 16 bits stay what they are, truth values become 0 and 255, all
/// others floats.
pub fn read_image_npy(path: &Path) -> Result<Image> {
    with_array(path, &NAMES, |array| {
        let axes = image_axes(&array)?;
        let samples = match array.header.kind() {
            "u1" => converted(array, &axes, |[byte]| byte).map(Samples::U8),
            "b1" => converted(array, &axes, |[byte]| if byte == 0 { 0 } else { u8::MAX }).map(Samples::U8),
            "u2" => converted(array, &axes, u16::from_le_bytes).map(Samples::U16),
            _ => by_type!(floats, array, axes, "an image holds real numbers"),
        };
        Ok(Image::new(axes.size(), axes.bands.length, samples?))
    })
}

/// Width and height of an image, from the header of a .npy or .npz; `None` where there is none that tells them.
pub fn npy_size(path: &Path) -> Option<Size> {
    with_array(path, &NAMES, |array| Ok(image_axes(&array)?.size())).ok()
}

fn converted<R: Copy, const N: usize>(array: Array<'_>, axes: &Axes, convert: impl Fn([u8; N]) -> R) -> Result<Vec<R>> {
    array.values(axes, |_, words, samples| {
        samples.extend(words.iter().map(|word| convert(*word)));
        Ok(())
    })
}

fn floats<T: Value<N>, const N: usize>(array: Array<'_>, axes: &Axes) -> Result<Samples> {
    converted(array, axes, |word| T::read(word).sample()).map(Samples::F32)
}

/// Which axis of an array is which.
fn image_axes(array: &Array<'_>) -> Result<Axes> {
    let shape = array.header.shape.as_slice();
    let (rows, columns, bands) = match *shape {
        [_, _] if !shape.contains(&0) => return array.map_axes(),
        [a, b, c] if !shape.contains(&0) && c <= MOST_BANDS && c < a && c < b => (0, 1, 2),
        [a, b, c] if !shape.contains(&0) && a <= MOST_BANDS && a < b && a < c => (1, 2, 0),
        [a, b, c] if !shape.contains(&0) => return Err(ambiguous(array.path, [a, b, c])),
        _ => {
            let reason = format!(
                "has shape {shape:?}; an image is (height, width), (height, width, bands) or (bands, height, width), none of \
                 them 0"
            );
            return Err(Error::content(array.path, reason));
        }
    };
    let steps: [usize; 3] = if array.header.fortran {
        [1, shape[0], shape[0].saturating_mul(shape[1])]
    } else {
        [shape[1].saturating_mul(shape[2]), shape[2], 1]
    };
    let axis = |place: usize| Axis { length: shape[place], step: steps[place] };
    Ok(Axes { rows: axis(rows), columns: axis(columns), bands: axis(bands) })
}

fn ambiguous(path: &Path, [a, b, c]: [usize; 3]) -> Error {
    let reason = format!(
        "has shape [{a}, {b}, {c}], which may be {a} rows and {b} columns of {c} bands, or {a} bands of {b} rows and {c} \
         columns; bands are recognised where they are at most {MOST_BANDS} and fewer than rows and columns. Save the image as \
         TIFF, or one band of it as a 2-d .npy"
    );
    Error::content(path, reason)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use ndarray::{Array2, Array3, ShapeBuilder};
    use ndarray_npy::{WritableElement, WriteNpyExt};

    use super::*;
    use crate::image::{read_label_npy, read_probability_npy};

    fn npy<T: WritableElement>(array: &Array3<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }

    fn plain(descriptor: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\0", (header.len() as u16).to_le_bytes().as_slice(), header.as_bytes(), values].concat()
    }

    fn npz(deflated: bool, entries: &[(&str, &[u8])]) -> Vec<u8> {
        let method = if deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            zip.start_file(*name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8]) -> Result<Image> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        fs::write(&path, bytes).unwrap();
        let found = read_image_npy(&path);
        if let Ok(raster) = &found {
            assert_eq!(npy_size(&path), Some(raster.size));
        }
        found
    }

    /// 4 rows, 5 columns, 3 bands: band, row and column in the number.
    fn number((row, column, band): (usize, usize, usize)) -> u16 {
        (100 * band + 10 * row + column) as u16
    }

    #[test]
    fn bands_come_first_or_last_in_either_order() {
        let expected: Vec<u16> = (0..60).map(|i| number((i / 15, i / 3 % 5, i % 3))).collect();
        let expected = Image::new(Size { width: 5, height: 4 }, 3, Samples::U16(expected));
        assert_eq!(read(&npy(&Array3::from_shape_fn((4, 5, 3), number))).unwrap(), expected);
        assert_eq!(read(&npy(&Array3::from_shape_fn((4, 5, 3).f(), number))).unwrap(), expected);
        let first = |(band, row, column)| number((row, column, band));
        assert_eq!(read(&npy(&Array3::from_shape_fn((3, 4, 5), first))).unwrap(), expected);
        assert_eq!(read(&npy(&Array3::from_shape_fn((3, 4, 5).f(), first))).unwrap(), expected);
        let one = Array3::from_shape_fn((4, 5, 1), number);
        assert_eq!(read(&npy(&one)).unwrap().bands, 1);
        assert_eq!(read(&npy(&Array3::from_shape_fn((1, 4, 5), first))).unwrap(), read(&npy(&one)).unwrap());
        let flat = Array2::from_shape_fn((4, 5).f(), |(row, column)| number((row, column, 0)));
        let mut bytes = Vec::new();
        flat.write_npy(&mut bytes).unwrap();
        assert_eq!(read(&bytes).unwrap(), read(&npy(&one)).unwrap());
    }

    #[test]
    fn every_type_is_read_in_either_byte_order() {
        let floats = |values: [f32; 2]| Samples::F32(values.to_vec());
        for (descriptor, bytes, expected) in [
            ("|u1", vec![1, 255], Samples::U8(vec![1, 255])),
            ("|b1", vec![0, 1], Samples::U8(vec![0, 255])),
            ("<u2", vec![1, 2, 255, 255], Samples::U16(vec![513, 65535])),
            (">u2", vec![2, 1, 255, 255], Samples::U16(vec![513, 65535])),
            ("|i1", vec![255, 127], floats([-1.0, 127.0])),
            ("<i2", vec![255, 255, 0, 128], floats([-1.0, -32768.0])),
            (">i4", vec![0, 1, 0, 0, 255, 255, 255, 254], floats([65536.0, -2.0])),
            ("<u4", vec![255, 255, 255, 255, 7, 0, 0, 0], floats([4_294_967_295.0, 7.0])),
            ("<i8", [(-3i64).to_le_bytes(), 9i64.to_le_bytes()].concat(), floats([-3.0, 9.0])),
            (">u8", [u64::MAX.to_be_bytes(), 1u64.to_be_bytes()].concat(), floats([18_446_744_073_709_551_615.0, 1.0])),
            ("<f2", vec![0, 60, 0, 192], floats([1.0, -2.0])),
            (">f4", [1.5f32.to_be_bytes(), (-0.1f32).to_be_bytes()].concat(), floats([1.5, -0.1])),
            ("<f8", [0.25f64.to_le_bytes(), 1e300f64.to_le_bytes()].concat(), floats([0.25, f32::INFINITY])),
        ] {
            let raster = read(&plain(descriptor, false, "(1, 2)", &bytes)).unwrap();
            assert_eq!(raster, Image::new(Size { width: 2, height: 1 }, 1, expected), "{descriptor}");
        }
        let nan = read(&plain("<f4", false, "(1, 1)", &f32::NAN.to_le_bytes())).unwrap();
        assert!(matches!(&nan.samples, Samples::F32(values) if values[0].is_nan()));
        for descriptor in ["<c8", "|S4", "<U3", "|O", "<M8[ns]"] {
            assert_refused!(read(&plain(descriptor, false, "(1, 1)", &[0; 8])), "an image holds real numbers");
        }
    }

    #[test]
    fn shapes_that_do_not_tell_the_bands_are_refused() {
        for shape in ["(3, 3, 3)", "(40, 50, 60)", "(2, 9, 2)", "(9, 2, 9)", "(33, 40, 50)"] {
            assert_refused!(read(&plain("|u1", false, shape, &[0; 27])), "which may be", "bands of");
        }
        let words = "40 rows and 50 columns of 60 bands, or 40 bands of 50 rows and 60 columns";
        assert_refused!(read(&plain("|u1", false, "(40, 50, 60)", &[])), words);
        for shape in ["()", "(5,)", "(1, 2, 3, 4)", "(0, 5)", "(4, 5, 0)"] {
            assert_refused!(read(&plain("|u1", false, shape, &[])), "an image is (height, width), ");
        }
        let words = "cut short: its header promises 3x5x4 values";
        assert_refused!(read(&plain("|u1", false, "(4, 5, 3)", &[0; 59])), words);
        assert_refused!(read(&plain("|u1", false, "(4, 5)", &[0; 21])), "longer than its header says");
        let huge = plain("<f8", false, "(18446744073709551615, 18446744073709551615)", &[0; 8]);
        assert_refused!(read(&huge), "cut short");
    }

    #[test]
    fn a_npz_gives_its_only_array_or_the_one_of_a_known_name() {
        let (map, other) = (plain("|u1", false, "(1, 2)", &[201, 202]), plain("|u1", false, "(1, 2)", &[7, 7]));
        let expected = Image::new(Size { width: 2, height: 1 }, 1, Samples::U8(vec![201, 202]));
        for deflated in [false, true] {
            assert_eq!(read(&npz(deflated, &[("x.npy", &map)])).unwrap(), expected);
            let named = npz(deflated, &[("x.npy", &other), ("image.npy", &map), ("note.txt", b"")]);
            assert_eq!(read(&named).unwrap(), expected);
            assert_eq!(read(&npz(deflated, &[("arr_1.npy", &other), ("arr_0.npy", &map)])).unwrap(), expected);
        }
        let words = "holds 2 arrays (x, y), and none is called image or img or data or arr_0";
        assert_refused!(read(&npz(true, &[("x.npy", &map), ("y.npy", &map)])), words);
        assert_refused!(read(&npz(true, &[("note.txt", b"")])), "holds no array");
        // Of one byte changed in the values, the checksum tells.
        let mut damaged = npz(false, &[("x.npy", &map)]);
        let place = damaged.windows(2).position(|pair| pair == [201, 202]).unwrap();
        damaged[place] = 5;
        assert_refused!(read(&damaged), "checksum");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        fs::write(&path, npz(true, &[("image.npy", &other), ("mask.npy", &map)])).unwrap();
        assert_eq!(read_label_npy(&path).unwrap(), (Size { width: 2, height: 1 }, vec![201, 202]));
        let shares = plain("<f4", false, "(1, 1)", &0.5f32.to_le_bytes());
        fs::write(&path, npz(true, &[("image.npy", &other), ("prob.npy", &shares)])).unwrap();
        assert_eq!(read_probability_npy(&path).unwrap(), (Size { width: 1, height: 1 }, vec![0.5]));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_refused!(read_image_npy(folder.path()), "is a folder");
        #[cfg(unix)]
        assert!(read_image_npy(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a regular file"));
    }
}
