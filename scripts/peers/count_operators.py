"""Counts the operators that PyTorch calls in a training step, for comparison with `segtool bench --profile`.

Usage: count_operators.py unet|pspnet50 [--size 64] [--batch 2] [--optimizer sgd|adam|adamw] [--classes 8] [--names]

Needs torch, and torchvision for pspnet50. Computes on the CPU, with the fused form of the optimiser, and prints the calls
a step of operators (`aten::...`) that no other operator called, those that operators made of one another, and, with
--names, the calls of each. PyTorch's own frame around a step is left out: its names do not begin with `aten::`.
"""
import argparse
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile


def conv_norm(inputs, outputs, kernel):
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Unet(nn.Module):
    """The U-Net of the recipe unet-seeps: four levels, bilinear upsampling, no batch norm, one band."""

    def __init__(self, classes, width=64):
        super().__init__()

        def double(inputs, outputs):
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True),
                nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(inplace=True),
            )

        w = width
        self.down = nn.ModuleList([double(1, w), double(w, 2 * w), double(2 * w, 4 * w), double(4 * w, 8 * w)])
        self.up = nn.ModuleList([double(12 * w, 4 * w), double(6 * w, 2 * w), double(3 * w, w)])
        self.last = nn.Conv2d(w, classes, 1)

    def forward(self, x):
        seen = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for block, skip in zip(self.up, seen[-2::-1]):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = block(torch.cat([x, skip], dim=1))
        return [(1.0, self.last(x))]


class Pspnet50(nn.Module):
    """The PSPNet of the recipe pspnet50-torchvision, with the auxiliary head that counts 0.4 in training."""

    def __init__(self, classes):
        super().__init__()
        from torchvision.models import resnet50

        self.body = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        self.bins = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(n), conv_norm(2048, 512, 1)) for n in (1, 2, 3, 6))
        self.head = nn.Sequential(conv_norm(4096, 512, 3), nn.Dropout2d(0.1), nn.Conv2d(512, classes, 1))
        self.auxiliary = nn.Sequential(conv_norm(1024, 512, 3), nn.Dropout2d(0.1), nn.Conv2d(512, classes, 1))

    def forward(self, x):
        size, body = x.shape[2:], self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        middle = body.layer3(body.layer2(body.layer1(x)))
        x = body.layer4(middle)
        enlarge = lambda y, size: F.interpolate(y, size=size, mode="bilinear", align_corners=True)
        pyramid = [enlarge(bin(x), x.shape[2:]) for bin in self.bins]
        x = self.head(torch.cat([x, *pyramid], dim=1))
        return [(1.0, enlarge(x, size)), (0.4, enlarge(self.auxiliary(middle), size))]


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, fused=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2, fused=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, fused=True),
}


def is_operator(event):
    return event.name.startswith("aten::")


def calls_operator(event):
    parent = event.cpu_parent
    while parent is not None and not is_operator(parent):
        parent = parent.cpu_parent
    return parent is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["unet", "pspnet50"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--names", action="store_true")
    arguments = parser.parse_args()
    network = (Unet if arguments.model == "unet" else Pspnet50)(arguments.classes).train()
    bands = 1 if arguments.model == "unet" else 3
    images = torch.randn(arguments.batch, bands, arguments.size, arguments.size)
    labels = torch.randint(0, arguments.classes, (arguments.batch, arguments.size, arguments.size))
    optimizer = OPTIMIZERS[arguments.optimizer](network.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = sum(weight * F.cross_entropy(logits, labels) for weight, logits in network(images))
        loss.backward()
        optimizer.step()

    # The first step makes the optimiser's state.
    step()
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    operators = [event for event in profiler.events() if is_operator(event)]
    direct = Counter(event.name for event in operators if not calls_operator(event))
    print(f"{sum(direct.values())} operator calls a step, {len(operators) - sum(direct.values())} more within operators")
    if arguments.names:
        for name, calls in direct.most_common():
            print(f"{calls:6} {name}")


if __name__ == "__main__":
    main()
