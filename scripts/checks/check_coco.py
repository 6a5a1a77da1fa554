#!/usr/bin/env python3
"""Compares COCO files written by `segtool convert`, drawn by pycocotools, with the label maps they were made from.

    scripts/checks/check_coco.py --program segtool [--masks FOLDER --images FOLDER --dataset NAME]

Without folders, synthetic label maps are used, with regions in regions, holes, single pixels and pixels that touch at
corners. Needs numpy, Pillow and pycocotools; prints the share of the pixels that differ, and fails if there are any.
"""

import argparse
import contextlib
import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

MADE = """
name = "made"
bands = 1
ignore = [255]
normalisation = { kind = "per-dataset" }
classes = [
%s  { name = "seep", values = 1, color = [255, 0, 0] },
  { name = "ship", values = 2, color = [0, 255, 0] },
  { name = "land", values = 3, color = [0, 0, 255] },
]
"""
KNOWN = {"seep": 1, "ship": 2, "land": 3}
BACKGROUND = '  { name = "background", values = 0, color = [0, 0, 0] },\n'


def made(folder, seed, background):
    """Writes 20 images with ragged label maps, of several sizes, and a data set file."""
    rng = np.random.default_rng(seed)
    values = [0, 1, 2, 3, 255] if background else [1, 2, 3, 255]
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for number in range(20):
        height, width = rng.integers(1, 160, 2)
        label = np.full((height, width), values[0], np.uint8)
        for _ in range(60):
            x, y, w, h = rng.integers(0, width), rng.integers(0, height), rng.integers(1, 40), rng.integers(1, 40)
            part = label[y : y + h, x : x + w]
            part[rng.random(part.shape) < 0.97] = rng.choice(values)
        Image.fromarray(label).save(folder / f"masks/{number:02}.png")
        Image.fromarray(rng.integers(0, 255, (height, width), dtype=np.uint8)).save(folder / f"images/{number:02}.png")
    (folder / "made.toml").write_text(MADE % (BACKGROUND if background else ""))
    return folder / "masks", folder / "images", str(folder / "made.toml")


def compare(program, masks, images, dataset, background):
    """The numbers of pixels, of those that differ, and of annotations as polygons and as run lengths."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        common = [program, "convert", masks, "--images", images, "--dataset", dataset]
        subprocess.run([*common, "--to", "coco", "--output", folder / "coco.json"], check=True, capture_output=True)
        # What the label maps mean, with the values of the data set.
        subprocess.run([*common, "--to", "npy", "--output", folder / "maps"], check=True, capture_output=True)
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(folder / "coco.json")
        values = {number: KNOWN[c["name"]] for number, c in coco.cats.items() if c["name"] in KNOWN}
        pixels = differ = polygons = runs = wrong_area = wrong_box = 0
        for image in coco.imgs.values():
            wanted = np.load(folder / "maps" / Path(image["file_name"]).with_suffix(".npy")).reshape(
                image["height"], image["width"]
            )
            drawn = np.zeros(wanted.shape, int)
            for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
                mask = coco.annToMask(annotation).astype(bool)
                polygons += isinstance(annotation["segmentation"], list)
                runs += isinstance(annotation["segmentation"], dict)
                drawn[mask] = annotation["category_id"]
                wrong_area += annotation["area"] != mask.sum()
                rows, columns = np.nonzero(mask)
                box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if mask.any() else None
                wrong_box += annotation["bbox"] != box
            # The value of a category of other data sets is that of most of its pixels.
            for category in np.unique(drawn[drawn > 0]):
                found, counts = np.unique(wanted[drawn == category], return_counts=True)
                values.setdefault(int(category), int(found[counts.argmax()]))
            table = np.array([0] + [values.get(category, -1) for category in range(1, max(values, default=0) + 1)])
            # What no annotation covers is background, or not labelled.
            left = [value for value in np.unique(wanted[drawn == 0]) if value not in background]
            pixels += wanted.size
            differ += int((table[drawn] != wanted)[drawn > 0].sum()) + int(np.isin(wanted[drawn == 0], left).sum())
        return len(coco.imgs), pixels, differ, polygons, runs, wrong_area, wrong_box


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="segtool")
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--dataset")
    parser.add_argument("--uncovered", type=int, nargs="*", default=[0, 255], help="values that no annotation covers")
    given = parser.parse_args()
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        if given.masks:
            cases.append((given.dataset, given.masks, given.images, given.dataset, given.uncovered))
        else:
            for seed in range(5):
                for background in (True, False):
                    own = Path(folder) / f"{seed}{background}"
                    own.mkdir()
                    name = f"made {seed}, {'with' if background else 'without'} background"
                    cases.append((name, *made(own, seed, background), [0, 255]))
        failed = 0
        for name, masks, images, dataset, uncovered in cases:
            count, pixels, differ, polygons, runs, area, box = compare(given.program, masks, images, dataset, uncovered)
            print(
                f"{name}: {count} images, {polygons} polygons, {runs} run lengths: {differ} of {pixels} pixels differ "
                f"({100 * differ / max(pixels, 1):.4f} %), {area} areas and {box} boxes differ"
            )
            failed += differ + area + box
    raise SystemExit(int(failed > 0))


if __name__ == "__main__":
    main()
