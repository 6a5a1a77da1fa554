"""Write TIFFs in many combinations of sample type, codec, layout and tags, for check_images.py to compare.

Usage: make_tiff_matrix.py [--files 2000] FOLDER       (packages: ../requirements.txt)

FOLDER/gdal holds the files that GDAL writes, FOLDER/tifffile those of tifffile, and FOLDER/matrix.json says what each of
them is. The same call writes the same pixels. Files are chosen so that every compatible pair of settings occurs in some
file (pairwise testing); further files are random combinations, up to the number asked for.
"""
import argparse
import itertools
import json
import logging
import pathlib
import random
import struct
import warnings

import numpy as np
import rasterio
import tifffile
from rasterio.enums import ColorInterp
from rasterio.windows import Window

INTEGERS = "uint8 int8 uint16 int16 uint32 int32 uint64 int64".split()
COMMON = dict(
    predictor=[1, 2, 3],
    interleaving=["pixel", "band"],
    layout=["strips of 1", "strips of 7", "one strip", "tiles of 16", "tiles of 64"],
    size=["1x1", "17x5", "61x47", "128x96"],  # width x height
    container=["classic", "BigTIFF"],
    endian=["little", "big"],
    bands=[1, 2, 3, 4, 5, 7],
    extras=["none", "alpha", "associated", "unspecified"],
    orientation=list(range(1, 9)),
)
GDAL = COMMON | dict(
    writer=["GDAL"],
    type=[*INTEGERS, "float32", "float64", *(f"{bits} bits" for bits in (1, 2, 4, 7, 10, 12))],
    codec="NONE LZW DEFLATE PACKBITS ZSTD LZMA LERC LERC_DEFLATE LERC_ZSTD WEBP JPEG CCITTFAX3 CCITTFAX4 CCITTRLE".split(),
    photometric=["minisblack", "miniswhite", "rgb", "palette", "ycbcr"],
    special="plain;nodata;nodata NaN;sparse;sparse with nodata;mask;scale and offset".split(";"),
)
TIFFFILE = COMMON | dict(
    writer=["tifffile"],
    type=[*INTEGERS, "float16", "float32", "float64", "bool"],
    codec="NONE LZW DEFLATE ADOBE_DEFLATE PACKBITS ZSTD LZMA LERC WEBP JPEG".split(),
    photometric=["minisblack", "miniswhite", "rgb", "palette"],
    special=["plain", "nodata"],
)


def bits_of(kind):
    return int(kind.split()[0]) if kind.endswith("bits") else 1 if kind == "bool" else 8 * np.dtype(kind).itemsize


def legal(s):
    """Whether such a file is possible, and whether its writer supports it."""
    kind, codec, bands, photometric, extras = s["type"], s["codec"], s["bands"], s["photometric"], s["extras"]
    bits, real, pixel = bits_of(kind), kind.startswith("float"), s["interleaving"] == "pixel"
    narrow = kind.endswith("bits") or kind == "bool"
    colours = 3 if photometric in ("rgb", "ycbcr") else 1
    return all([
        s["predictor"] == 1 or codec in ("LZW", "DEFLATE", "ADOBE_DEFLATE", "ZSTD", "LZMA"),
        s["predictor"] == 1 or (not narrow and (s["predictor"] == 3) == real),
        not codec.startswith("CCITT") or (kind == "1 bits" and bands == 1),
        not codec.startswith("LERC") or (not narrow and kind not in ("uint64", "int64", "float16")),
        codec != "LERC" or s["writer"] == "GDAL" or s["endian"] == "little",
        codec != "WEBP" or (kind == "uint8" and photometric == "rgb" and bands in (3, 4) and pixel),
        codec != "WEBP" or extras in ("none", "alpha"),
        # A strip of JPEG is whole blocks of 8 or 16 rows, and its pixels are grey or colours.
        codec != "JPEG" or s["layout"] not in ("strips of 1", "strips of 7"),
        codec != "JPEG" or (kind == "uint8" and photometric != "palette" and (bands in (1, colours) or not pixel)),
        photometric != "ycbcr" or (codec == "JPEG" and bands == 3 and pixel),
        photometric != "ycbcr" or not s["special"].startswith("sparse"),  # its sharp edge blurs in more than one way
        # tifffile packs the bits of several bands in a way of its own, which GDAL reads as something else.
        kind != "bool" or bands == 1,
        photometric != "rgb" or (not real and bits in (8, 16, 32)),
        photometric != "miniswhite" or kind.startswith("uint") or narrow,
        photometric != "palette" or (kind in ("uint8", "4 bits", "uint16") and s["predictor"] != 3),
        photometric != "palette" or bands == 1 or (bands == 2 and extras == "alpha" and s["writer"] == "GDAL"),
        extras == "none" if bands == colours else bands > colours and extras != "none",
        s["special"] != "nodata NaN" or real,
        s["special"] != "mask" or extras == "none",
        not s["special"].startswith("sparse") or s["size"] in ("61x47", "128x96"),
        bands > 1 or pixel,
    ])


def choose(settings, number, seed):
    """Combinations that cover all compatible pairs of settings, then random ones."""
    rng = random.Random(seed)

    covered, found = set(), {}

    def draw(fixed, tries):
        # Every other try starts from what was found before: with rare settings, few random combinations are legal.
        kin = [chosen for chosen in found.values() if fixed.items() & chosen.items()]
        for attempt in range(tries):
            kept = rng.choice(kin) if kin and attempt % 2 else {}
            chosen = {
                name: kept[name] if kept and rng.random() < 0.7 else rng.choice(values)
                for name, values in settings.items()
            } | fixed
            if legal(chosen):
                return chosen
        return None

    def pairs(chosen):
        return set(itertools.combinations(chosen.items(), 2))

    def take(chosen):
        found[tuple(chosen.values())] = chosen
        covered.update(pairs(chosen))

    for one, other in itertools.combinations(settings, 2):
        for fixed in itertools.product(settings[one], settings[other]):
            pair = tuple(zip((one, other), fixed))
            if pair in covered:
                continue
            if first := draw(dict(pair), 3000):
                # Of a few, the one with the most pairs that are new.
                drawn = [first, *filter(None, (draw(dict(pair), 300) for _ in range(4)))]
                take(max(drawn, key=lambda chosen: len(pairs(chosen) - covered)))
    while len(found) < number:
        take(draw({}, 1_000_000))
    return list(found.values())


def pixels(s, seed):
    """Smooth surfaces with some noise over the whole range of the type, as [height, width, bands]."""
    rng = np.random.default_rng(seed)
    width, height = map(int, s["size"].split("x"))
    y, x, band = np.mgrid[:height, :width, : s["bands"]]
    surface = 0.5 + 0.45 * np.sin(x / 9 + band) * np.cos(y / 7 - band)
    noise = 0.0 if s["codec"] == "JPEG" else 0.04
    share = np.clip(surface + noise * rng.standard_normal(surface.shape), 0, 1)
    kind, bits = s["type"], bits_of(s["type"])
    if kind.startswith("float"):
        array = ((share - 0.5) * (1e3 if kind == "float16" else 1e6)).astype(kind)
        array[rng.random(array.shape) < 0.02] = 0.1
    elif kind == "bool" or kind.endswith("bits"):
        array = np.rint(share * (2**bits - 1)).astype(bool if kind == "bool" else "u1" if bits <= 8 else "u2")
    else:
        limits = np.iinfo(kind)
        # Whole numbers beyond 2**53 would not survive the double precision of the comparison.
        low, high = max(limits.min, -(2**52)), min(limits.max, 2**52)
        array = np.rint(low + share * (high - low)).clip(low, high).astype(kind)
    return array


def colour_table(bits):
    return {i: (i * 7 % 256, 255 - i % 256, i * 31 % 256, 255) for i in range(2 ** min(bits, 8))}


def block_of(s, height):
    """Rows of a strip, or the size of a tile."""
    return height if s["layout"] == "one strip" else int(s["layout"].split()[-1])


def write_gdal(path, s, array):
    special, block = s["special"], block_of(s, len(array))
    height, width, bands = array.shape
    options = dict(driver="GTiff", height=height, width=width, count=bands, dtype=array.dtype.name, compress=s["codec"],
                   interleave=s["interleaving"], endianness=s["endian"], sparse_ok=special.startswith("sparse"),
                   bigtiff="YES" if s["container"] == "BigTIFF" else "NO", webp_lossless=True, jpeg_quality=95)
    if s["predictor"] > 1:
        options["predictor"] = s["predictor"]
    if s["type"].endswith("bits"):
        options["nbits"] = bits_of(s["type"])
    if s["layout"].startswith("tiles"):
        options |= dict(tiled=True, blockxsize=block, blockysize=block)
    else:
        options["blockysize"] = min(block, height)
    if s["photometric"] != "palette":
        options["photometric"] = s["photometric"]
    if s["extras"] != "none":
        names = dict(alpha="NON-PREMULTIPLIED", associated="PREMULTIPLIED", unspecified="UNSPECIFIED")
        options["alpha"] = names[s["extras"]]
    if special in ("nodata", "sparse with nodata"):
        options["nodata"] = array[0, 0, 0].item()  # A value that is there.
    elif special == "nodata NaN":
        array[: height // 2 + 1] = options["nodata"] = np.nan
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **options) as image:
        if s["photometric"] == "palette":
            image.write_colormap(1, colour_table(bits_of(s["type"])))
        rows, columns = (slice(16, 32), slice(32)) if special.startswith("sparse") else (slice(height), slice(width))
        image.write(np.moveaxis(array[rows, columns], 2, 0), window=Window.from_slices(rows, columns, height, width))
        if special == "mask":
            mask = np.full((height, width), 255, "u1")
            mask[: height // 3 + 1, : width // 2 + 1] = 0
            image.write_mask(mask)
        if special == "scale and offset":
            image.scales, image.offsets = [0.5] * bands, [100.0] * bands
        if s["photometric"] == "palette" and bands == 2:
            image.colorinterp = [ColorInterp.palette, ColorInterp.alpha]
        image.update_tags(TIFFTAG_RESOLUTIONUNIT="2")
    turn(path, s["orientation"])


def turn(path, orientation):
    """Makes an Orientation tag of the ResolutionUnit tag, as GDAL has no way of writing one."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page, short, size = tiff.pages.first, tiff.byteorder + "H", tiff.tiff.tagsize
        start, count = page.offset + tiff.tiff.tagnosize, len(page.tags)
    entries = [data[start + i * size : start + (i + 1) * size] for i in range(count)]
    for entry in entries:
        if struct.unpack_from(short, entry)[0] == 296:
            struct.pack_into(short, entry, 0, 274)
            struct.pack_into(short, entry, size - (8 if size == 20 else 4), orientation)
    entries.sort(key=lambda entry: struct.unpack_from(short, entry))  # as in every directory of a TIFF
    data[start : start + count * size] = b"".join(entries)
    path.write_bytes(data)


def write_tifffile(path, s, array):
    height, _, bands = array.shape
    options = dict(photometric=s["photometric"], metadata=None, extratags=[(274, "H", 1, s["orientation"], True)])
    options["compression"] = None if s["codec"] == "NONE" else s["codec"].lower()
    options["compressionargs"] = dict(WEBP=dict(lossless=True), JPEG=dict(level=95)).get(s["codec"])
    if s["predictor"] > 1:
        options["predictor"] = s["predictor"]
    if s["layout"].startswith("tiles"):
        options["tile"] = (block_of(s, height),) * 2
    else:
        options["rowsperstrip"] = min(block_of(s, height), height)
    if s["extras"] != "none":
        names = dict(alpha="unassalpha", associated="assocalpha", unspecified="unspecified")
        colours = 3 if s["photometric"] == "rgb" else 1
        options["extrasamples"] = [names[s["extras"]]] + ["unspecified"] * (bands - colours - 1)
    if s["photometric"] == "palette":
        options["colormap"] = np.zeros((3, 2 ** bits_of(s["type"])), "u2")
        for index, colour in colour_table(bits_of(s["type"])).items():
            options["colormap"][:, index] = np.array(colour[:3]) * 257
    if s["special"] == "nodata":
        options["extratags"].append((42113, "s", 0, str(+array[0, 0, 0].item()), True))
    if bands > 1:
        options["planarconfig"] = "contig" if s["interleaving"] == "pixel" else "separate"
    array = array[..., 0] if bands == 1 else array if s["interleaving"] == "pixel" else np.moveaxis(array, 2, 0)
    endian = "<" if s["endian"] == "little" else ">"
    with tifffile.TiffWriter(path, bigtiff=s["container"] == "BigTIFF", byteorder=endian) as tiff:
        tiff.write(array, **options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="how many, if all pairs need no more (default: 2000)")
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    contents, failed = {}, []
    for name, settings, write, share in [("gdal", GDAL, write_gdal, 0.6), ("tifffile", TIFFFILE, write_tifffile, 0.4)]:
        (args.folder / name).mkdir(parents=True, exist_ok=True)
        for number, chosen in enumerate(choose(settings, int(args.files * share), name)):
            path = args.folder / name / f"{number:04}.tif"
            try:
                write(path, chosen, pixels(chosen, number))
                contents[f"{name}/{path.name}"] = chosen
            except Exception as error:
                path.unlink(missing_ok=True)
                failed.append((str(error) or repr(error), chosen))
    (args.folder / "matrix.json").write_text(json.dumps(contents, indent=0) + "\n")
    print(f"{len(contents)} files; {len(failed)} could not be written")
    for error, chosen in failed[:20]:
        print(error, chosen)


if __name__ == "__main__":
    main()
