"""Compare the GeoTIFFs that `segtool predict` writes with their source images, as GDAL reads both.

Usage: check_geotiff.py --program PATH --run RUN [FILE.tif...]     (packages: rasterio, rio-cogeo; ../requirements.txt)

Images are made in a temporary folder: coordinate reference systems by EPSG number, user-defined and as WKT alone, grids
upright and rotated, ground control points, big-endian and BigTIFF, with and without nodata, larger and smaller than a tile;
a PNG with a world file. FILEs are added to them. RUN is a run of a network for one band, or for that of the FILEs.

Checked of each result: it is a valid Cloud Optimized GeoTIFF (rio-cogeo, strict); reference system, transform and control
points equal the image's; pixels equal the .npy, and nodata those that are "not labelled"; palette and category names are
those of the run's data set; overviews are there where the map is larger than a tile. Exits with 1 if anything differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings
import xml.etree.ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine
from rio_cogeo.cogeo import cog_validate

OWN = CRS.from_wkt("""PROJCS["mine",GEOGCS["my datum",DATUM["my datum",SPHEROID["ball",6378200.5,298.1]],
    PRIMEM["zero",1.5],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],
    PARAMETER["latitude_of_origin",1],PARAMETER["central_meridian",13],PARAMETER["scale_factor",0.9996],
    PARAMETER["false_easting",500000],PARAMETER["false_northing",100],UNIT["metre",1]]""")
LAEA = CRS.from_proj4("+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=bessel +units=m")
NAMELESS = CRS.from_proj4("+proj=longlat +a=6378300 +rf=297.5 +pm=2.5 +no_defs")
UPRIGHT = Affine(10, 0, 399960.1, 0, -10, 5200020.7)
ROTATED = Affine(8.66, 5, 500000.123, 5, -8.66, 5200000.5)
SOUTH_UP = Affine(10, 0, 399960, 0, 10, 5200020)


def make_images(folder):
    """Writes the images and returns their paths."""
    cases = {
        "utm": dict(crs=CRS.from_epsg(32633), transform=UPRIGHT),
        "large": dict(crs=CRS.from_epsg(32633), transform=UPRIGHT, width=2300, height=1100, nodata=0),
        "bigtiff": dict(crs=CRS.from_epsg(25832), transform=UPRIGHT, BIGTIFF="YES"),
        "big-endian": dict(crs=CRS.from_epsg(3857), transform=UPRIGHT, ENDIANNESS="BIG"),
        "degrees": dict(crs=CRS.from_epsg(4326), transform=Affine(0.1, 0, 11.5, 0, -0.1, 47.25), nodata=0),
        "own": dict(crs=OWN, transform=UPRIGHT),
        "laea": dict(crs=LAEA, transform=UPRIGHT),
        "nameless": dict(crs=NAMELESS, transform=Affine(0.1, 0, 11.5, 0, -0.1, 47.25)),
        "rotated": dict(crs=CRS.from_epsg(32633), transform=ROTATED),
        "south-up": dict(crs=CRS.from_epsg(32633), transform=SOUTH_UP),
        "no-crs": dict(transform=UPRIGHT),
        "tiled": dict(crs=CRS.from_epsg(32633), transform=UPRIGHT, tiled=True, blockxsize=64, blockysize=64,
                      compress="deflate", width=700, height=600),
    }
    random = np.random.default_rng(0)
    for name, options in cases.items():
        options = dict(driver="GTiff", width=90, height=70, count=1, dtype="uint8") | options
        pixels = random.integers(1, 256, (options["height"], options["width"]), dtype=np.uint8)
        if "nodata" in options:
            pixels[:, :21] = 0
        with rasterio.open(folder / f"{name}.tif", "w", **options) as file:
            file.write(pixels, 1)
    points = [GroundControlPoint(r, c, 11 + c / 100 + r / 900, 47 - r / 100, 5.0) for r in (0, 69) for c in (0, 40, 89)]
    with rasterio.open(folder / "points.tif", "w", driver="GTiff", width=90, height=70, count=1, dtype="uint8") as file:
        file.write(random.integers(1, 256, (70, 90), dtype=np.uint8), 1)
        file.gcps = (points, CRS.from_epsg(4326))
    with rasterio.open(folder / "world.png", "w", driver="PNG", width=90, height=70, count=1, dtype="uint8") as file:
        file.write(random.integers(1, 256, (70, 90), dtype=np.uint8), 1)
    (folder / "world.pgw").write_text("2.5\n0\n0\n-2.5\n1001.25\n1998.75\n")
    (folder / "world.png.aux.xml").unlink(missing_ok=True)
    return sorted(folder.glob("*.tif")) + [folder / "world.png"]


def faults(image, result, dataset):
    """What is wrong with a result, in words."""
    valid, errors, notes = cog_validate(result, strict=True, quiet=True)
    if not valid or errors or notes:
        yield f"not a valid COG: {errors + notes}"
    with rasterio.open(image) as before, rasterio.open(result) as after:
        if before.crs != after.crs or (before.crs and before.crs.to_wkt() != after.crs.to_wkt()):
            yield f"reference system {after.crs}, not {before.crs}"
        if before.transform != after.transform:
            yield f"transform {after.transform}, not {before.transform}"
        points = [[(p.row, p.col, p.x, p.y, p.z) for p in file.gcps[0]] for file in (before, after)]
        if points[0] != points[1] or before.gcps[1] != after.gcps[1]:
            yield "other control points"
        labels, pixels = np.load(result.with_suffix(".npy")), after.read(1)
        if labels.dtype != pixels.dtype or not np.array_equal(labels, pixels):
            yield "other pixels than the array"
        if before.nodata is not None and not np.array_equal(before.read_masks(1) == 0, after.read_masks(1) == 0):
            yield "other pixels without data than the image"
        if labels.dtype == np.uint8:
            if after.colorinterp[0] != ColorInterp.palette:
                yield "no palette"
            for one in dataset["classes"]:
                for value in one["values"]:
                    if after.colormap(1)[value][:3] != tuple(one["color"]):
                        yield f"colour {after.colormap(1)[value]} of {value}"
        larger = max(labels.shape) > 512
        if bool(after.overviews(1)) != larger:
            yield f"overviews {after.overviews(1)}"
        # The category names as GDAL itself reads them, exported by its VRT driver.
        with rasterio.MemoryFile(ext=".vrt") as memory:
            rasterio.shutil.copy(after, memory.name, driver="VRT")
            tree = xml.etree.ElementTree.fromstring(memory.read())
        names = [element.text or "" for element in tree.iter("Category")]
        for one in dataset["classes"]:
            for value in one["values"]:
                if names[value:value + 1] != [one["name"]]:
                    yield f"category names {names}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--run", required=True, type=pathlib.Path)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    dataset = json.loads((options.run / "config.json").read_text())["dataset"]
    for one in dataset["classes"]:
        one["values"] = one["values"] if isinstance(one["values"], list) else [one["values"]]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "in").mkdir()
        images = make_images(folder / "in") + options.files
        command = [options.program, "predict", "--run", options.run, "--format", "npy,tiff"]
        subprocess.run([*command, "--output-path", folder / "out", *images], check=True)
        for image in images:
            found = list(faults(image, folder / "out" / f"{image.stem}.tif", dataset))
            wrong += bool(found)
            print(f"{image.name}: {'; '.join(found) or 'equal'}")
    print(f"{len(images)} images with GDAL {rasterio.__gdal_version__}, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
