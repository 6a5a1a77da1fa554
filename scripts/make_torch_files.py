"""Make the small .pth files of the tests with PyTorch's own writer.

Usage: make_torch_files.py [OUT_FOLDER]        (default: tests/fixtures; needs torch and safetensors)

unet_seeps_zip.pth      the weights of unet_seeps_weights.safetensors as a training script keeps them: beside optimiser and
                        epoch, under `state_dict`, with `module.` before the names; PyTorch's zip format
unet_seeps_legacy.pth   the same weights alone, in the pickles from before PyTorch 1.6; one tensor lies transposed in memory,
                        one is part of a larger storage
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures")
    weights = load_file(folder / "unet_seeps_weights.safetensors")
    state = {f"module.{name}": tensor for name, tensor in weights.items()}
    momentum = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": momentum}, folder / "unet_seeps_zip.pth")
    plain = dict(weights)
    name = "dconv_down2.0.weight"
    plain[name] = weights[name].transpose(0, 1).contiguous().transpose(0, 1)
    name = "dconv_down1.0.bias"
    plain[name] = torch.cat([torch.zeros(5), weights[name], torch.zeros(2)])[5 : 5 + len(weights[name])]
    torch.save(plain, folder / "unet_seeps_legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
