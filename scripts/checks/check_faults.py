#!/usr/bin/env python3
"""Plants one fault at a time in copies of real data sets, and checks that `segtool check` finds it, and only it.

    scripts/checks/check_faults.py --program segtool --camvid FOLDER --seeps FOLDER

A folder holds the lists train_*.txt and val_*.txt with the files that they name. Needs numpy, Pillow and tifffile.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from check_crops import as_bytes, read

# JPEG quality.
QUALITY = 75


def write(path, pixels):
    if Path(path).suffix == ".tif":
        tifffile.imwrite(path, pixels)
    elif Path(path).suffix == ".jpg":
        Image.fromarray(pixels).save(path, quality=QUALITY)
    else:
        Image.fromarray(pixels).save(path)


class Copy:
    """The lists of a data set in a folder, with changed copies of the files that a fault affects."""

    def __init__(self, source, labels, folder):
        self.folder = Path(folder)
        lines = lambda name: [str(source / line) for line in (source / name).read_text().split()]
        self.sides = {
            side: [list(pair) for pair in zip(lines(f"{side}_images.txt"), lines(f"{side}_{labels}.txt"))]
            for side in ("train", "val")
        }
        self.sides["train"] = self.sides["train"][:120]
        self.sides["val"] = self.sides["val"][:30]
        self.ending = Path(self.sides["train"][0][0]).suffix

    def own(self, side, at, part, pixels, name=None):
        """Writes an image (part 0) or a label image (part 1) that replaces a listed one."""
        path = Path(self.sides[side][at][part])
        out = self.folder / f"own{part}" / (name or path.name)
        out.parent.mkdir(exist_ok=True)
        if isinstance(pixels, bytes):
            out.write_bytes(pixels)
        else:
            write(out, np.ascontiguousarray(pixels))
        self.sides[side][at][part] = str(out)

    def image(self, side="train", at=5):
        return read(self.sides[side][at][0])

    def label(self, side="train", at=5):
        return read(self.sides[side][at][1])

    def save_as_jpeg(self):
        for side, pairs in self.sides.items():
            for at, pair in enumerate(pairs):
                self.own(side, at, 0, as_bytes(read(pair[0])), f"{side}{at}.jpg")

    def check(self, program, dataset):
        arguments = []
        for side, flags in (("train", ("--train-list", "--label-list")), ("val", ("--val-list", "--val-label-list"))):
            for part, flag in enumerate(flags):
                path = self.folder / f"{side}{part}.txt"
                path.write_text("".join(pair[part] + "\n" for pair in self.sides[side] if pair[part]))
                arguments += [flag, str(path)]
        done = subprocess.run([program, "check", "-q", "--json", "--dataset", dataset, *arguments], capture_output=True)
        report = json.loads(done.stdout)
        return done.returncode, report["findings"]


def planted(copy):
    """The faults: name, kind of finding expected, and the function that plants it."""
    own = copy.own
    image, label = copy.image, copy.label

    def crops(pixels, ending):
        classes = label()
        side = (int(pixels.shape[0] * 0.7), int(pixels.shape[1] * 0.7))
        own("train", 5, 0, pixels[: side[0], : side[1]], "a" + ending)
        own("train", 5, 1, classes[: side[0], : side[1]], "a" + copy.ending)
        own("val", 5, 0, pixels[-side[0] :, -side[1] :], "b" + ending)
        own("val", 5, 1, classes[-side[0] :, -side[1] :], "b" + copy.ending)

    def cut(part):
        data = Path(copy.sides["train"][5][part]).read_bytes()
        own("train", 5, part, data[: len(data) // 2])

    def undefined():
        classes = label().copy()
        classes[3, 4] = 99
        own("train", 5, 1, classes)

    def masks():
        for at in range(len(copy.sides["train"])):
            own("train", at, 1, np.where(label("train", at) > 0, 255, 0).astype(np.uint8))

    def colors():
        table = np.random.default_rng(0).integers(0, 255, (256, 3), dtype=np.uint8)
        own("train", 5, 1, table[label()])

    def shift():
        for side in ("train", "val"):
            for at in range(len(copy.sides[side])):
                own(side, at, 1, np.roll(label(side, at), (-6, 9), (0, 1)))

    def shift_one():
        # Only about half of the shifts of single label images are detected.
        for at in (5, 12, 20, 28):
            own("train", at, 1, np.roll(label("train", at), (-6, 9), (0, 1)))

    def near():
        pixels = image().astype(float)[:, ::-1]
        own("val", 5, 0, (pixels * 0.8 + pixels.max() * 0.05).astype(image().dtype), "n" + copy.ending)
        own("val", 5, 1, label()[:, ::-1], "n" + copy.ending)

    def lacks():
        for at in range(len(copy.sides["val"])):
            classes = label("val", at).copy()
            classes[classes == 1] = 0
            own("val", at, 1, classes)

    def depth():
        pixels = image()
        pixels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels[..., 0].astype(np.uint16) * 257
        own("train", 5, 0, pixels)

    def bands():
        pixels = image() if image().dtype == np.uint8 else (image() // 257).astype(np.uint8)
        pixels = np.dstack([pixels, pixels[::-1], pixels[:, ::-1]])[..., :4] if pixels.ndim == 2 else pixels
        out = copy.folder / "bands.tif"
        more = np.dstack([pixels, pixels[..., :2]]) if image().ndim == 3 else pixels
        tifffile.imwrite(out, more, photometric="minisblack", planarconfig="contig")
        copy.sides["train"][5][0] = str(out)

    def world():
        for side, origin in (("train", 500000), ("val", 500100)):
            own(side, 5, 0, image(side), "w" + side + ".png" if image().dtype == np.uint8 else None)
            path = Path(copy.sides[side][5][0])
            ending = ".pgw" if path.suffix == ".png" else ".tfw"
            path.with_suffix(ending).write_text(f"10\n0\n0\n-10\n{origin}\n{origin * 8}\n")

    def turned():
        exif = Image.Exif()
        exif[274] = 3
        out = copy.folder / "turned.png"
        Image.fromarray(image() if image().dtype == np.uint8 else (image() // 257).astype(np.uint8)).save(out, exif=exif)
        copy.sides["train"][5][0] = str(out)

    def empty():
        own("train", 5, 1, np.zeros_like(label()))

    def transparent():
        pixels = image() if image().dtype == np.uint8 else (image() // 257).astype(np.uint8)
        alpha = np.zeros(pixels.shape[:2], np.uint8)
        out = copy.folder / "clear.png"
        Image.fromarray(np.dstack([pixels, alpha])).save(out)
        copy.sides["train"][5][0] = str(out)

    train, val = copy.sides["train"], copy.sides["val"]
    return [
        ("a label image is missing", "list-length", lambda: train[5].__setitem__(1, "")),
        ("an image is missing", "list-length", lambda: train[5].__setitem__(0, "")),
        ("a listed file is not there", "missing-file", lambda: train[5].__setitem__(0, str(copy.folder / "gone.png"))),
        ("an image is cut", "unreadable", lambda: cut(0)),
        ("a label image is cut", "unreadable", lambda: cut(1)),
        ("sizes differ", "size-mismatch", lambda: own("train", 5, 1, label()[:-7])),
        ("an undefined value", "undefined-label", undefined),
        ("masks of 0 and 255", "label-coding", masks),
        ("labels in colours", "label-coding", colors),
        ("another number of bands", "bands", bands),
        ("another bit depth", "sample-type", depth),
        ("another range", "value-range", lambda: own("train", 5, 0, (image() > image().mean()).astype(image().dtype))),
        ("an image of one value", "constant-image", lambda: own("train", 5, 0, np.full_like(image(), 77))),
        ("an image without data", "nodata", transparent),
        ("an orientation tag", "orientation", turned),
        ("a duplicate across", "duplicate", lambda: val.append(list(train[5]))),
        ("a duplicate with other labels", "conflicting-labels", lambda: train.append([train[5][0], train[9][1]])),
        ("a mirrored, brighter copy across", "near-duplicate", near),
        ("crops of one scene across", "overlap", lambda: crops(image(), copy.ending)),
        ("crops of one scene across, saved as JPEG", "overlap", lambda: crops(as_bytes(image()), ".jpg")),
        ("georeferences that overlap", "georeference", world),
        ("labels of another image", "copied-labels", lambda: own("train", 5, 1, label("train", 9))),
        ("empty labels", "empty-labels", empty),
        ("all labels shifted", "shifted-labels", shift),
        ("the labels of four images shifted", "shifted-labels", shift_one),
        ("validation lacks a class", "missing-class", lacks),
        ("lists in another order", "names-differ", lambda: (lambda a, b: (train[5].__setitem__(1, b), train[9].__setitem__(1, a)))(train[5][1], train[9][1])),
        ("images and labels exchanged", "swapped", lambda: [pair.reverse() for pair in train]),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="segtool")
    parser.add_argument("--camvid", type=Path)
    parser.add_argument("--seeps", type=Path)
    given = parser.parse_args()
    failed = 0
    for dataset, labels, source in (("camvid", "labels", given.camvid), ("seeps", "masks", given.seeps)):
        if source is None:
            continue
        kinds = lambda findings, notes: {f["kind"] for f in findings if notes or f["severity"] != "note"}
        with tempfile.TemporaryDirectory() as folder:
            _, clean = Copy(source.resolve(), labels, folder).check(given.program, dataset)
        print(f"{dataset}, clean: {sorted(kinds(clean, False)) or 'nothing'}")
        with tempfile.TemporaryDirectory() as folder:
            copy = Copy(source.resolve(), labels, folder)
            copy.save_as_jpeg()
            _, found = copy.check(given.program, dataset)
        print(f"{dataset}, as JPEG: {sorted(kinds(found, True) & {'overlap', 'near-duplicate', 'duplicate'}) or 'nothing'}")
        with tempfile.TemporaryDirectory() as folder:
            names = [name for name, _, _ in planted(Copy(source.resolve(), labels, folder))]
        for number, name in enumerate(names):
            with tempfile.TemporaryDirectory() as folder:
                copy = Copy(source.resolve(), labels, folder)
                _, kind, plant = planted(copy)[number]
                plant()
                code, found = copy.check(given.program, dataset)
            others = kinds(found, False) - kinds(clean, False) - {kind}
            result = "found" if kind in kinds(found, True) else "MISSED"
            failed += result == "MISSED"
            print(f"{dataset}: {name}: {result}, exit code {code}{', also ' + ', '.join(sorted(others)) if others else ''}")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
