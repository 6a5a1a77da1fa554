"""Compare the polygons that `segtool predict --format geojson` writes with GDAL's of the same label map.

Usage: check_polygons.py --program PATH --run RUN [FILE.tif...]
(packages: rasterio, shapely, pyogrio, pyproj; ../requirements.txt)

Images are made in a temporary folder: noise, and smooth shapes with noise, on grids upright, rotated, mirrored and in degrees,
with pixels as points, with nodata; without coordinates. FILEs are added to them. RUN is a run of a network for one band, or
for that of the FILEs.

Checked of each result: polygons are valid, outlines counter-clockwise and holes clockwise; they equal rasterio's of the same map
(with 4 neighbours), one by one; burnt back they give the map; areas are those of the pixels, probabilities the means of
<stem>_prob.npy; GDAL reads the image's reference system. Simplified: valid, and a coverage without gaps or overlaps (GEOS).
Longitude and latitude: as pyproj has them. Exits with 1 if anything differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pyogrio
import rasterio
import rasterio.features
import shapely
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

UPRIGHT = Affine(10, 0, 399960.1, 0, -10, 5200020.7)
TOLERANCES = ("0.5", "1", "3")
# Those that segtool converts, and Web Mercator.
WGS84 = {4326, 3857} | set(range(32601, 32661)) | set(range(32701, 32761))


def make_images(folder):
    """Writes the images and returns their paths."""
    utm = CRS.from_epsg(32633)
    cases = {
        "utm": dict(crs=utm, transform=UPRIGHT),
        "large": dict(crs=utm, transform=UPRIGHT, width=420, height=330, nodata=0),
        "rotated": dict(crs=utm, transform=Affine(8.66, 5, 500000.123, 5, -8.66, 5200000.5)),
        "south-up": dict(crs=utm, transform=Affine(10, 0, 399960, 0, 10, 5200020)),
        "mirrored": dict(crs=CRS.from_epsg(32719), transform=Affine(-10, 0, 399960, 0, -10, 5200020)),
        "degrees": dict(crs=CRS.from_epsg(4326), transform=Affine(0.01, 0, 11.5, 0, -0.01, 47.25), nodata=0),
        "mercator": dict(crs=CRS.from_epsg(3857), transform=UPRIGHT),
        "national": dict(crs=CRS.from_epsg(25832), transform=UPRIGHT),
        "points": dict(crs=utm, transform=UPRIGHT, tags=dict(AREA_OR_POINT="Point")),
        "no-crs": dict(transform=UPRIGHT),
        "pixels": dict(),
    }
    random = np.random.default_rng(0)
    for name, options in cases.items():
        tags = options.pop("tags", {})
        options = dict(driver="GTiff", width=180, height=140, count=1, dtype="uint8") | options
        shape = (options["height"], options["width"])
        y, x = np.mgrid[: shape[0], : shape[1]]
        waves = 128 + 60 * np.sin(x / 17 + y / 41) + 60 * np.cos(y / 13 - x / 37)
        pixels = np.clip(waves + random.normal(0, 25, shape), 1, 255).astype(np.uint8)
        pixels[:30] = random.integers(1, 256, (30, shape[1]))
        if "nodata" in options:
            pixels[:, :21] = 0
        with rasterio.open(folder / f"{name}.tif", "w", **options) as file:
            file.update_tags(**tags)
            file.write(pixels, 1)
    return sorted(folder.glob("*.tif"))


def read(path):
    """Polygons of a file with their properties."""
    features = json.loads(path.read_text())["features"]
    return [(shapely.geometry.shape(one["geometry"]), one["properties"]) for one in features]


def validity(polygons):
    invalid = [shapely.is_valid_reason(one) for one in polygons if not one.is_valid]
    if invalid:
        yield f"{len(invalid)} of {len(polygons)} polygons are not valid: {invalid[0]}"
    turned = [p for p in polygons if not p.exterior.is_ccw or any(hole.is_ccw for hole in p.interiors)]
    if turned:
        yield f"{len(turned)} polygons turn the wrong way"


def exact_faults(file, found, labels, blank, probabilities):
    """What is wrong with exact outlines."""
    polygons = [polygon for polygon, _ in found]
    yield from validity(polygons)
    mask = labels != blank
    # GDAL writes the transform of pixel corners; without coordinates that is the identity.
    shapes = rasterio.features.shapes(labels.astype(np.int32), mask=mask, connectivity=4, transform=file.transform)
    expected = {}
    for geometry, value in shapes:
        polygon = shapely.make_valid(shapely.geometry.shape(geometry))
        expected.setdefault((int(value), tuple(np.round(polygon.bounds, 6))), []).append(polygon)
    other = 0
    pixel = abs(file.transform.determinant)
    for polygon, properties in found:
        same = expected.get((properties["label"], tuple(np.round(polygon.bounds, 6))), [])
        near = [one for one in same if polygon.symmetric_difference(one).area < 1e-6 * pixel]
        other += len(near) != 1
        if abs(polygon.area - properties["area"]) > 1e-6 * properties["area"]:
            yield f"area {properties['area']}, not {polygon.area}"
    count = sum(map(len, expected.values()))
    if other or count != len(found):
        yield f"{other} of {len(found)} polygons are not among GDAL's {count}"
    burnt = rasterio.features.rasterize(
        ((polygon, number) for number, polygon in enumerate(polygons, 1)), labels.shape, transform=file.transform,
        dtype="int32",
    )
    values = np.array([blank] + [properties["label"] for _, properties in found])
    if not np.array_equal(values[burnt], labels):
        yield "burnt back they give another map"
    counts = np.bincount(burnt.ravel(), minlength=len(values))[1:]
    areas = np.array([properties["area"] for _, properties in found])
    if not np.allclose(areas, counts * pixel, rtol=1e-12) or not np.isclose(areas.sum(), mask.sum() * pixel, rtol=1e-12):
        yield "areas are not those of the pixels"
    means = np.bincount(burnt.ravel(), probabilities.ravel().astype(float), len(values))[1:] / np.maximum(counts, 1)
    if np.abs(means - [properties["probability"] for _, properties in found]).max() > 2e-6:
        yield "other probabilities"


def simplified_faults(found, blank):
    """What is wrong with simplified outlines."""
    polygons = [polygon for polygon, _ in found]
    yield from validity(polygons)
    if not shapely.coverage_is_valid(polygons):
        edges = shapely.coverage_invalid_edges(polygons)
        yield f"{sum(not edge.is_empty for edge in edges)} polygons overlap or do not share an edge"
        return
    union = shapely.coverage_union_all(polygons)
    holes = sum(len(part.interiors) for part in getattr(union, "geoms", [union]))
    if holes > sum(1 for _ in rasterio.features.shapes(blank.astype("uint8"), mask=blank, connectivity=4)):
        yield "there are gaps"


def degrees_faults(found, exact, epsg):
    """What is wrong with longitudes and latitudes."""
    yield from validity([polygon for polygon, _ in found])
    transformer = Transformer.from_crs(epsg, 4326, always_xy=True)
    missing = count = other = 0
    for (polygon, _), (before, _) in zip(found, exact):
        corners = set(map(tuple, np.round(shapely.get_coordinates(polygon), 6)))
        points = np.round(np.array(transformer.transform(*shapely.get_coordinates(before).T)).T, 6)
        missing += sum(tuple(point) not in corners for point in points)
        count += len(points)
        # Edges are curved: many points on each. The file's are straight for up to 64 pixels.
        curved = shapely.segmentize(before, np.sqrt(before.envelope.area) / 50)
        curved = shapely.transform(curved, lambda points: np.array(transformer.transform(*points.T)).T)
        other += abs(polygon.area - curved.area) > 1e-3 * curved.area
    if other:
        yield f"{other} of {len(found)} areas are not those of pyproj's outlines"
    # Rounding to 6 digits may fall on either side.
    if missing > 0.01 * count:
        yield f"{missing} of {count} points are elsewhere than pyproj has them"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--run", required=True, type=pathlib.Path)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    wrong = total = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "in").mkdir()
        images = make_images(folder / "in") + options.files

        def predict(output, chosen, *more):
            command = [options.program, "-q", "predict", "--run", options.run, "--output-path", folder / output]
            command += ["--format", "npy,geojson", "--prob", *more, *chosen]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        predict("exact", images)
        for tolerance in TOLERANCES:
            predict(f"simple-{tolerance}", images, "--simplify", tolerance)
        numbers = {image: file.crs.to_epsg() for image in images for file in [rasterio.open(image)] if file.crs}
        plain = [image for image, number in numbers.items() if number in WGS84]
        predict("degrees", plain, "--geojson-crs", "wgs84")
        for image in images:
            path = folder / "exact" / f"{image.stem}.geojson"
            exact, labels = read(path), np.load(path.with_suffix(".npy"))
            with rasterio.open(image) as file:
                faults = list(exact_faults(file, exact, labels, 255, np.load(path.with_name(f"{image.stem}_prob.npy"))))
                crs = pyogrio.read_info(path)["crs"]
                # GDAL takes a null crs for longitude and latitude.
                if CRS.from_user_input(crs) != (file.crs or CRS.from_epsg(4326)):
                    faults.append(f"reference system {crs}, not {file.crs}")
            points = [len(shapely.get_coordinates([polygon for polygon, _ in exact]))]
            for tolerance in TOLERANCES:
                simple = read(folder / f"simple-{tolerance}" / path.name)
                points.append(len(shapely.get_coordinates([polygon for polygon, _ in simple])))
                faults += [f"simplified by {tolerance}: {fault}" for fault in simplified_faults(simple, labels == 255)]
            if image in plain:
                degrees = read(folder / "degrees" / path.name)
                faults += [f"degrees: {fault}" for fault in degrees_faults(degrees, exact, numbers[image])]
            wrong += bool(faults)
            total += len(exact)
            print(f"{image.name}: {len(exact)} polygons, points {points}: {'; '.join(faults) or 'equal'}", flush=True)
    print(f"{len(images)} images with GDAL {rasterio.__gdal_version__}, {total} polygons, {wrong} images wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
