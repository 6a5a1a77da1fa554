"""Train a segmentation network in plain PyTorch, with the settings of a segtool run, to compare results with.

Usage: train_peer.py IMAGES.txt LABELS.txt VAL_IMAGES.txt VAL_LABELS.txt --classes K [--model unet|pspnet18] [--width 16]
           [--epochs 40] [--batch 8] [--rate 1e-3] [--crop 256] [--scale 0.75 1.5] [--loss ce|ce+dice] [--ignore VALUE]
           [--flip-vertical] [--gray] [--foreground SHARE] [--seed 0]

unet: milesial's (batch norm, transposed convolutions, depth 5). pspnet18: a ResNet-18 at 1/8 of the input (7x7 stem; stages
3 and 4 dilated 2 and 4), pyramid pooling 1, 2, 3, 6 and a second head on stage 3 of weight 0.4, as `models/pspnet18.toml` has
them. Adam, poly 0.9 a step; random scale, crop padded with ignored pixels (a share of them placed to show a class
other than the first), flips; colour images normalised by ImageNet's numbers, grey ones by the training set's. Prints the
IoU of every class after every epoch, classes that do not occur left out of the mean, and the images a second.
"""
import argparse
import pathlib
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

IGNORE = 255


def unit(i, o, k=3, stride=1, dilation=1):
    return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2 * dilation, dilation, bias=False), nn.BatchNorm2d(o))


class UNet(nn.Module):
    def __init__(self, width, bands, classes, depth=5):
        super().__init__()
        c = [width << i for i in range(depth)]

        def double(i, o):
            return nn.Sequential(unit(i, o), nn.ReLU(True), unit(o, o), nn.ReLU(True))

        self.down = nn.ModuleList([double(bands if i == 0 else c[i - 1], c[i]) for i in range(depth)])
        self.enlarge = nn.ModuleList([nn.ConvTranspose2d(c[i + 1], c[i], 2, 2) for i in range(depth - 1)])
        self.up = nn.ModuleList([double(2 * c[i], c[i]) for i in range(depth - 1)])
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for i in reversed(range(len(self.up))):
            y = self.enlarge[i](x)
            dy, dx = (a - b for a, b in zip(skips[i].shape[2:], y.shape[2:]))
            x = self.up[i](torch.cat([skips[i], F.pad(y, (dx // 2, dx - dx // 2, dy // 2, dy - dy // 2))], 1))
        return [self.last(x)]


class Block(nn.Module):
    def __init__(self, i, o, stride, first, rest):
        super().__init__()
        self.a, self.b = unit(i, o, 3, stride, first), unit(o, o, 3, 1, rest)
        self.shortcut = unit(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(F.relu(self.a(x))) + self.shortcut(x))


class PSPNet18(nn.Module):
    def __init__(self, width, bands, classes):
        super().__init__()
        c = [width << i for i in range(4)]
        self.stem = nn.Sequential(unit(bands, width, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1))
        spacing = [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]
        inputs, stages = width, []
        for o, (stride, first, rest) in zip(c, spacing):
            stages.append(nn.Sequential(Block(inputs, o, stride, first, rest), Block(o, o, 1, rest, rest)))
            inputs = o
        self.stages = nn.ModuleList(stages)
        self.levels = nn.ModuleList([unit(c[3], c[3] // 4, 1) for _ in range(4)])
        self.last = nn.Sequential(unit(2 * c[3], c[3] // 4), nn.ReLU(True), nn.Dropout2d(0.1), nn.Conv2d(c[3] // 4, classes, 1))
        self.second = nn.Sequential(unit(c[2], c[2] // 4), nn.ReLU(True), nn.Dropout2d(0.1), nn.Conv2d(c[2] // 4, classes, 1))
        # As in segtool, the heads begin with PyTorch's own.
        for m in [*self.stem.modules(), *self.stages.modules()]:
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        size, seen, x = x.shape[2:], [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        pools = [F.relu(u(F.adaptive_avg_pool2d(x, n))) for n, u in zip((1, 2, 3, 6), self.levels)]
        joined = torch.cat([x] + [F.interpolate(p, x.shape[2:], mode="bilinear") for p in pools], 1)
        heads = [self.last(joined)] + ([self.second(seen[2])] if self.training else [])
        return [F.interpolate(y, size, mode="bilinear") for y in heads]


def paths(listed):
    folder = pathlib.Path(listed).parent
    return [folder / line for line in pathlib.Path(listed).read_text().split()]


def read(images, labels, a):
    pairs = []
    for image, label in zip(paths(images), paths(labels)):
        x = np.asarray(Image.open(image).convert("L" if a.gray else "RGB"), np.float32) / 255
        x = torch.from_numpy(x)[None] if a.gray else torch.from_numpy(x).permute(2, 0, 1)
        y = torch.from_numpy(np.asarray(Image.open(label)).astype(np.int64))
        y[y == a.ignore] = IGNORE
        pairs.append((x, y))
    return pairs


def sample(pair, a):
    x, y = pair
    if a.scale:
        s = random.uniform(*a.scale)
        size = [max(1, round(n * s)) for n in y.shape]
        x = F.interpolate(x[None], size, mode="bilinear")[0]
        y = F.interpolate(y[None, None].float(), size, mode="nearest-exact")[0, 0].long()
    dy, dx = (max(0, a.crop - n) for n in y.shape)
    x, y = F.pad(x, (0, dx, 0, dy)), F.pad(y, (0, dx, 0, dy), value=IGNORE)
    top, left = (random.randint(0, n - a.crop) for n in y.shape)
    there = [c for c in range(1, a.classes) if (y == c).any()] if random.random() < a.foreground else []
    if there:
        places = (y == random.choice(there)).nonzero()
        place = places[random.randrange(len(places))].tolist()
        top, left = (min(max(0, p - random.randrange(a.crop)), n - a.crop) for p, n in zip(place, y.shape))
    x, y = x[:, top : top + a.crop, left : left + a.crop], y[top : top + a.crop, left : left + a.crop]
    for axis in [-1] + ([-2] if a.flip_vertical else []):
        if random.random() < 0.5:
            x, y = x.flip(axis), y.flip(axis)
    return x, y


def loss_of(out, y, a):
    loss = F.cross_entropy(out, y, ignore_index=IGNORE)
    if a.loss == "ce+dice":
        known = (y != IGNORE).float()[:, None]
        p = out.softmax(1) * known
        t = F.one_hot(y.where(y != IGNORE, 0), a.classes).permute(0, 3, 1, 2) * known
        dice = 1 - (2 * (p * t).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + t.sum((0, 2, 3)) + 1)
        loss = loss + dice[1:].mean()
    return loss


@torch.inference_mode()
def score(net, pairs, a):
    net.eval()
    m = torch.zeros(a.classes, a.classes, dtype=torch.long)
    for x, y in pairs:
        dy, dx = ((-n) % 16 for n in y.shape)
        out = net(F.pad(x[None], (0, dx, 0, dy), mode="reflect"))[0][0, :, : y.shape[0], : y.shape[1]].argmax(0)
        known = y != IGNORE
        m += torch.bincount(y[known] * a.classes + out[known], minlength=a.classes**2).reshape(m.shape)
    union = m.sum(0) + m.sum(1) - m.diag()
    return [float(i) / float(u) if u else None for i, u in zip(m.diag(), union)]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("lists", nargs=4)
    p.add_argument("--classes", type=int, required=True)
    p.add_argument("--model", default="unet", choices=["unet", "pspnet18"])
    p.add_argument("--width", type=int, default=16)
    p.add_argument("--epochs", type=int, default=40)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--crop", type=int, default=256)
    p.add_argument("--scale", type=float, nargs=2)
    p.add_argument("--loss", default="ce", choices=["ce", "ce+dice"])
    p.add_argument("--ignore", type=int, default=IGNORE)
    p.add_argument("--flip-vertical", action="store_true")
    p.add_argument("--gray", action="store_true")
    p.add_argument("--foreground", type=float, default=0.0)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    random.seed(a.seed)
    train, val = read(*a.lists[:2], a), read(*a.lists[2:], a)
    if a.gray:
        values = torch.cat([x.flatten() for x, _ in train])
        mean, std = values.mean(), values.std()
    else:
        mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    train, val = ([((x - mean) / std, y) for x, y in part] for part in (train, val))
    net = (UNet if a.model == "unet" else PSPNet18)(a.width, 1 if a.gray else 3, a.classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=a.rate)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, a.epochs * -(-len(train) // a.batch), power=0.9)
    for epoch in range(a.epochs):
        net.train()
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(train)).tolist()
        for i in range(0, len(order), a.batch):
            xs, ys = zip(*(sample(train[j], a) for j in order[i : i + a.batch]))
            x, y = torch.stack(xs), torch.stack(ys)
            optimizer.zero_grad(set_to_none=True)
            main, *second = net(x)
            loss = loss_of(main, y, a) + sum(0.4 * loss_of(out, y, a) for out in second)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)
        took = time.perf_counter() - start
        iou = score(net, val, a)
        there = [v for v in iou if v is not None]
        shown = " ".join("-" if v is None else f"{v:.3f}" for v in iou)
        print(f"epoch {epoch + 1} loss {total / len(train):.4f} {len(train) / took:.2f} images/s val mIoU {sum(there) / len(there):.4f} ({shown})", flush=True)


if __name__ == "__main__":
    main()
