"""Predict one image as a Python program does, from a cold start: to compare times and results with segtool.

Usage: predict_peer.py --make-weights FILE [--seed N]
       predict_peer.py --weights FILE [--output FOLDER] [--threads N] [--times] IMAGE

Needs torch, torchvision, numpy and pillow; safetensors for files of that kind.

The network is PSPNet-50 with 150 classes: torchvision's ResNet-50, stages 3 and 4 dilated in place of their strides, and
a pyramid head. Its parameters have the names of hszhao/semseg, without the second head, which prediction has no use for,
so that segtool reads the same file and does the same with it:

    segtool predict --weights FILE --dataset ade20k --resize 473 --output-path FOLDER IMAGE

The image is resized to 473x473 (Pillow, bilinear) and normalised by ImageNet's mean and deviation; the probabilities,
not the labels, are enlarged to the image's size. FOLDER/<stem>.npy gets class number + 1, int64. `--times` says on
standard error when the imports, the network, the prediction and the file were done.
"""
import time

START = time.perf_counter()

import argparse
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models import resnet50

CLASSES, SIZE, BINS = 150, 473, (1, 2, 3, 6)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def block(inputs, outputs, kernel, stride=1):
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class Pyramid(nn.Module):
    """The features, and their means over ever smaller regions beside them."""

    def __init__(self, inputs):
        super().__init__()
        levels = [nn.Sequential(nn.AdaptiveAvgPool2d(bins), *block(inputs, inputs // len(BINS), 1)) for bins in BINS]
        self.features = nn.ModuleList(levels)

    def forward(self, x):
        levels = [F.interpolate(level(x), x.shape[2:], mode="bilinear", align_corners=True) for level in self.features]
        return torch.cat([x, *levels], 1)


class PspNet50(nn.Module):
    def __init__(self):
        super().__init__()
        body = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        # torchvision dilates the first block of a stage as the stage before; PSPNet all blocks of a stage alike.
        for stage, dilation in ((body.layer3, 2), (body.layer4, 4)):
            stage[0].conv2.dilation = stage[0].conv2.padding = dilation, dilation
        # Three small convolutions at the start, 128 channels, where ResNet has a single large one.
        body.layer1[0].conv1 = nn.Conv2d(128, 64, 1, bias=False)
        body.layer1[0].downsample[0] = nn.Conv2d(128, 256, 1, bias=False)
        self.layer0 = nn.Sequential(*block(3, 64, 3, 2), *block(64, 64, 3), *block(64, 128, 3), nn.MaxPool2d(3, 2, 1))
        self.layer1, self.layer2, self.layer3, self.layer4 = body.layer1, body.layer2, body.layer3, body.layer4
        self.ppm = Pyramid(2048)
        self.cls = nn.Sequential(*block(4096, 512, 3), nn.Dropout2d(0.1), nn.Conv2d(512, CLASSES, 1))

    def forward(self, x):
        y = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(x)))))
        return F.interpolate(self.cls(self.ppm(y)), x.shape[2:], mode="bilinear", align_corners=True)


def make_weights(target, seed):
    """Random ones that tell pixels apart: batch norms that do something, and a last convolution that spreads the scores."""
    torch.manual_seed(seed)
    net = PspNet50()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    net.eval()
    seen, last = [], net.cls[4]
    hook = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(F.interpolate(torch.randn(1, 3, 9, 9), (193, 193), mode="bicubic"))
        hook.remove()
        features = seen[0][0].flatten(1)
        mean = features.mean(1, keepdim=True)
        last.weight *= 3 / (last.weight[:, :, 0, 0] @ (features - mean)).std(1)[:, None, None, None]
        last.bias.copy_(-(last.weight[:, :, 0, 0] @ mean)[:, 0])
    if target.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(net.state_dict(), target)
    else:
        torch.save({"state_dict": {f"module.{name}": value for name, value in net.state_dict().items()}}, target)


def load_weights(net, path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu")
        state = state.get("state_dict", state)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    net.load_state_dict({name: value for name, value in state.items() if not name.startswith("aux.")})


def predict(net, path):
    image = Image.open(path).convert("RGB")
    samples = np.asarray(image.resize((SIZE, SIZE), Image.BILINEAR), np.float32) / 255
    x = torch.from_numpy((samples - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        p = net(x).softmax(1)
        p = F.interpolate(p, image.size[::-1], mode="bilinear", align_corners=False)
        return p[0].argmax(0).numpy() + 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--make-weights", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("image", type=pathlib.Path, nargs="?")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.make_weights:
        return make_weights(args.make_weights, args.seed)
    if not args.weights or not args.image:
        parser.error("it needs --weights FILE and an image, or --make-weights FILE")
    times = {"imports": time.perf_counter()}
    net = PspNet50().eval()
    load_weights(net, args.weights)
    times["network"] = time.perf_counter()
    labels = predict(net, args.image)
    times["prediction"] = time.perf_counter()
    args.output.mkdir(parents=True, exist_ok=True)
    np.save(args.output / f"{args.image.stem}.npy", labels)
    times["file"] = time.perf_counter()
    if args.times:
        print(", ".join(f"{name} {moment - START:.2f} s" for name, moment in times.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
