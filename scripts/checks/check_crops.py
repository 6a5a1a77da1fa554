#!/usr/bin/env python3
"""Counts how many overlapping crops, saved as JPEG, `segtool check` finds among JPEG copies of real data sets.

    scripts/checks/check_crops.py --program segtool --camvid FOLDER --parihaka FOLDER --seeps FOLDER

A folder holds the lists train_*.txt and val_*.txt with the files that they name. In copies of each set, all images
become JPEGs of quality 90, and six of them are replaced by two overlapping crops each, 70 % as wide and high, from
opposite corners, with qualities 75 and 85. Needs numpy, Pillow and tifffile.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

PAIRS = 6
SHARE = 0.7
QUALITY = 90
CROP_QUALITIES = (75, 85)


def read(path):
    path = Path(path)
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


def as_bytes(pixels):
    """Converts to 8 bits, for JPEG."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = np.percentile(pixels, [0.5, 99.5])
    return np.clip((pixels - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)


def copy(source, folder):
    """Writes a JPEG copy of a set, with crops and empty labels. Returns the number of images and the pairs of stems."""
    lists = sorted(source.glob("*_images.txt"))
    images = [source / line for path in lists for line in path.read_text().split()]
    for name in ("images", "labels"):
        (folder / name).mkdir()

    def save(name, pixels, quality):
        Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", quality=quality)
        Image.fromarray(np.zeros(pixels.shape[:2], np.uint8)).save(folder / "labels" / f"{name}.png")

    step = len(images) // PAIRS
    crops = []
    for at, path in enumerate(images):
        pixels = as_bytes(read(path))
        number, is_cropped = at // step, at % step == 0 and at // step < PAIRS
        if not is_cropped:
            save(f"image{at}", pixels, QUALITY)
            continue
        height, width = (int(side * SHARE) for side in pixels.shape[:2])
        save(f"crop{number}a", pixels[:height, :width], CROP_QUALITIES[0])
        save(f"crop{number}b", pixels[-height:, -width:], CROP_QUALITIES[1])
        crops.append({f"crop{number}a", f"crop{number}b"})
    return len(images), crops


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="segtool")
    for name in ("camvid", "parihaka", "seeps"):
        parser.add_argument(f"--{name}", type=Path)
    given = vars(parser.parse_args())
    program = given.pop("program")
    for name, source in given.items():
        if source is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            count, crops = copy(source, Path(folder))
            arguments = ["--images", f"{folder}/images", "--labels", f"{folder}/labels"]
            done = subprocess.run([program, "check", "-q", "--json", *arguments], capture_output=True)
            findings = json.loads(done.stdout)["findings"]
        places = [place for finding in findings if finding["kind"] == "overlap" for place in finding["places"]]
        pairs = [{Path(place["file"]).stem, Path(place["with"]).stem} for place in places if place.get("with")]
        found, invented = sum(pair in pairs for pair in crops), [pair for pair in pairs if pair not in crops]
        print(f"{name}: {found} of {len(crops)} pairs of crops found among {count} images, {len(invented)} others reported")


if __name__ == "__main__":
    main()
