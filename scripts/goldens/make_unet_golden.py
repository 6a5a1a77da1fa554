"""Make the golden files of the U-Net and of the optimisers with PyTorch.

Usage: make_unet_golden.py [OUT_FOLDER]        (default: tests/fixtures; needs torch and safetensors)

unet_seeps_weights.safetensors  random weights of a small U-Net under the original's names, as Python writes them
unet_seeps_cases.safetensors    inputs `<case>.input` and outputs `<case>.output`; where a side is no multiple of the
                                network's, the input is extended by numpy's reflect padding and the output cropped
training.safetensors            a small U-Net before (`start.`) and after four steps of each optimiser, with its batch
"""
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

WIDTH, DEPTH, BANDS, OUTPUTS = 4, 3, 2, 3
CASES = {"even": (2, 16, 24), "odd": (1, 13, 21), "tiny": (1, 1, 3)}


def double(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


class SeepsUNet(nn.Module):
    """The oil-seep system's U-Net, its levels counted from 1 in the names, with any width and depth."""

    def __init__(self, width, depth, bands, outputs):
        super().__init__()
        self.depth = depth
        for level in range(1, depth + 1):
            inputs = bands if level == 1 else width << (level - 2)
            setattr(self, f"dconv_down{level}", double(inputs, width << (level - 1)))
        for level in range(1, depth):
            setattr(self, f"dconv_up{level}", double((width << level) + (width << (level - 1)), width << (level - 1)))
        self.conv_last = nn.Conv2d(width, outputs, 1)

    def forward(self, x):
        skips = []
        for level in range(1, self.depth + 1):
            if level > 1:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = getattr(self, f"dconv_down{level}")(x)
        for level in range(self.depth - 1, 0, -1):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = getattr(self, f"dconv_up{level}")(torch.cat([x, skips.pop()], 1))
        return self.conv_last(x)


def padded_forward(net, x, multiple):
    height, width = x.shape[2:]
    rows, columns = (-height) % multiple, (-width) % multiple
    top, left = rows // 2, columns // 2
    pad = [(0, 0), (0, 0), (top, rows - top), (left, columns - left)]
    y = net(torch.from_numpy(np.pad(x.numpy(), pad, "reflect")))
    return y[:, :, top : top + height, left : left + width]


def training():
    """Four steps of each optimiser on one batch."""
    torch.manual_seed(1)
    start = SeepsUNet(2, 2, 1, 3)
    x, y = torch.randn(2, 1, 8, 8), torch.randint(0, 3, (2, 8, 8))
    out = {"input": x, "classes": y.int()} | {f"start.{k}": v.clone() for k, v in start.state_dict().items()}
    for name, build in {
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "adam_decay": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01),
    }.items():
        net = SeepsUNet(2, 2, 1, 3)
        net.load_state_dict(start.state_dict())
        optimizer = build(net.parameters())
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        out |= {f"{name}.{k}": v.clone() for k, v in net.state_dict().items()}
    return out


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures")
    torch.manual_seed(0)
    net = SeepsUNet(WIDTH, DEPTH, BANDS, OUTPUTS).eval()
    save_file(net.state_dict(), folder / "unet_seeps_weights.safetensors", metadata={"format": "pt"})
    cases = {}
    with torch.no_grad():
        for name, (batch, height, width) in CASES.items():
            x = torch.randn(batch, BANDS, height, width)
            cases[f"{name}.input"] = x
            cases[f"{name}.output"] = padded_forward(net, x, 1 << (DEPTH - 1)).contiguous()
    save_file(cases, folder / "unet_seeps_cases.safetensors")
    save_file(training(), folder / "training.safetensors")


if __name__ == "__main__":
    main()
