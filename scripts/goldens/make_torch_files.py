"""Make the small .pth files of the tests with PyTorch's own writer.

Usage: make_torch_files.py [OUT_FOLDER]        (default: tests/fixtures; needs torch and safetensors)

unet_seeps_zip.pth      the weights of unet_seeps_weights.safetensors as a training script keeps them: beside optimiser and
                        epoch, under `state_dict`, with `module.` before the names; PyTorch's zip format
unet_seeps_legacy.pth   the same weights alone, in the pickles from before PyTorch 1.6; one tensor lies transposed in memory,
                        one is part of a larger storage
unet_seeps_whole.pth    the same as a whole module, in these older pickles
unet_seeps_odd.pth      the same under `state_dict`, beside tensors that weights are not: complex, quantised, sparse, in 8-bit
                        floating point, a counter; and an object of a class of its own that holds a tensor
script.pt               a convolution as TorchScript
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch import nn


# The older format keeps the source of a module's class and its path, where it finds them; here it does not.
Part = type("Part", (nn.Module,), {})


class Average:
    """An object that is no module."""

    def __init__(self, tensor):
        self.shadow_of, self.decay = tensor, 0.9


def module(weights):
    """Modules in each other whose parameters have these names."""
    root = Part()
    for name, value in weights.items():
        *path, leaf = name.split(".")
        at = root
        for part in path:
            if part not in at._modules:
                at.add_module(part, Part())
            at = at._modules[part]
        at.register_parameter(leaf, nn.Parameter(value))
    root.register_buffer("passing", torch.ones(2), persistent=False)
    return root


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
    torch.save(module(weights), folder / "unet_seeps_whole.pth", _use_new_zipfile_serialization=False)
    odd = {
        "state_dict": weights,
        "spectrum": torch.fft.rfft(torch.arange(4.0)),
        "quantised": torch.quantize_per_tensor(torch.arange(4.0), 0.5, 0, torch.qint8),
        "sparse": torch.eye(2).to_sparse(),
        "eight": torch.arange(4.0).to(torch.float8_e4m3fn),
        "steps": torch.tensor(3),
        "average": Average(torch.ones(2)),
    }
    torch.save(odd, folder / "unet_seeps_odd.pth")
    torch.jit.trace(nn.Conv2d(1, 1, 1), torch.rand(1, 1, 2, 2)).save(str(folder / "script.pt"))


if __name__ == "__main__":
    main()
