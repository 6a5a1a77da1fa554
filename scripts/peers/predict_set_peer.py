"""Predict a folder of small images as a Python program does, with a DataLoader: to compare times and results with segtool.

Usage: predict_set_peer.py --make FOLDER [--count 10000] [--side 64] [--width 8] [--seed 0]
       predict_set_peer.py --weights FOLDER/unet.pth --output OUTPUT [--batch 32] [--workers 1] FOLDER/images

Needs torch, numpy and pillow.

The network is milesial's U-Net of that width for colour images and 3 classes, with its names of parameters, so that
segtool reads the same file and does the same with it; --make also writes `three.toml`, the data set:

    segtool predict --weights FOLDER/unet.pth --dataset FOLDER/three.toml --output-path OUTPUT FOLDER/images

Images are divided by 255 and normalised by 0.5 and 0.25; OUTPUT/<stem>.npy gets the most probable class, uint8. The seconds
that are printed are those of the loop alone: what importing torch takes is not counted.
"""
import argparse
import pathlib
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

MEAN, STD, CLASSES = 0.5, 0.25, 3
DATASET = """name = "three"
bands = 3
[normalisation]
kind = "fixed"
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[[classes]]
name = "first"
values = [0]
color = [0, 0, 0]
[[classes]]
name = "second"
values = [1]
color = [255, 0, 0]
[[classes]]
name = "third"
values = [2]
color = [0, 0, 255]
"""


class DoubleConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        layers = []
        for i in (inputs, outputs):
            layers += [nn.Conv2d(i, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs // 2, 2, stride=2)
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, below, beside):
        return self.conv(torch.cat([beside, self.up(below)], dim=1))


class OutConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inc = DoubleConv(3, width)
        for level in range(4):
            setattr(self, f"down{level + 1}", Down(width << level, width << level + 1))
            setattr(self, f"up{level + 1}", Up(width << 4 - level, width << 3 - level))
        self.outc = OutConv(width, CLASSES)

    def forward(self, x):
        levels = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, levels.pop())
        return self.outc(x)


class Images(Dataset):
    def __init__(self, folder):
        self.paths = sorted(folder.glob("*.png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        pixels = np.asarray(Image.open(self.paths[i]), dtype=np.float32)
        return torch.from_numpy((pixels / 255 - MEAN) / STD).permute(2, 0, 1), i


def make(options):
    images = options.make / "images"
    images.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(options.seed)
    for i in range(options.count):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((options.side,) * 2, Image.Resampling.BICUBIC).save(images / f"{i:05}.png")
    torch.manual_seed(options.seed)
    network = UNet(options.width)
    # Means and deviations of the batch norms as after a training: those of some images.
    with torch.no_grad():
        network.train()
        for batch, _ in DataLoader(Images(images), batch_size=50, sampler=range(min(200, options.count))):
            network(batch)
    torch.save(network.state_dict(), options.make / "unet.pth")
    (options.make / "three.toml").write_text(DATASET)


def predict(options):
    state = torch.load(options.weights, weights_only=True)
    network = UNet(state["inc.double_conv.0.weight"].shape[0]).eval()
    network.load_state_dict(state)
    options.output.mkdir(parents=True, exist_ok=True)
    images = Images(options.images)
    began = time.perf_counter()
    with torch.inference_mode():
        for batch, indices in DataLoader(images, batch_size=options.batch, num_workers=options.workers):
            for classes, i in zip(network(batch).argmax(dim=1).to(torch.uint8).numpy(), indices):
                np.save(options.output / f"{images.paths[i].stem}.npy", classes)
    seconds = time.perf_counter() - began
    print(f"{len(images)} images in {seconds:.2f} s, {len(images) / seconds:.1f} images/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path, nargs="?")
    parser.add_argument("--make", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    make(options) if options.make else predict(options)


if __name__ == "__main__":
    main()
