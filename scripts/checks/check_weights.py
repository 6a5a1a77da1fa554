"""Load a segtool U-Net into PyTorch under the original's names, and write weights that segtool must load.

Usage: check_weights.py IN.safetensors WIDTH DEPTH BANDS OUTPUTS OUT.safetensors       (needs torch and safetensors)

Loads IN strictly into the reference network of make_unet_golden.py, doubles every weight, and writes OUT with Python's
own writer. Exits with an error if a name or a shape differs.
"""
import pathlib
import sys

from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "goldens"))
from make_unet_golden import SeepsUNet


def main():
    source, width, depth, bands, outputs, target = sys.argv[1:]
    net = SeepsUNet(int(width), int(depth), int(bands), int(outputs))
    net.load_state_dict(load_file(source), strict=True)
    save_file({name: 2 * tensor for name, tensor in net.state_dict().items()}, target)


if __name__ == "__main__":
    main()
