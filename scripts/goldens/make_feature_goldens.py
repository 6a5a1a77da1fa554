"""Make tests/fixtures/features.safetensors: outputs of torchvision's encoders at every tap, and hypercolumns of them.

Usage: make_feature_goldens.py [OUT_FILE]        (needs torch, torchvision, timm and safetensors)

`<case>.<height>x<width>.<tap>`  every 211th value of what the encoder of the case has at the tap, of [channels, h, w]:
                                 `conv<block>_<i>` a convolution's output, before batch norm and ReLU, `relu<block>_<i>`
                                 after them, `pool<block>`; of the ResNets `stem` (before the pooling) and `layer<i>`
`hypercolumns.<height>x<width>`  every 97th value of VGG-16's pool1 and pool2, enlarged to the image's size,
                                 bilinearly with `align_corners=False`, one after the other: [192, height, width]
`scales.<height>x<width>`        likewise conv1_1 and pool1 of the image at scale 1, then of its means over 2x2 and
                                 then over 4x4 pixels, all enlarged to the image's size: [384, height, width]. Blocks
                                 at the right and at the bottom are the means of the pixels that they have.

The metadata holds one text, `features`: cases with their sizes and taps, columns with their case, taps, scales and
sizes, `shapes` (of each key before thinning), `steps` and the versions of torch and torchvision.

Computed in evaluation and float64, stored as float32. Image and weights follow from names, torchvision's own, so that
they need not be stored; the Rust test has the same rule.
"""
import json
import os
import pathlib
import sys

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

import make_network_goldens as networks
from make_pspnet_golden import numbers

STEP, COLUMN_STEP = 211, 97
ODD, EVEN = (53, 75), (32, 48)
STAGES = ["layer1", "layer2", "layer3", "layer4"]
# torchvision's or timm's function, its settings, the images' sizes and the taps (None: all).
CASES = {
    "vgg16": ("vgg16", {}, [ODD, EVEN], None),
    "vgg16_bn": ("vgg16_bn", {}, [ODD, EVEN], None),
    "resnet18": ("resnet18", {}, [ODD], None),
    "resnet50": ("resnet50", {}, [ODD], None),
    "resnet50_dilated": ("resnet50", {"replace_stride_with_dilation": [False, True, True]}, [ODD], STAGES[2:]),
    # torchvision refuses to dilate basic blocks.
    "resnet18_timm_dilated": ("timm.resnet18", {"output_stride": 8}, [ODD], STAGES[2:]),
}
COLUMNS = {
    "hypercolumns": {"case": "vgg16", "taps": ["pool1", "pool2"], "scales": [1], "sizes": [ODD, (10, 64), (33, 47)]},
    "scales": {"case": "vgg16", "taps": ["conv1_1", "pool1"], "scales": [1, 2, 4], "sizes": [ODD, (64, 96)]},
}


def weight(name, shape):
    """As `make_network_goldens.weight`, but batch norms scale by 0.5 to 1, and biases and means are -0.25 to 0.25. With
    the scales and biases there, made for gradients, VGG's last convolution would not see the image: two images
    would give the same to 1e-10. Here all taps differ by 4 % (`vgg16_bn`, pool5) or more, with no value beyond 40."""
    if len(shape) == 4 or name.endswith("running_var"):
        return networks.weight(name, shape)
    values = numbers(name, int(np.prod(shape))) / np.float32(4)
    if name.endswith("weight"):
        values = np.float32(0.75) + values
    return torch.from_numpy(values.reshape(shape))


def image(height, width):
    return networks.image(1, 3, height, width).double()


def build(function, settings):
    if function.startswith("timm."):
        net = timm.create_model(function.removeprefix("timm."), **settings)
    else:
        net = getattr(torchvision.models, function)(weights=None, **settings)
    for part in ("classifier", "fc"):  # no part of an encoder
        if hasattr(net, part):
            setattr(net, part, nn.Identity())
    for name, value in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value.copy_(weight(name, value.shape))
    return net.double().eval()


def vgg_taps(net, x, last="pool5"):
    """All taps up to `last`, in order. ReLUs of torchvision overwrite what they get; these do not. After `last` nothing
    is computed: a small image has no pool5."""
    found, block, i, given = {}, 1, 0, x
    for module in net.features:
        x = F.relu(x) if isinstance(module, nn.ReLU) else module(x)
        if isinstance(module, nn.Conv2d):
            i += 1
            found[f"conv{block}_{i}"] = x
        elif isinstance(module, nn.ReLU):
            found[f"relu{block}_{i}"] = x
        elif isinstance(module, nn.MaxPool2d):
            found[f"pool{block}"] = x
            block, i = block + 1, 0
        if last in found:
            break
    assert last != "pool5" or torch.equal(x, net.features(given))
    return found


def resnet_taps(net, x):
    x = F.relu(net.bn1(net.conv1(x)))
    found = {"stem": x}
    x = net.maxpool(x)
    for stage in STAGES:
        x = found[stage] = getattr(net, stage)(x)
    return found


def columns(net, x, taps, scales):
    """Scale by scale, and within a scale tap by tap."""
    parts = []
    for scale in scales:
        found = vgg_taps(net, F.avg_pool2d(x, scale, ceil_mode=True, count_include_pad=False), taps[-1])
        parts += [F.interpolate(found[tap], x.shape[2:], mode="bilinear", align_corners=False) for tap in taps]
    return torch.cat(parts, 1)


@torch.no_grad()
def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/features.safetensors")
    out, shapes, cases, nets = {}, {}, {}, {}

    def keep(key, value, step):
        assert value.isfinite().all() and value.abs().max() < 40, key
        shapes[key] = list(value.shape[1:])
        out[key] = value.flatten()[::step].float().contiguous()

    for case, (function, settings, sizes, taps) in CASES.items():
        nets[case] = build(function, settings)
        for height, width in sizes:
            found = (vgg_taps if hasattr(nets[case], "features") else resnet_taps)(nets[case], image(height, width))
            for tap in taps or found:
                keep(f"{case}.{height}x{width}.{tap}", found[tap], STEP)
        cases[case] = {"encoder": function, **settings, "sizes": sizes, "taps": taps or list(found)}
    for key, column in COLUMNS.items():
        for height, width in column["sizes"]:
            value = columns(nets[column["case"]], image(height, width), column["taps"], column["scales"])
            keep(f"{key}.{height}x{width}", value, COLUMN_STEP)
    about = {
        "torch": torch.__version__, "torchvision": torchvision.__version__,
        "steps": {"taps": STEP, "columns": COLUMN_STEP}, "cases": cases, "columns": COLUMNS, "shapes": shapes,
    }  # fmt: skip
    save_file(out, target, metadata={"features": json.dumps(about, separators=(",", ":"))})
    print(f"{target}: {len(out)} outputs, {os.path.getsize(target)} bytes")


if __name__ == "__main__":
    main()
