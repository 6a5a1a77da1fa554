"""Writes tests/fixtures/tiff/: small TIFFs as GDAL and tifffile write them, and what they hold.

Needs numpy, rasterio, tifffile and imagecodecs. expected.json has, for each file, the kind of content
("image", with the numbers that an image reader should give, or "labels", with those of a label reader), its shape and the
numbers row by row; null stands for NaN. The numbers are those that were written, or, where a codec loses some, those that
GDAL reads.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import rasterio
import tifffile
from rasterio.enums import ColorInterp

HERE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "tiff"
RNG = np.random.default_rng(17)
HEIGHT, WIDTH = 13, 18
EXPECTED = {}


def smooth(bands, dtype, top):
    """A slope with some texture, [bands, height, width]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [(x * (3 + b) + y * 5 + RNG.integers(0, 4, (HEIGHT, WIDTH))) % (top + 1) for b in range(bands)]
    return np.stack(planes).astype(dtype)


def expect(name, array, kind="image", **more):
    """Notes what a file holds; [height, width] or [height, width, bands]."""
    array = np.asarray(array)
    flat = array.astype(np.float64).ravel().tolist()
    flat = [None if value != value else int(value) if value == int(value) else value for value in flat]
    EXPECTED[name] = {"kind": kind, "shape": list(array.shape), "values": flat, **more}


def gdal(name, array, kind="image", expected=None, colorinterp=None, mask=None, colormap=None, nodata=None, **options):
    """Writes [bands, height, width] with GDAL."""
    profile = dict(driver="GTiff", height=array.shape[1], width=array.shape[2], count=array.shape[0], dtype=array.dtype)
    path = HERE / f"{name}.tif"
    more = {}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", nodata=nodata, **profile, **options) as file:
            if colorinterp:
                file.colorinterp = colorinterp
            file.write(array)
            if colormap:
                file.write_colormap(1, colormap)
            if mask is not None:
                file.write_mask(mask)
                more["nodata"] = np.flatnonzero(mask == 0).tolist()
    expect(name, np.moveaxis(array, 0, -1) if expected is None else expected, kind, **more)


def read_by_gdal(name):
    with rasterio.open(HERE / f"{name}.tif") as file:
        return np.moveaxis(file.read(), 0, -1)


def codecs():
    grey = smooth(1, "uint8", 255)
    words = smooth(1, "uint16", 4000)
    for codec in ["LZW", "DEFLATE", "PACKBITS", "ZSTD", "LZMA", "LERC"]:
        gdal(f"{codec.lower()}", words, compress=codec)
    gdal("lerc_deflate", words, compress="LERC_DEFLATE")
    gdal("lerc_zstd", words, compress="LERC_ZSTD")
    gdal("webp", smooth(3, "uint8", 255), compress="WEBP", webp_lossless=True, interleave="pixel")
    gdal("lzw_tiles_cut", grey, compress="LZW", tiled=True, blockxsize=16, blockysize=16)
    gdal("zstd_predictor2", words, compress="ZSTD", predictor=2)
    gdal("deflate_predictor3", smooth(1, "float32", 255) / 7, compress="DEFLATE", predictor=3)
    gdal("lzma_predictor2_planes", smooth(3, "uint16", 9000), compress="LZMA", predictor=2, interleave="band")
    bits = (smooth(1, "uint8", 255) > 99).astype("uint8")
    for codec in ["CCITTRLE", "CCITTFAX3", "CCITTFAX4"]:
        gdal(codec.lower(), bits, expected=bits[0] * 255, compress=codec, nbits=1)


def colours():
    rgb = smooth(3, "uint8", 255)
    for name, options in [("jpeg_ycbcr", dict(photometric="YCBCR")), ("jpeg_rgb", dict(photometric="RGB"))]:
        gdal(name, rgb, compress="JPEG", jpeg_quality=90, interleave="pixel", **options)
        expect(name, read_by_gdal(name), tolerance=12)
    colors = [(10, 20, 30), (255, 0, 0), (0, 128, 255), (7, 7, 7)]
    palette = smooth(1, "uint8", 3)
    table = {i: color + (255,) for i, color in enumerate(colors)}
    gdal("palette", palette, expected=np.array(colors)[palette[0]], colormap=table, photometric="PALETTE")
    gdal("palette_labels", palette, "labels", expected=palette[0], colormap=table, photometric="PALETTE")
    gdal("palette_4_bits", palette, expected=np.array(colors)[palette[0]], colormap=table, photometric="PALETTE", nbits=4)
    tifffile.imwrite(HERE / "miniswhite.tif", rgb[0], photometric="miniswhite")
    expect("miniswhite", 255 - rgb[0])
    tifffile.imwrite(HERE / "miniswhite_labels.tif", palette[0], photometric="miniswhite")
    expect("miniswhite_labels", palette[0], "labels")
    cmyk = smooth(4, "uint8", 255)
    tifffile.imwrite(HERE / "cmyk.tif", np.moveaxis(cmyk, 0, -1), photometric="separated")
    c, m, y, k = cmyk.astype(float) / 255
    expect("cmyk", np.rint(255 * np.stack([(1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - k)], -1)), tolerance=1)


def types_and_layouts():
    for dtype in ["int8", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]:
        offset = 0 if dtype.startswith("u") else 60
        gdal(dtype, (smooth(1, "int32", 120) - offset).astype(dtype))
    half = (smooth(1, "float32", 200) / 8).astype("float16")
    tifffile.imwrite(HERE / "float16.tif", half[0], compression="zlib", predictor=True)
    expect("float16", half[0])
    for bits in [1, 2, 4]:
        array = smooth(1, "uint8", 2**bits - 1)
        gdal(f"bits_{bits}", array, expected=array[0] * (255 // (2**bits - 1)), nbits=bits)
        gdal(f"bits_{bits}_labels", array, "labels", expected=array[0], nbits=bits)
    gdal("bits_12", smooth(1, "uint16", 4095), nbits=12)
    # tifffile calls booleans white-is-zero: an image shows True in black, a label image holds 1.
    truth = smooth(1, "uint8", 1)[0]
    for name, kind, values in [("bool", "image", 255 * (1 - truth)), ("bool_labels", "labels", truth)]:
        tifffile.imwrite(HERE / f"{name}.tif", truth.astype(bool))
        expect(name, values, kind)
    gdal("bigtiff", smooth(3, "uint16", 4000), BIGTIFF="YES")
    gdal("bigtiff_big_endian", smooth(1, "uint16", 4000), BIGTIFF="YES", ENDIANNESS="BIG")
    gdal("planes", smooth(3, "uint8", 255), interleave="band", photometric="RGB")
    gdal("planes_tiled", smooth(4, "uint16", 4000), interleave="band", tiled=True, blockxsize=16, blockysize=16, compress="LZW")
    fill_order("fill_order", smooth(1, "uint8", 3)[0])


def fill_order(name, values):
    """A plain TIFF with the low bit of every byte first (tag 266), which neither writer makes."""
    tags = [(256, 4, WIDTH), (257, 4, HEIGHT), (258, 3, 8), (259, 3, 1), (262, 3, 1), (266, 3, 2), (273, 4, 8),
            (277, 3, 1), (278, 4, HEIGHT), (279, 4, values.size)]
    pixels = bytes(int(f"{value:08b}"[::-1], 2) for value in values.ravel())
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t[:2], 1, t[2]) for t in tags) + bytes(4)
    (HERE / f"{name}.tif").write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory)
    expect(name, values, "labels")


def bands_and_nodata():
    four = smooth(4, "uint8", 200) + np.uint8(1)
    gdal("rgb_and_infrared", four, photometric="RGB", ALPHA="NO")
    gdal("rgb_and_alpha", four, photometric="RGB", ALPHA="YES")
    expect("rgb_and_alpha", np.moveaxis(four[:3], 0, -1), alpha=four[3].ravel().tolist())
    gdal("seven_bands", smooth(7, "uint16", 4000), photometric="RGB")
    scene = smooth(1, "float32", 90)
    scene[0, :4, :5] = -9999
    gdal("nodata", scene, nodata=-9999)
    EXPECTED["nodata"]["nodata"] = np.flatnonzero(scene[0] == -9999).tolist()
    mask = np.full((HEIGHT, WIDTH), 255, "uint8")
    mask[3:6, 2:9] = 0
    gdal("masked", smooth(3, "uint8", 255), mask=mask, photometric="RGB")
    labels = smooth(1, "int16", 3)
    labels[0, 0, :3] = [-1, -9999, 2]
    gdal("labels_negative", labels, "labels", expected=labels[0])
    nan = smooth(1, "float32", 3)
    nan[0, 1, 1] = np.nan
    gdal("labels_nan", nan, "labels", expected=nan[0])
    tall = np.zeros((1, 64, 48), "float32")
    tall[0, :16, :16] = smooth(1, "float32", 90)[0, :13, :16].mean()
    for name, nodata in [("sparse", None), ("sparse_nodata", -1.0)]:
        path = HERE / f"{name}.tif"
        with rasterio.open(path, "w", driver="GTiff", height=64, width=48, count=1, dtype="float32", nodata=nodata,
                           tiled=True, blockxsize=16, blockysize=16, SPARSE_OK=True) as file:
            file.write(tall[:, :16, :16], window=((0, 16), (0, 16)))
        expect(name, read_by_gdal(name)[..., 0])
        if nodata is not None:
            EXPECTED[name]["nodata"] = np.flatnonzero(read_by_gdal(name)[..., 0] == nodata).tolist()


def pages_and_orientation():
    page = smooth(1, "uint8", 255)[0]
    for value in range(1, 9):
        name = f"orientation_{value}"
        tifffile.imwrite(HERE / f"{name}.tif", page, extratags=[(274, "H", 1, value, True)])
        upright = {1: page, 2: page[:, ::-1], 3: page[::-1, ::-1], 4: page[::-1], 5: page.T,
                   6: np.rot90(page, -1), 7: page[::-1, ::-1].T, 8: np.rot90(page)}[value]
        expect(name, upright)
    with tifffile.TiffWriter(HERE / "thumbnail.tif") as file:
        file.write(page, metadata=None)
        file.write(page[::4, ::4], metadata=None)
    expect("thumbnail", page)
    tifffile.imwrite(HERE / "stack.tif", np.stack([page, page, page]), photometric="minisblack")
    EXPECTED["stack"] = {"kind": "refused", "words": "3 pages"}
    gdal("complex", smooth(1, "complex64", 9))
    EXPECTED["complex"] = {"kind": "refused", "words": "complex numbers"}


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    codecs()
    colours()
    types_and_layouts()
    bands_and_nodata()
    pages_and_orientation()
    text = ",\n".join(f"{json.dumps(name)}: {json.dumps(EXPECTED[name])}" for name in sorted(EXPECTED))
    (HERE / "expected.json").write_text("{\n" + text + "\n}\n")


if __name__ == "__main__":
    sys.exit(main())
