"""Check that `segtool predict --tile` reads, predicts and writes scenes some rows at a time, within the memory it may take.

Usage: check_scenes.py --program PATH --run RUN [--side 30000] [--memory 1GiB] [--small-only] [--folder DIR]
(packages: rasterio, rio-cogeo; ../requirements.txt)

RUN is a run of a network for one band. Scenes are made in a folder: 1, 3, 4 and 7 bands, interleaved by pixel and by
band, in strips and in tiles, BigTIFF, pixel-is-point, rotated, with user-defined reference systems, nodata of several
types, and masks. For each, the files made from rows must equal those made from the whole image, nodata must be nodata,
and the georeference must equal the image's, as GDAL reads both. Then the jumps of the probability across the edges of
windows are compared with those elsewhere (with plain means they may be larger).

Finally, a scene of SIDE x SIDE 16-bit pixels: the peak memory of the process, the bytes that it read relative to the
size of the file, and whether the result is a valid Cloud Optimized GeoTIFF with the scene's georeference. Exits with 1
if anything is wrong.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

UTM = CRS.from_epsg(32633)
OWN = CRS.from_proj4("+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=bessel +units=m")
UPRIGHT = Affine(10, 0, 399960.1, 0, -10, 5200020.7)
ROTATED = Affine(8.66, 5, 500000.123, 5, -8.66, 5200000.5)
TILED = dict(tiled=True, blockxsize=128, blockysize=128)


def texture(rows, columns, kind):
    """Smooth structure with some noise, from 1 upwards."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    values = 0.5 + 0.3 * np.sin(x / 41.0) * np.cos(y / 29.0) + 0.1 * np.sin((x + 2 * y) / 7.0)
    values += ((x * 7919 + y * 104729) % 37) / 370.0
    if np.issubdtype(kind, np.floating):
        return values.astype(kind)
    return (values * min(np.iinfo(kind).max, 60000) * 0.9 + 1).clip(1).astype(kind)


def make_scenes(folder):
    cases = {
        "tiles": dict(TILED, compress="deflate", predictor=2),
        "strips": dict(compress="lzw"),
        "one-strip": dict(blockysize=700),
        "rgb": dict(TILED, count=3, interleave="pixel", dtype="uint8"),
        "planes": dict(TILED, count=4, interleave="band"),
        "planes-strips": dict(count=7, interleave="band", compress="deflate"),
        "seven": dict(TILED, count=7, interleave="pixel", compress="zstd"),
        "big": dict(TILED, BIGTIFF="YES"),
        "big-endian": dict(ENDIANNESS="BIG"),
        "own-crs": dict(TILED, crs=OWN),
        "rotated": dict(TILED, transform=ROTATED),
        "nodata-0": dict(TILED, nodata=0),
        "nodata-65535": dict(nodata=65535),
        "nodata-float": dict(dtype="float32", nodata=-9999.0),
        "nodata-nan": dict(TILED, dtype="float32", nodata=float("nan")),
        "int16": dict(dtype="int16", nodata=-1),
        "mask": dict(TILED),
        "sparse": dict(TILED, nodata=0, SPARSE_OK="TRUE"),
    }
    for name, options in cases.items():
        options = dict(driver="GTiff", width=900, height=700, count=1, dtype="uint16", crs=UTM, transform=UPRIGHT) | options
        kind = np.dtype(options["dtype"])
        pixels = np.stack([texture(np.arange(700) + 13 * b, np.arange(900), kind) for b in range(options["count"])])
        if "nodata" in options:
            pixels[:, 100:333, 200:517] = options["nodata"]
        # GDAL_TIFF_INTERNAL_MASK puts masks into the file.
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(folder / f"{name}.tif", "w", **options) as file:
            if name == "sparse":
                file.write(pixels[:, :300], window=Window(0, 0, 900, 300))
            else:
                file.write(pixels)
            if name == "mask":
                mask = np.full((700, 900), 255, np.uint8)
                mask[100:333, 200:517] = 0
                file.write_mask(mask)
            if name == "big":
                file.update_tags(AREA_OR_POINT="Point")
    return sorted(folder.glob("*.tif"))


def run(arguments):
    """Seconds, peak memory in bytes, and bytes read by a process."""
    began = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    read = 0
    while True:
        try:
            for line in pathlib.Path(f"/proc/{process.pid}/io").read_text().splitlines():
                if line.startswith("rchar:"):
                    read = int(line.split()[1])
        except OSError:
            pass
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.02)
    said = process.stdout.read()
    if status != 0:
        sys.exit(f"{' '.join(map(str, arguments))} failed:\n{said}")
    return time.monotonic() - began, usage.ru_maxrss * 1024, read


def same_georeference(image, result):
    with rasterio.open(image) as one, rasterio.open(result) as other:
        return one.crs == other.crs and one.transform == other.transform and one.shape == other.shape


def check_small(program, network, folder):
    wrong = 0
    for image in make_scenes(folder):
        with rasterio.open(image) as file:
            bands = ["--bands", str(file.count)] if file.count > 1 else []
            nodata = file.dataset_mask() == 0 if file.nodata is not None or image.stem == "mask" else None
        common = [program, "predict", "--run", network, "--tile", "256", "--overlap", "64", "--prob", *bands, image]
        rows, whole = folder / f"rows-{image.stem}", folder / f"whole-{image.stem}"
        run([*common, "--output-path", rows])
        run([*common, "--output-path", whole, "--color"])
        faults = []
        for ending in (".npy", ".tif", "_prob.npy", "_prob.tif"):
            if (rows / f"{image.stem}{ending}").read_bytes() != (whole / f"{image.stem}{ending}").read_bytes():
                faults.append(f"{ending} differs between rows and whole image")
        result = rows / f"{image.stem}.tif"
        if not same_georeference(image, result) or not same_georeference(image, rows / f"{image.stem}_prob.tif"):
            faults.append("georeference differs")
        with rasterio.open(result) as file, rasterio.open(rows / f"{image.stem}_prob.tif") as probability:
            if nodata is not None and not np.array_equal(file.dataset_mask() == 0, nodata):
                faults.append("nodata differs")
            if nodata is not None and not np.array_equal(np.isnan(probability.read(1)), nodata):
                faults.append("nodata of the probability differs")
        for file in (result, rows / f"{image.stem}_prob.tif"):
            valid, errors, notes = cog_validate(file, strict=True, quiet=True)
            if not valid:
                faults.append(f"{file.name}: {errors} {notes}")
        print(f"{'wrong' if faults else 'right'}  {image.stem}  {'; '.join(faults)}")
        wrong += bool(faults)
    return wrong


def make_large(path, side):
    options = dict(driver="GTiff", width=side, height=side, count=1, dtype="uint16", crs=UTM, transform=UPRIGHT,
                   tiled=True, blockxsize=512, blockysize=512, BIGTIFF="IF_SAFER")
    with rasterio.open(path, "w", **options) as file:
        for top in range(0, side, 512):
            rows = np.arange(top, min(side, top + 512))
            file.write(texture(rows, np.arange(side), np.uint16), 1, window=Window(0, top, side, len(rows)))


def check_large(program, network, folder, side, memory):
    image, small = folder / "large.tif", folder / "tiles.tif"
    if not image.exists():
        make_large(image, side)
    base = [program, "predict", "--run", network, "--tile", "512", "--overlap", "64", "--memory", memory]
    _, least, own = run([*base, "--output-path", folder / "least", small])
    seconds, peak, read = run([*base, "--output-path", folder / "large", "--format", "tiff", image])
    size = image.stat().st_size
    valid, errors, notes = cog_validate(folder / "large/large.tif", strict=True, quiet=True)
    print(f"{side}x{side}: {seconds:.0f} s, peak {peak / 2**20:.0f} MiB (of {memory}; {least / 2**20:.0f} MiB for a scene of "
          f"900x700), {(read - own) / size:.3f} times the file read, valid COG: {valid} {errors} {notes}, "
          f"georeference equal: {same_georeference(image, folder / 'large/large.tif')}")
    units = {"GiB": 2**30, "MiB": 2**20}
    limit = float(memory[:-3]) * units[memory[-3:]]
    return not (valid and peak <= limit and (read - own) / size <= 1.3)


def check_seams(program, network, folder):
    """Largest jump of the probability between neighbouring columns, at edges of windows and elsewhere."""
    image = folder / "tiles.tif"
    wrong = 0
    for blend in ("gaussian", "linear", "average", "crop"):
        output = folder / f"seams-{blend}"
        run([program, "predict", "--run", network, "--tile", "256", "--overlap", "64", "--blend", blend, "--prob-all",
             "--output-path", output, image])
        jumps = np.abs(np.diff(np.load(output / "tiles_probs.npy")[-1], axis=1)).max(axis=0)
        starts = np.arange(-32, 900, 192)
        edges = {edge - 1 for start in starts for edge in (start, start + 32, start + 224, start + 256) if 0 < edge < 900}
        at = jumps[sorted(edges)].max()
        elsewhere = np.delete(jumps, sorted(edges)).max()
        print(f"{blend}: largest jump {at:.4f} at edges of windows, {elsewhere:.4f} elsewhere")
        # Where windows count alike up to their edges, these show.
        wrong += bool(at > elsewhere and blend != "average")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--run", required=True, dest="network")
    parser.add_argument("--side", type=int, default=30000)
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--small-only", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        wrong = check_small(options.program, options.network, folder)
        wrong += check_seams(options.program, options.network, folder)
        if not options.small_only:
            wrong += check_large(options.program, options.network, folder, options.side, options.memory)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
