"""Make the golden file of PSPNet with torchvision's ResNet.

Usage: make_pspnet_golden.py [OUT_FOLDER]        (default: tests/fixtures; needs torch, torchvision and safetensors)

pspnet_cases.safetensors  for the cases `resnet50` (dilated by torchvision), `resnet18` (dilated as CSAIL does it, which
                          torchvision refuses) and `resnet34` (not dilated) `<case>.output` in evaluation; for
                          `resnet50` also `losses`, some gradients (`grad.<name>`) and running statistics
                          (`after.<name>`) of one training step without dropout, computed in float64. The metadata
                          holds names and shapes of the parameters.

Input, labels and weights follow from names, so that they need not be stored; the Rust test has the same rule. The
networks have 4 channels instead of 64 after the stem.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

WIDTH, CLASSES, BINS = 4, 5, (1, 2, 3, 6)
BATCH, HEIGHT, WIDE = 4, 65, 57
GRADIENTS = [
    "body.conv1.weight",
    "body.bn1.weight",
    "body.layer1.0.downsample.0.weight",
    "body.layer2.0.conv2.weight",
    "body.layer3.0.conv2.weight",
    "body.layer3.5.bn3.bias",
    "body.layer4.0.conv2.weight",
    "stages.0.2.bias",
    "stages.1.1.weight",
    "stages.3.2.weight",
    "head.4.weight",
    "head.4.bias",
    "aux.1.weight",
    "aux.3.bias",
]
STATISTICS = ["body.bn1", "body.layer2.0.downsample.1", "body.layer4.2.bn3", "stages.0.2", "stages.3.2", "head.1", "aux.1"]


class Narrow(ResNet):
    """torchvision's ResNet with `WIDTH` channels after the stem, instead of 64."""

    def _make_layer(self, block, planes, *args, **kwargs):
        if planes == 64:
            self.conv1 = nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(WIDTH)
            self.inplanes = WIDTH
        return super()._make_layer(block, planes * WIDTH // 64, *args, **kwargs)


def csail_dilate(stage, dilation):
    """CSAIL's `_nostride_dilate`."""
    for m in stage.modules():
        if isinstance(m, nn.Conv2d):
            here = dilation // 2 if m.stride == (2, 2) else dilation
            m.stride = (1, 1)
            if m.kernel_size == (3, 3):
                m.dilation = m.padding = (here, here)


class PspNet(nn.Module):
    """PSPNet with a 0.4-weighted auxiliary head in training, and no dropout."""

    def __init__(self, body, expansion):
        super().__init__()
        self.body = body
        third, fourth, width = 4 * WIDTH * expansion, 8 * WIDTH * expansion, 8 * WIDTH
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(b), nn.Conv2d(fourth, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for b in BINS
        )
        self.head = nn.Sequential(
            nn.Conv2d(fourth + len(BINS) * width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Dropout2d(0.0), nn.Conv2d(width, CLASSES, 1),
        )  # fmt: skip
        self.aux = nn.Sequential(
            nn.Conv2d(third, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, CLASSES, 1)
        )

    def forward(self, x):
        b = self.body
        y = b.maxpool(b.relu(b.bn1(b.conv1(x))))
        y3 = b.layer3(b.layer2(b.layer1(y)))
        y4 = b.layer4(y3)
        pyramid = [F.interpolate(s(y4), y4.shape[2:], mode="bilinear", align_corners=False) for s in self.stages]
        out = F.interpolate(self.head(torch.cat([y4, *pyramid], 1)), x.shape[2:], mode="bilinear", align_corners=False)
        aux = F.interpolate(self.aux(y3), x.shape[2:], mode="bilinear", align_corners=False)
        return (out, aux) if self.training else out


def numbers(name, count):
    """`count` numbers in [-1, 1) that depend on the name: FNV-1a, then a multiplicative hash of the index."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    x = (np.arange(count, dtype=np.uint32) + np.uint32(seed)) * np.uint32(0x9E3779B1)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x85EBCA77)
    x ^= x >> np.uint32(13)
    return (x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def weight(name, shape, scale=0.25, spread=8):
    """Convolutions keep the signal's size. Batch norms shift by more than they scale, so that few values lie close to a
    ReLU's kink, where rounding decides on a gradient: with scales near 1, PyTorch's float32 gradients are 7 % off. The scales
    are `scale` plus or minus 1 / `spread`."""
    values = numbers(name, int(np.prod(shape)))
    if len(shape) == 4:
        values *= np.sqrt(np.float32(6) / np.float32(np.prod(shape[1:])))
    elif name.endswith("running_var"):
        values = np.float32(1) + values / np.float32(2)
    elif name.endswith("weight"):
        values = np.float32(scale) + values / np.float32(spread)
    elif name.endswith("bias"):
        values = values / np.float32(2) + np.where(values < 0, np.float32(-0.5), np.float32(0.5))
    else:
        values /= np.float32(4)
    return torch.from_numpy(values.reshape(shape))


def build(body, expansion):
    net = PspNet(body, expansion)
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("body.fc.") and "num_batches" not in k}
    found = net.load_state_dict({k: weight(k, v.shape) for k, v in state.items()}, strict=False)
    assert not found.unexpected_keys
    return net, {k: list(v.shape) for k, v in state.items()}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures")
    csail = Narrow(BasicBlock, [2, 2, 2, 2])
    csail_dilate(csail.layer3, 2)
    csail_dilate(csail.layer4, 4)
    bodies = {
        "resnet50": (Narrow(Bottleneck, [3, 4, 6, 3], replace_stride_with_dilation=[False, True, True]), 4),
        "resnet18": (csail, 1),
        "resnet34": (Narrow(BasicBlock, [3, 4, 6, 3]), 1),
    }
    x = torch.from_numpy(numbers("input", BATCH * 3 * HEIGHT * WIDE).reshape(BATCH, 3, HEIGHT, WIDE) * np.float32(1.7))
    y = torch.from_numpy(((numbers("labels", BATCH * HEIGHT * WIDE) + 1) * CLASSES / 2).astype(np.int64))
    y = y.reshape(BATCH, HEIGHT, WIDE)
    out, metadata = {}, {"format": "pt"}
    for case, (body, expansion) in bodies.items():
        net, shapes = build(body, expansion)
        metadata[case] = json.dumps(shapes)
        with torch.no_grad():
            out[f"{case}.output"] = net.eval()(x[:1])
        if case != "resnet50":
            continue
        main_logits, aux_logits = net.double().train()(x.double())
        losses = [F.cross_entropy(main_logits, y), F.cross_entropy(aux_logits, y)]
        (losses[0] + 0.4 * losses[1]).backward()
        out["losses"] = torch.stack(losses).detach()
        parameters, buffers = dict(net.named_parameters()), dict(net.named_buffers())
        out |= {f"grad.{name}": parameters[name].grad.clone() for name in GRADIENTS}
        out |= {f"after.{n}.{k}": buffers[f"{n}.{k}"].clone() for n in STATISTICS for k in ("running_mean", "running_var")}
    out = {k: v.float().contiguous() for k, v in out.items()}
    save_file(out, folder / "pspnet_cases.safetensors", metadata=metadata)


if __name__ == "__main__":
    main()
