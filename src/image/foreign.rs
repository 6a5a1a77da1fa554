//! Files that are no image segtool reads, named by their content, with the way to one that it does.

use image::ImageFormat;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::base::Error;

/// What is read, for messages.
pub(crate) const READ: &str = "JPEG, PNG, TIFF, JPEG 2000, BMP, GIF, WebP or PNM";

/// Bytes that tell a kind: the one that begins last is at 344.
pub(super) const HEAD: usize = 1024;

/// Name, where its mark stands, the mark, and what to do.
type Kind = (&'static str, usize, &'static [u8], &'static str);

const MAGICK: &str = "convert it, as with: magick in.xyz out.png";
const HEIC: &str = "convert it, as with: heif-convert in.heic out.png, or: magick in.heic out.png";
const DEVELOP: &str = "develop it first, as with: darktable-cli in.raw out.tif";
const GDAL: &str = "convert it, as with: gdal_translate in.xyz out.tif";
const VARIABLE: &str =
    "gdalinfo lists its variables; convert one, as with: gdal_translate NETCDF:in.nc:VARIABLE out.tif";
const FRAMES: &str = "take its frames out, as with: ffmpeg -i in.mp4 frame%05d.png";
const UNPACK: &str = "unpack it first";
const RASTERISE: &str = "rasterise it, as with: gdal_rasterize -a CLASS -tr 1 1 in.gpkg out.tif";

/// The first that fits counts.
const KINDS: [Kind; 64] = [
    ("a HEIC image", 4, b"ftypheic", HEIC),
    ("a HEIC image", 4, b"ftypheix", HEIC),
    ("a HEIC image", 4, b"ftyphevc", HEIC),
    ("a HEIC image", 4, b"ftypmif1", HEIC),
    ("an AVIF image", 4, b"ftypavi", HEIC),
    ("a Canon raw image", 4, b"ftypcrx", DEVELOP),
    ("a video", 4, b"ftyp", FRAMES),
    ("a video", 8, b"AVI ", FRAMES),
    ("a video", 0, b"\x1a\x45\xdf\xa3", FRAMES),
    ("a JPEG XL image", 0, b"\xff\x0a", "convert it, as with: djxl in.jxl out.png"),
    ("a JPEG XL image", 0, b"\0\0\0\x0cJXL ", "convert it, as with: djxl in.jxl out.png"),
    ("a Photoshop file", 0, b"8BPS", "convert it, as with: magick in.psd[0] out.png"),
    ("a PDF", 0, b"%PDF", "draw its pages, as with: pdftoppm -r 300 -png in.pdf page"),
    ("PostScript", 0, b"%!PS", "draw it, as with: gs -sDEVICE=png16m -r300 -o out.png in.eps"),
    ("PostScript", 0, b"\xc5\xd0\xd3\xc6", "draw it, as with: gs -sDEVICE=png16m -r300 -o out.png in.eps"),
    ("an OpenEXR image", 0, b"\x76\x2f\x31\x01", "convert it, as with: oiiotool in.exr -o out.tif"),
    ("a Radiance HDR image", 0, b"#?R", "convert it, as with: oiiotool in.hdr -o out.tif"),
    ("a DDS texture", 0, b"DDS ", MAGICK),
    ("an icon", 0, b"\0\0\x01\0", "convert it, as with: magick in.ico[0] out.png"),
    ("a QOI image", 0, b"qoif", MAGICK),
    ("a PFM image", 0, b"PF\n", GDAL),
    ("a PFM image", 0, b"Pf\n", GDAL),
    ("an XCF file of GIMP", 0, b"gimp xcf", "export it from GIMP as PNG"),
    ("a netCDF file", 0, b"CDF", VARIABLE),
    ("an HDF5 or netCDF file", 0, b"\x89HDF\r\n\x1a\n", VARIABLE),
    ("an HDF4 file", 0, b"\x0e\x03\x13\x01", VARIABLE),
    ("a GRIB file", 0, b"GRIB", GDAL),
    ("a NITF image", 0, b"NITF", GDAL),
    ("an ERDAS Imagine file", 0, b"EHFA_HEADER_TAG", GDAL),
    ("a MrSID image", 0, b"msid", GDAL),
    ("the header of an ENVI file", 0, b"ENVI", "convert the data file beside it, as with: gdal_translate in out.tif"),
    ("an ESRI grid", 0, b"ncols", GDAL),
    ("a Surfer grid", 0, b"DSAA", GDAL),
    ("a Surfer grid", 0, b"DSBB", GDAL),
    ("a Surfer grid", 0, b"DSRB", GDAL),
    ("a FITS image", 0, b"SIMPLE  =", GDAL),
    ("a DICOM image", 128, b"DICM", "convert it, as with: dcm2img in.dcm out.png"),
    ("a NIfTI volume", 344, b"n+1\0", "save its slices as TIFF or .npy"),
    ("a MATLAB file", 0, b"MATLAB 5.0", "save its array as .npy, with scipy.io.loadmat and numpy.save"),
    ("a NumPy array", 0, b"\x93NUMPY", "rename it so that it ends in .npy"),
    // "C 1" in EBCDIC, the first line of the text header.
    ("a SEG-Y volume", 0, b"\xc3\x40\xf1", "export its sections as TIFF"),
    ("a SEG-Y volume", 0, b"\xc3\xf0\xf1", "export its sections as TIFF"),
    ("a SEG-Y volume", 0, b"\xc3\x40\x40\xf1", "export its sections as TIFF"),
    ("an Olympus raw image", 0, b"IIRO", DEVELOP),
    ("an Olympus raw image", 0, b"IIRS", DEVELOP),
    ("a Panasonic raw image", 0, b"IIU\0", DEVELOP),
    ("a Fujifilm raw image", 0, b"FUJIFILMCCD-RAW", DEVELOP),
    ("a Sigma raw image", 0, b"FOVb", DEVELOP),
    ("a ZIP archive", 0, b"PK\x03\x04", UNPACK),
    ("a gzip file", 0, b"\x1f\x8b", UNPACK),
    ("a bzip2 file", 0, b"BZh", UNPACK),
    ("an xz file", 0, b"\xfd7zXZ\0", UNPACK),
    ("a Zstandard file", 0, b"\x28\xb5\x2f\xfd", UNPACK),
    ("a 7-Zip archive", 0, b"7z\xbc\xaf\x27\x1c", UNPACK),
    ("a RAR archive", 0, b"Rar!", UNPACK),
    ("a tar archive", 257, b"ustar", UNPACK),
    ("a LAS point cloud", 0, b"LASF", "rasterise it first"),
    ("a shapefile", 0, b"\0\0\x27\x0a", RASTERISE),
    ("a GeoPackage or SQLite database", 0, b"SQLite format 3", RASTERISE),
    ("a Git LFS pointer", 0, b"version https://git-lfs", "fetch the file itself: git lfs pull"),
    ("a Git annex pointer", 0, b"/annex/objects/", "fetch the file itself: git annex get"),
    ("a Python pickle", 0, b"\x80\x04\x95", "save its array as .npy, with numpy.save"),
    ("an XML file", 0, b"<?xml", "give the image itself"),
    ("a JSON file", 0, b"{", "give the image itself"),
];

/// Endings of raw images that begin as a TIFF, which would show their thumbnail only.
const RAW: [&str; 14] =
    ["dng", "nef", "nrw", "cr2", "arw", "sr2", "srf", "srw", "pef", "3fr", "fff", "iiq", "dcr", "kdc"];

/// Why the file is no image that segtool reads, and what to do.
pub(super) fn not_read(path: &Path, bytes: &[u8]) -> Error {
    let reason = match recognise(bytes) {
        Some((name, advice)) => format!("is {name}, not an image that segtool reads ({READ}); {advice}"),
        None if bytes.iter().take(HEAD).all(|&byte| byte == 0) => {
            "begins with zeros, as after an interrupted copy; copy or download the file again".into()
        }
        None => format!("not an image that segtool reads ({READ}); convert it, as with gdal_translate or magick"),
    };
    Error::content(path, reason)
}

/// The error of a raw image that begins as a TIFF.
pub(super) fn refuse_raw(path: &Path) -> Option<Error> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    RAW.contains(&extension.as_str()).then(|| {
        Error::content(path, format!("is a camera raw image, not an image that segtool reads ({READ}); {DEVELOP}"))
    })
}

/// Name and advice.
fn recognise(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let begins = |at: usize, mark: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
    let head = bytes[..bytes.len().min(HEAD)].to_ascii_lowercase();
    let mentions = |mark: &[u8]| head.windows(mark.len()).any(|window| window == mark);
    if head.trim_ascii_start().starts_with(b"<") {
        if mentions(b"<svg") {
            return Some(("an SVG drawing", "draw it, as with: rsvg-convert -o out.png in.svg"));
        }
        if mentions(b"<html") || mentions(b"<!doctype html") {
            return Some(("a web page", "download the file itself"));
        }
    }
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return Some(("a TGA image", "convert it, as with: magick in.tga out.png"));
    }
    KINDS.iter().find(|kind: &&Kind| begins(kind.1, kind.2)).map(|&(name, _, _, advice)| (name, advice))
}

/// What image a file holds by its content, whether it is read or not, and what to do about it.
pub(crate) fn image_inside(path: &Path) -> Option<String> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    if let Ok(format) = image::guess_format(&head)
        && let Some(extension) = FORMATS.contains(&format).then(|| format.extensions_str()[0])
    {
        return Some(format!("a {} image by its content; rename it", extension.to_uppercase()));
    }
    if super::jp2::is_jp2(&head) {
        return Some("a JPEG 2000 image by its content; rename it".into());
    }
    let (name, advice) = recognise(&head)?;
    let is_image = ["image", "drawing", "Photoshop", "PDF"].iter().any(|word| name.contains(word));
    is_image.then(|| format!("{name}; {advice}"))
}

/// The formats that are read.
pub(super) const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Tiff,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::WebP,
    ImageFormat::Pnm,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_named_with_the_way_out() {
        let dicom = [&[0; 128][..], b"DICM"].concat();
        let tga = [&[7; 40][..], b"TRUEVISION-XFILE.\0"].concat();
        for (bytes, name, command) in [
            (&b"\0\0\0\x18ftypheic\0\0"[..], "is a HEIC image", "heif-convert"),
            (b"\0\0\0\x18ftypavif\0\0", "is an AVIF image", "magick"),
            (b"\0\0\0\x18ftypisom\0\0", "is a video", "ffmpeg"),
            (b"%PDF-1.7", "is a PDF", "pdftoppm"),
            (b"8BPS\0\x01", "is a Photoshop file", "magick in.psd[0]"),
            (b"\x89HDF\r\n\x1a\n", "is an HDF5 or netCDF file", "gdal_translate NETCDF"),
            (b"GRIB\0\0", "is a GRIB file", "gdal_translate"),
            (b"ENVI\nsamples = 3", "is the header of an ENVI file", "the data file beside it"),
            (b"<?xml version='1.0'?>\n<svg width='3'>", "is an SVG drawing", "rsvg-convert"),
            (b"\n<!DOCTYPE HTML><html>", "is a web page", "download the file itself"),
            (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer", "git lfs pull"),
            (&dicom, "is a DICOM image", "dcm2img"),
            (&tga, "is a TGA image", "magick"),
            (&[0; 2000], "begins with zeros", "copy or download the file again"),
            (b"hello", "not an image that segtool reads", "gdal_translate or magick"),
        ] {
            let message = not_read(Path::new("a.png"), bytes).to_string();
            assert!(message.starts_with(&format!("a.png: {name}")) && message.contains(command), "{message}");
        }
        assert!(refuse_raw(Path::new("a.DNG")).unwrap().to_string().contains("darktable-cli"));
        assert!(refuse_raw(Path::new("a.tif")).is_none());
    }
}
