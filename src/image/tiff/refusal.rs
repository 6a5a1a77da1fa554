//! Words for TIFFs that are not read: why, and the command that converts them.

use std::path::Path;

use tiff_reader::TiffError;

use crate::base::Error;

/// Names of codecs by their number in the file.
const CODECS: [(u16, &str); 22] = [
    (2, "CCITT modified Huffman"),
    (3, "CCITT Group 3"),
    (4, "CCITT Group 4"),
    (6, "old-style JPEG"),
    (7, "JPEG"),
    (9, "JBIG"),
    (10, "JBIG"),
    (32766, "NeXT RLE"),
    (32771, "CCITT RLE/W"),
    (32809, "ThunderScan"),
    (32845, "Pixar log"),
    (33003, "Aperio JPEG 2000"),
    (33005, "Aperio JPEG 2000"),
    (34661, "JBIG"),
    (34676, "SGI LogLuv"),
    (34677, "SGI LogLuv"),
    (34712, "JPEG 2000"),
    (34892, "lossy JPEG of a DNG"),
    (34887, "LERC"),
    (34925, "LZMA"),
    (50001, "WebP"),
    (52546, "JPEG XL"),
];

const CONVERT: &str = "convert it, as with gdal_translate -co COMPRESS=DEFLATE in.tif out.tif";

/// What `tiff-reader` says, with the next step.
pub(super) fn refused(path: &Path, error: TiffError) -> Error {
    let reason = match error {
        TiffError::Io(cause, _) => return Error::read(path, cause),
        TiffError::UnsupportedCompression(code) => {
            let name = CODECS.iter().find(|(known, _)| *known == code).map_or("an unknown codec", |(_, name)| name);
            format!("TIFF compressed with {name} ({code}), which segtool does not read; {CONVERT}")
        }
        TiffError::UnsupportedSampleFormat(5 | 6) => {
            "TIFF of complex numbers; save amplitude or phase, as with gdal_calc.py --calc='abs(A)' or numpy.abs".into()
        }
        TiffError::UnsupportedBitsPerSample(bits) => {
            format!(
                "TIFF with samples of {bits} bits, which segtool does not read; {CONVERT} -ot UInt16 or -ot Float32"
            )
        }
        error @ (TiffError::UnsupportedSampleFormat(_)
        | TiffError::UnsupportedPredictor(_)
        | TiffError::UnsupportedPlanarConfiguration(_)) => format!("{error} in a TIFF; {CONVERT}"),
        error @ TiffError::InvalidImageLayout(_) => format!("damaged or unsupported TIFF: {error}; {CONVERT}"),
        error => format!("damaged or unsupported TIFF: {error}"),
    };
    Error::content(path, reason)
}

/// Several images in one file.
pub(super) fn pages(path: &Path, pages: usize) -> Error {
    let reason = format!(
        "holds {pages} pages of the same size, and it is not clear which one to read; extract one, as with \
         tiffcp in.tif,0 out.tif, or all as bands, as with gdal_merge.py -separate"
    );
    Error::content(path, reason)
}

/// A first page that is no more than a thumbnail, or one of several images.
pub(super) fn larger_page(path: &Path) -> Error {
    let reason = "holds several pages, the first smaller than a later one, and it is not clear which one to read; extract \
                  one, as with tiffcp in.tif,1 out.tif";
    Error::content(path, reason)
}
