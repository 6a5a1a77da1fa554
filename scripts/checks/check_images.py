"""Compare segtool's image readers with those of Pillow, tifffile and GDAL, file by file.

Usage: check_images.py --program PATH [--labels] [--report FILE.json] FOLDER...     (packages: ../requirements.txt)

PATH is the example program `decode_images`. It reads one path per line and answers each with a line of JSON that names
an .npy file of what it read, or holds the words of its error. It is given every image file below the folders, known by
its ending or by its first bytes. What it reads must equal what one of the three references reads, brought to the same
form: palettes, YCbCr, CMYK and CIELab as RGB, white-is-zero inverted, alpha taken off, orientation applied. Where GDAL
knows of nodata in a TIFF, the mask must be the same too. With --labels, values are compared as stored: palette indices,
and no inversion.

Verdicts: equal; wrong (differs from every reference that reads the file); refused (an error, although a reference reads
it); both-refuse; only-us (no reference reads it); by-design (a refusal that is meant: several pages or frames, complex
numbers, label maps of several bands that are no colours of 8 bits, or with JPEG compression); panic; hang. Exits with 1
if any file is wrong, panics or hangs.
"""
import argparse
import collections
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import queue
import re
import resource
import subprocess
import sys
import tempfile
import threading
import warnings

import numpy as np
import rasterio
import tifffile
from PIL import Image, ImageOps
from rasterio.enums import ColorInterp, MaskFlags

ENDINGS = set("jpg jpeg jpe jfif png tif tiff bmp webp gif jp2 j2k".split())
MAGIC = dict(jpeg=rb"\xff\xd8\xff", png=rb"\x89PNG\r\n", tiff=rb"II[*+]\0|MM\0[*+]", gif=rb"GIF8[79]a",
             bmp=rb"BM.{4}\0{4}", webp=rb"RIFF.{4}WEBP", jp2=rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")
DRIVERS = dict(jpeg="JPEG", png="PNG", tiff="GTiff", gif="GIF", bmp="BMP", webp="WEBP", jp2="JP2OpenJPEG")  # of GDAL
LIMIT = 60  # seconds per file
CHUNK = 50  # files per run of the program, so that its output does not fill the disk
MEMORY = (8 << 30, 8 << 30)  # bytes of address space, for the program and for this script
LARGEST = 1 << 26  # samples; a reference is not asked to read more

# Decoders of lossy formats may differ: their inverse cosine transforms round differently, and chroma planes of lower
# resolution are enlarged by repetition or by interpolation. The same holds for conversions from YCbCr, CMYK and CIELab,
# where the formula is a choice. A swapped channel or a missing conversion is far beyond these bounds.
MEAN_LEVELS, MOST_LEVELS = 3, 12  # of 255
LUMA = np.float32([0.299, 0.587, 0.114])
LOSSY_CODECS = {6, 7, 33003, 33005, 33007, 34712, 34892, 50001, 50002, 52546}  # of TIFF: JPEG, JPEG 2000, WebP, JPEG XL
PALETTE, CMYK, CONVERTED = 3, 5, {5, 6, 8, 9, 10, 32844, 32845}  # photometric interpretations; YCbCr, CIELab, LogLuv


@dataclasses.dataclass
class Facts:
    """What has to be known of a file for a fair comparison."""

    kind: str
    bits: int = 0  # per sample; 0 if unknown
    signed: bool = False
    lossy: bool = False
    complex: bool = False
    orientation: int = 1
    frames: int = 1
    photometric: int = -1  # of a TIFF
    extra_bands: bool = False  # a TIFF with bands beyond its colours that are not alpha


def kind_of(path):
    with open(path, "rb") as file:
        head = file.read(16)
    return next((kind for kind, magic in MAGIC.items() if re.match(magic, head, re.DOTALL)), "other")


def gather(folder):
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (os.path.join(root, name) for name in sorted(names) if not name.startswith(".")):
            if os.path.isfile(path) and (path.rpartition(".")[2].lower() in ENDINGS or kind_of(path) != "other"):
                yield path


# The program.


def ask(program, labels, paths, work):
    """Runs the program once. Returns its answers, and how it ended if some are missing."""
    command = [program, *(["--labels"] if labels else []), tempfile.mkdtemp(dir=work)]
    with tempfile.TemporaryFile() as questions, tempfile.TemporaryFile() as messages:
        questions.write(b"".join(os.fsencode(path) + b"\n" for path in paths))
        questions.seek(0)
        process = subprocess.Popen(command, stdin=questions, stdout=subprocess.PIPE, stderr=messages)
        lines = queue.Queue()

        def listen():
            for line in process.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=listen, daemon=True).start()
        answers = {}
        try:
            while len(answers) < len(paths) and (line := lines.get(timeout=LIMIT)) is not None:
                answer = json.loads(line)
                answers[answer["path"]] = answer
            end = process.wait(timeout=LIMIT)
        except (queue.Empty, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
            return answers, {"hang": f"no answer within {LIMIT} s"}
        messages.seek(0)
        words = messages.read().decode(errors="replace").strip().splitlines()[-3:]
        return answers, {"panic": " | ".join([f"the program ended with {end}", *words])}


def decode(program, labels, paths, work):
    """All answers, in the order of the paths. After a crash, the first file without an answer gets a run of its own."""
    answers = {}
    while rest := [path for path in paths if path not in answers]:
        got, _ = ask(program, labels, rest, work)
        answers.update(got)
        if suspect := next((path for path in rest if path not in answers), None):
            got, end = ask(program, labels, [suspect], work)
            answers[suspect] = got.get(suspect, end)
    return [answers[path] for path in paths]


# The references. Each returns the forms that are right, as pairs of array and largest value, or raises an exception.


def look_at(path):
    facts = Facts(kind_of(path))
    data = pathlib.Path(path).read_bytes()
    if facts.kind == "tiff":
        with contextlib.suppress(Exception), tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            pages = [tiff.pages.get(i) for i in range(len(tiff.pages))]
            facts.frames = sum(not page.is_reduced and not page.is_mask for page in pages)
            facts.photometric = page.tags.valueof(262, -1)
            facts.orientation = page.tags.valueof(274, 1)
            facts.bits = int(np.max(page.bitspersample))
            facts.signed, facts.complex = page.sampleformat == 2, page.sampleformat in (5, 6)
            facts.extra_bands = any(extra not in (1, 2) for extra in page.extrasamples)
            exact = page.compression == 50001 and b"VP8L" in data  # lossless WebP
            facts.lossy = facts.photometric in CONVERTED or (page.compression in LOSSY_CODECS and not exact)
        return facts
    if facts.kind == "png":
        facts.bits = data[24] if len(data) > 24 else 0
    elif facts.kind == "jp2":
        size = data.find(b"\xff\x4f\xff\x51") + 42
        facts.bits = (data[size] & 0x7F) + 1 if 42 <= size < len(data) else 0
    # 5 or 6 bits of a colour may be stretched to 8 in more than one way.
    five_bits = facts.kind == "bmp" and len(data) > 30 and (data[28] == 16 or data[30] in (3, 6))
    facts.lossy = five_bits or facts.kind in ("jpeg", "jp2") or (facts.kind == "webp" and b"VP8 " in data)
    with contextlib.suppress(Exception), Image.open(path) as image:
        facts.frames = getattr(image, "n_frames", 1)
        if image.width * image.height <= LARGEST:
            image.load()  # Chunks with EXIF may follow the pixels.
        exif = Image.Exif()  # Not that of the image, which may hold what XMP says. Few readers ask XMP.
        exif.load(image.info.get("exif", b""))
        facts.orientation = exif.get(274, 1)
    return facts


def orient(array, orientation):
    """Turns rows and columns as tag 274 of TIFF and EXIF wants."""
    array = array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
    array = array[::-1] if orientation in (3, 4, 7, 8) else array
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array


def forms(array, facts, labels):
    """The right forms of grey or colour bands [height, width, bands] as stored, neither oriented nor inverted."""
    if array.dtype.kind == "c":
        facts.complex = True
        raise ValueError("complex numbers")
    array = orient(array.astype("u1") if array.dtype == bool else array, facts.orientation)
    unsigned = array.dtype.kind == "u"
    bits = facts.bits if 0 < facts.bits < 8 * array.itemsize else 8 * array.itemsize
    top = 2**bits - 1 if unsigned else 255
    if labels:
        return [(array[..., 0] if array.shape[2] == 1 else array, top)]
    if facts.photometric == CMYK and array.shape[2] >= 4:
        ink = array.astype("f8")
        array = (top - ink[..., :3]) * (top - ink[..., 3:4]) / top
    if facts.photometric == 0:
        # What white-is-zero means for signed and for real numbers, or for bands beyond the first, is nowhere said. Of 32
        # and 64 bits nobody uses the whole range; GDAL and tifffile leave them as they are.
        right = [array, top - array] if unsigned and bits > 16 else [top - array] if unsigned else [array, ~array] if array.dtype.kind == "i" else [array, 1 - array]
        if array.shape[2] > 1:
            right += [array, np.concatenate([right[-1][..., :1], array[..., 1:]], axis=2)]
    else:
        right = [array]
    if unsigned and bits in (1, 2, 4):  # Readers differ in whether they stretch them to 8 bits.
        return [pair for one in right for pair in ((one, top), (one * np.uint8(255 // top), 255))]
    return [(one, top) for one in right]


def by_pillow(path, facts, labels):
    with Image.open(path) as image:
        if image.width * image.height > LARGEST:
            raise ValueError("too large")
        image.load()
        mode = image.mode
        plain = mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")
        if facts.kind == "tiff":
            # Pillow leaves out bands that it has no mode for, inverts white-is-zero, and rounds 64 bits to 32.
            deep = facts.bits == 0 or facts.bits > 32 or (facts.bits == 32 and mode == "I" and not facts.signed)
            if facts.extra_bands or deep or (labels and facts.photometric == 0):
                raise ValueError("not a fair comparison")
        if facts.bits > 8 and mode not in ("I", "F") and not mode.startswith("I;16"):
            raise ValueError("Pillow keeps 8 of its bits")
        image = ImageOps.exif_transpose(image)
        if mode in ("CMYK", "YCbCr", "LAB", "HSV") or not (labels or plain):
            image = image.convert("RGB")
        array = np.asarray(image)
        if image.mode in ("LA", "La", "PA"):
            array = array[..., 0]
        array = array[..., :3] if array.ndim == 3 else array
        if array.dtype == bool:
            array = array.astype("u1") * np.uint8(1 if labels else 255)
        if labels:
            if mode == "L" and facts.bits in (2, 4):  # Pillow stretches them to 8 bits.
                array = array // (255 // (2**facts.bits - 1))
        elif array.ndim == 2:
            array = array[..., None]
        right = [(array, 2 ** (8 * array.itemsize) - 1 if array.dtype.kind == "u" else 255)]
        return right if mode != "1" or labels else [*right, (array // 255, 1)]


def by_tifffile(path, facts, labels):
    with tifffile.TiffFile(path) as tiff:
        # The first page, and the first that is not a preview of another one.
        pages = [tiff.pages.first]
        if pages[0].is_reduced:
            pages += [page for page in map(tiff.pages.get, range(len(tiff.pages))) if not page.is_reduced][:1]
        right = []
        for page in pages:
            if page.size > LARGEST or page.photometric in CONVERTED or page.axes not in ("YX", "YXS", "SYX"):
                raise ValueError("too large, a volume, or colours that tifffile does not convert")
            array = page.asarray()
            array = np.moveaxis(array, 0, 2) if page.axes == "SYX" else array.reshape(*array.shape[:2], -1)
            colours = array.shape[2] - len(page.extrasamples)
            alpha = [colours + i for i, extra in enumerate(page.extrasamples) if extra in (1, 2)]
            array = np.delete(array, alpha, axis=2)
            if page.colormap is not None and facts.photometric == PALETTE and not labels:
                # Its colours have 16 bits, and there are two ways of making 8 of them. Some writers store just 8.
                table = page.colormap.T
                for table in [table >> 8, np.rint(table / 257)] if table.max() > 255 else [table]:
                    right.append((orient(table[array[..., 0]], facts.orientation), 255))
            else:
                right += forms(array, facts, labels)
        return right


def by_gdal(path, facts, labels, masks):
    """As above. Puts the pixels that may be taken for nodata in `masks`, if the file marks any."""
    if facts.kind == "bmp" and pathlib.Path(path).read_bytes()[30:31] in (b"\3", b"\6"):
        raise ValueError("GDAL ignores which bits of a BMP are which colour")
    with rasterio.open(path, driver=DRIVERS.get(facts.kind)) as image:
        if image.width * image.height * image.count > LARGEST:
            raise ValueError("too large")
        keep = [i for i, meaning in enumerate(image.colorinterp) if meaning != ColorInterp.alpha] or [0]
        bands = np.moveaxis(image.read(), 0, 2)[..., keep]
        flags = image.mask_flag_enums[keep[0]]
        if facts.kind == "tiff" and MaskFlags.alpha not in flags and MaskFlags.all_valid not in flags:
            empty = np.moveaxis(image.read_masks(), 0, 2)[..., keep] == 0
            nan = np.isnan(bands) if bands.dtype.kind == "f" else False
            for rule in (np.any, np.all):
                masks += [orient(rule(one, axis=2), facts.orientation) for one in (empty, empty | nan)]
        # GDAL makes up a palette of black and white for bilevel TIFFs.
        made_up = facts.kind == "tiff" and facts.photometric in (-1, 0, 1)
        if image.colorinterp[keep[0]] == ColorInterp.palette and not labels and not made_up:
            table = np.zeros((2 ** (8 * bands.itemsize), 3), "u1")
            for index, colour in image.colormap(keep[0] + 1).items():
                table[index] = colour[:3]
            return [(orient(table[bands[..., 0]], facts.orientation), 255)]
        depth = int(image.tags(keep[0] + 1, ns="IMAGE_STRUCTURE").get("NBITS", 0))
        return forms(bands, dataclasses.replace(facts, bits=depth or facts.bits), labels)


def references(path, facts, labels):
    """What each reference reads, the words of those that do not, and the masks."""
    found, errors, masks = {}, {}, []
    readers = dict(GDAL=lambda *args: by_gdal(*args, masks), Pillow=by_pillow)
    for name, read in (readers | dict(tifffile=by_tifffile) if facts.kind == "tiff" else readers).items():
        try:
            found[name] = read(path, facts, labels)
        except Exception as error:
            errors[name] = str(error) or repr(error)
    facts.complex |= "complex numbers" in errors.values()
    return found, errors, masks


# The verdict.


def difference(ours, right, top, lossy):
    """None if they are equal, or words for how they differ."""
    if ours.shape != right.shape:
        return f"shape {ours.shape} instead of {right.shape}"
    right = right.astype("f8")
    # The last bit is left free, as integers of 64 bits are rounded to double precision.
    if np.allclose(ours, right, rtol=2**-52, atol=0, equal_nan=True):
        return None
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.abs(ours - right), nan=np.inf, posinf=np.inf)
    if lossy and apart.mean() <= MEAN_LEVELS * top / 255 and apart.max() <= MOST_LEVELS * top / 255:
        return None
    return f"{np.mean(apart > 0):.1%} differ, by {apart.mean():.4g} in the mean and {apart.max():.4g} at most"


def judge(answer, facts, found, masks, labels):
    """The verdict and its reason."""
    for verdict in ("panic", "hang"):
        if verdict in answer:
            return verdict, answer[verdict]
    right = [array for pairs in found.values() for array, _ in pairs]
    if words := answer.get("error"):
        several = facts.frames > 1 and re.search(r"pages|animation|frames", words, re.IGNORECASE)
        # Label maps are one band, or three of 8 bits; what JPEG has changed is no label map.
        no_labels = labels and all(one.ndim == 3 and (one.shape[2] != 3 or one.dtype != np.uint8) for one in right)
        no_labels = (no_labels and found) or (labels and facts.lossy and re.search("jpe?g|lossy", words, re.IGNORECASE))
        if several or no_labels or (facts.complex and "complex" in words.lower()):
            return "by-design", words
        return "refused" if found or facts.complex else "both-refuse", words
    if not found:
        return "only-us", f"{answer['height']} x {answer['width']} x {answer['bands']}"
    ours = np.load(answer["npy"])
    if labels:
        ours = ours[..., 0] if ours.ndim == 3 and ours.shape[2] == 1 else ours
        if ours.ndim == 2:  # Labels lie in the first band; a second one is left out with a note.
            first = lambda array: array[..., 0] if array.ndim == 3 and array.shape[2] == 2 else array
            right, masks = [first(array) for array in right], [first(mask) for mask in masks]
            found = {name: [(first(array), top) for array, top in pairs] for name, pairs in found.items()}
        # -1, mostly "not labelled", may come as the largest 16-bit number; colours of 16 bits come as the 8 they are worth.
        if ours.shape == right[0].shape:
            ours = np.where((ours == 65535) & (right[0] == -1), -1, ours)
            ours = ours * 257 if ours.ndim == 3 and right[0].dtype == np.uint16 else ours
        if masks and ours.shape == masks[0].shape:  # A label without data may be NaN.
            ours = np.where(np.isnan(ours) & masks[0], right[0], ours)
    else:  # Networks compute in single precision, so images may be rounded to it.
        with np.errstate(over="ignore"):
            single = {name: [(array.astype("f4"), top) for array, top in pairs] for name, pairs in found.items()}
        found = {name: pairs + single[name] for name, pairs in found.items()}
    apart = {name: [difference(ours, *pair, facts.lossy) for pair in pairs] for name, pairs in found.items()}
    if facts.kind == "jpeg" and min(ours.shape[:2]) < 16 and ours.shape[2] == 3:
        # Chroma of a few pixels is a matter of how it is enlarged; brightness is not.
        grey = {name: [(array.astype("f4") @ LUMA, top) for array, top in pairs] for name, pairs in found.items()}
        apart |= {name: [difference(ours @ LUMA, *pair, True) for pair in pairs] for name, pairs in grey.items()}
    if not any(None in words for words in apart.values()):
        return "wrong", "; ".join(f"{name}: {words[0]}" for name, words in apart.items())
    # Which samples of a lossy file hold a certain number is a matter of rounding.
    if masks and "invalid" in answer and not facts.lossy:
        mask = np.load(answer["invalid"]) != 0 if answer["invalid"] else np.zeros_like(masks[0])
        nan = np.isnan(ours).reshape(*mask.shape, -1).any(axis=2)  # which says as much as the mask
        if not any(np.array_equal(marked, one) for one in masks for marked in (mask, mask | nan)):
            counts = sorted({np.count_nonzero(one) for one in masks})
            return "wrong", f"nodata: {np.count_nonzero(mask)} pixels instead of {' or '.join(map(str, counts))}"
    return "equal", ""


VERDICTS = "equal wrong refused both-refuse only-us by-design panic hang".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="the example program decode_images")
    parser.add_argument("--labels", action="store_true", help="read label maps instead of images")
    parser.add_argument("--report", help="write all verdicts to this JSON file")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    # C libraries write their warnings to descriptor 2 themselves; only Python's messages are wanted.
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_AS, MEMORY)
    Image.MAX_IMAGE_PIXELS = None  # LARGEST is used instead.
    results = []
    # Files beside the image, such as world files and .aux.xml, are not looked at, and none are written.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED=False):
        for folder in args.folders:
            paths = list(gather(folder))
            for start in range(0, len(paths), CHUNK):
                chunk = paths[start : start + CHUNK]
                with tempfile.TemporaryDirectory() as work:
                    for path, answer in zip(chunk, decode(args.program, args.labels, chunk, work)):
                        facts = look_at(path)
                        found, errors, masks = references(path, facts, args.labels)
                        verdict, reason = judge(answer, facts, found, masks, args.labels)
                        result = dict(folder=folder, path=path, verdict=verdict, reason=reason)
                        results.append(result | dict(read_by=list(found), not_read_by=errors))
    for verdict in ("panic", "hang", "wrong", "refused", "only-us"):
        for result in results:
            if result["verdict"] == verdict:
                others = "".join(f"; {name}: {words}" for name, words in result["not_read_by"].items())
                print(f"{verdict}: {result['path']}: {result['reason']} (read by {result['read_by']}{others})")
    counts = collections.Counter((result["folder"], result["verdict"]) for result in results)
    width = max(map(len, [*args.folders, "folder"]))
    print(f"\n{'folder':{width}}  {'files':>6}", *(f"{verdict:>12}" for verdict in VERDICTS))
    for folder in args.folders:
        row = [counts[folder, verdict] for verdict in VERDICTS]
        print(f"{folder:{width}}  {sum(row):6}", *(f"{count:12}" for count in row))
    if args.report:
        pathlib.Path(args.report).write_text(json.dumps(results, indent=1) + "\n")
    return any(result["verdict"] in ("wrong", "panic", "hang") for result in results)


if __name__ == "__main__":
    sys.exit(main())
