#!/usr/bin/env python3
"""States every method of `segtool rgb2gray` in numpy and hashes its result on all 2^24 colours.

The colours run through blue fastest, red slowest. Formulas: C. Kanan and G. W. Cottrell, "Color-to-Grayscale: Does the
Method Matter in Image Recognition?", PLoS ONE 7(1): e29740, 2012. float64, rounded half to even.

    python3 scripts/goldens/make_gray_goldens.py > tests/fixtures/gray.json
"""
import hashlib
import json

import numpy as np


def gamma(t):
    return t ** (1 / 2.2)


def lightness(r, g, b):
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    f = np.where(y > (6 / 29) ** 3, np.cbrt(y), (29 / 6) ** 2 * y / 3 + 4 / 29)
    return (116 * f - 16) / 100


# Of samples from 0 to 255, where the formula is linear: 8-bit samples are exact in float64, their 255ths are not, and
# rounding would then go by chance at exact halves.
LINEAR = {
    "luminance": lambda r, g, b: 0.3 * r + 0.59 * g + 0.11 * b,
    "intensity": lambda r, g, b: (r + g + b) / 3,
    "value": lambda r, g, b: np.maximum(np.maximum(r, g), b),
    "luster": lambda r, g, b: (np.maximum(np.maximum(r, g), b) + np.minimum(np.minimum(r, g), b)) / 2,
}
# Of channels from 0 to 1.
CURVED = {
    "gleam": lambda r, g, b: (gamma(r) + gamma(g) + gamma(b)) / 3,
    "luma": lambda r, g, b: 0.2126 * gamma(r) + 0.7152 * gamma(g) + 0.0722 * gamma(b),
    "lightness": lightness,
    "luminance'": lambda r, g, b: gamma(0.3 * r + 0.59 * g + 0.11 * b),
    "intensity'": lambda r, g, b: gamma((r + g + b) / 3),
    "luma'": lambda r, g, b: gamma(0.2126 * gamma(r) + 0.7152 * gamma(g) + 0.0722 * gamma(b)),
    "value'": lambda r, g, b: gamma(np.maximum(np.maximum(r, g), b)),
}


def main():
    samples = np.arange(256, dtype=np.float64)
    goldens = {}
    for name, method in {**LINEAR, **CURVED}.items():
        digest = hashlib.sha256()
        scale = 1 if name in LINEAR else 255
        for red in samples:
            green, blue = np.meshgrid(samples, samples, indexing="ij")
            gray = method(np.full_like(green, red) / scale, green / scale, blue / scale) * scale
            digest.update(np.rint(gray).astype(np.uint8).tobytes())
        goldens[name] = digest.hexdigest()
    print(json.dumps(goldens, indent=2))


if __name__ == "__main__":
    main()
