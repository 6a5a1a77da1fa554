"""Bring weights of the real packages through segtool and compare: import, predict, export.

Usage: check_foreign_weights.py REFERENCES PHOTOGRAPH SAR_TILE SEGTOOL OUT_FOLDER [--device DEVICE] [--seed N] [CASE...]

Needs what make_network_goldens.py needs. Each case builds a network of a real package with random weights and random
batch-norm statistics and saves it as that package does (wrapped, in one or two files, zip or the older pickles). Then
`segtool import` and `segtool predict --weights` run on a crop of the photograph (or the tile), `segtool export`
restores the original names, and damaged copies must be refused. The table lists the pixels of another class, the
largest relative error of the highest probability, and whether the exported tensors are the package's, bit for bit.
"""
import argparse
import pathlib
import subprocess
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "goldens"))
import make_network_goldens as goldens

IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
UNIT = np.zeros(3), np.ones(3)
SEEPS = np.array([28974.71406 / 65535]), np.array([10697.437589 / 65535])


def wrapped(net):
    """As a training script of hszhao/semseg saves it."""
    state = {f"module.{k}": v for k, v in net.state_dict().items()}
    return {"epoch": 7, "state_dict": state, "optimizer": torch.optim.SGD(net.parameters(), 0.1, 0.9).state_dict()}


def mmengine(net):
    return {"meta": {"epoch": 3, "dataset_meta": {"classes": ("a", "b")}}, "state_dict": net.state_dict(), "message_hub": {}}


def with_masks(net):
    return {**net.state_dict(), "mask_values": [0, 255] if net.n_classes == 2 else list(range(net.n_classes))}


class Case:
    def __init__(self, build, size, classes, to, normalisation=IMAGENET, pack=lambda net: net.state_dict(), legacy=False):
        self.build, self.size, self.classes, self.to = build, size, classes, to
        self.normalisation, self.pack, self.legacy = normalisation, pack, legacy


def of(name):
    return goldens.CASES[name].build


CASES = {
    "csail-resnet18dilated-c1-deepsup": Case(of("csail-resnet18dilated-c1-deepsup"), (321, 427), 11, "csail", legacy=True),
    "csail-resnet34dilated-c1": Case(of("csail-resnet34dilated-c1"), (320, 424), 150, "csail"),
    "csail-resnet50dilated-ppm-deepsup": Case(of("csail-resnet50dilated-ppm-deepsup"), (320, 424), 150, "csail", legacy=True),
    "csail-resnet101dilated-ppm-deepsup": Case(lambda: goldens.csail("resnet101dilated", "ppm_deepsup")(), (225, 301), 19, "csail"),
    "csail-resnet50-upernet": Case(of("csail-resnet50-upernet"), (320, 448), 150, "csail"),
    "semseg-pspnet50": Case(of("semseg-pspnet50"), (473, 473), 150, "semseg", pack=wrapped),
    "semseg-pspnet101": Case(of("semseg-pspnet101"), (241, 321), 21, "semseg", pack=wrapped, legacy=True),
    "mmseg-pspnet50": Case(of("mmseg-pspnet50"), (321, 427), 150, "mmseg", pack=mmengine),
    "smp-unet-resnet18": Case(lambda: goldens.smp("Unet", "resnet18")(), (320, 416), 11, "smp"),
    "smp-unet-resnet34": Case(of("smp-unet-resnet34"), (320, 416), 11, "smp"),
    "smp-unet-resnet101": Case(lambda: goldens.smp("Unet", "resnet101")(), (224, 288), 2, "smp", legacy=True),
    "smp-pspnet-resnet34": Case(of("smp-pspnet-resnet34"), (320, 416), 21, "smp"),
    "smp-pspnet-resnet50": Case(lambda: goldens.smp("PSPNet", "resnet50")(), (320, 416), 1, "smp"),
    "milesial-transposed": Case(of("milesial-transposed"), (213, 320), 2, "milesial", UNIT, with_masks),
    "milesial-bilinear": Case(of("milesial-bilinear"), (213, 320), 5, "milesial", UNIT, with_masks, True),
    "seeps-unet": Case(of("seeps-unet"), None, 7, "seeps", SEEPS),
    "seeps-resnet-unet": Case(of("seeps-resnet-unet"), (320, 416), 8, "seeps", legacy=True),
}  # fmt: skip
ENCODERS = {"torchvision-resnet18": "resnet18", "torchvision-resnet34": "resnet34", "torchvision-resnet152": "resnet152", "torchvision-vgg16": "vgg16"}


def randomise(net):
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, 0, 0.1)
    return net.eval()


def save(net, case, folder):
    """One file, or CSAIL's two."""
    parts = {"encoder.pth": net.encoder, "decoder.pth": net.decoder} if case.to == "csail" else {"weights.pth": net}
    files = []
    for name, part in parts.items():
        torch.save(case.pack(part), folder / name, _use_new_zipfile_serialization=not case.legacy)
        files.append(folder / name)
    return files, [part.state_dict() for part in parts.values()]


def run(*command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stderr}")
    return result.stderr


def refused(args, files, folder):
    """Whether the first file, cut off or with a byte changed in its middle, is refused with its name and no result."""
    whole, words = files[0].read_bytes(), []
    zipped = whole[:2] == b"PK"
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    # The older pickles have no checksum: a changed weight does not show.
    for name, content in {"cut.pth": whole[: len(whole) * 3 // 5], **({"changed.pth": bytes(changed)} if zipped else {})}.items():
        (folder / name).write_bytes(content)
        target = folder / "never.safetensors"
        result = subprocess.run([args.segtool, "import", folder / name, *files[1:], "--output", target], capture_output=True, text=True)
        words.append(result.stderr.strip())
        (folder / name).unlink()
        if result.returncode != 1 or name not in result.stderr or target.exists():
            return False, words
    return True, words


def same(states, paths, packed=None):
    """Whether files hold exactly these tensors, with around them what the project's scripts read."""
    for state, path in zip(states, paths):
        found = torch.load(path, weights_only=True)
        if packed and "mask_values" in packed and found.pop("mask_values") != packed["mask_values"]:
            return False
        if packed and "state_dict" in packed:
            if not ("epoch" in found if "epoch" in packed else "meta" in found):
                return False
            found, prefix = found["state_dict"], "module." if "epoch" in packed else ""
            state = {f"{prefix}{k}": v for k, v in state.items()}
        if set(found) != set(state) or not all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in state.items()):
            return False
    return True


def check(name, case, args, folder):
    torch.manual_seed(args.seed)
    goldens.CLASSES = case.classes
    net, forward = case.build()
    randomise(net)
    files, states = save(net, case, folder)
    if case.size is None:
        source, samples = args.tile, np.asarray(Image.open(args.tile)).astype(np.float64)[:, :, None] / 65535
    else:
        height, width = case.size
        image = Image.open(args.photograph).convert("RGB").crop((0, 0, width, height))
        source = folder / "image.png"
        image.save(source)
        samples = np.asarray(image).astype(np.float64) / 255
    mean, std = case.normalisation
    x = torch.from_numpy(((samples - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = forward(net, x)[0]
    classes = logits.shape[1]
    p = torch.sigmoid(logits) if classes == 1 else torch.softmax(logits, 1)
    p = torch.cat([1 - p, p], 1) if classes == 1 else p
    best, labels = (v[0].numpy() for v in p.max(1))
    own = folder / "own.safetensors"
    told = run(args.segtool, "import", *files, "--output", own)
    flags = [flag for path in files for flag in ("--weights", path)]
    results = []
    for given in (["--weights", own], flags):
        run(args.segtool, "predict", *given, "--output-path", folder / "predictions", "--prob", "--device", args.device, source)
        stem = pathlib.Path(source).stem
        found = np.load(folder / "predictions" / f"{stem}.npy").astype(int) - (1 if classes == 150 else 0)
        if case.pack is with_masks:
            found = np.searchsorted(with_masks(net)["mask_values"], found)
        probability = np.load(folder / "predictions" / f"{stem}_prob.npy")
        results.append(((found != labels).sum(), float(np.abs(probability - best).max() / best.max())))
    assert results[0] == results[1], results
    target = folder / ("exported" if case.to == "csail" else "exported.pth")
    run(args.segtool, "export", own, "--to", case.to, "--output", target)
    paths = [target / "encoder.pth", target / "decoder.pth"] if case.to == "csail" else [target]
    wrong, error = results[0]
    good, words = refused(args, files, folder)
    exact = same(states, paths, None if case.to == "csail" else case.pack(net))
    print(f"{name} | {classes} | {labels.shape[0]}x{labels.shape[1]} | {wrong} of {labels.size} | {error:.1e} | {'exact' if exact else 'DIFFERS'} | {'refused' if good else 'ACCEPTED'}", flush=True)
    (folder / "told.txt").write_text("\n".join([told, *words]))
    return good and wrong <= labels.size * 1e-4 and error < 1e-4 and exact


def check_encoder(name, model, args, folder):
    """No segmentation network: the names must come back as they were."""
    torch.manual_seed(args.seed)
    net = randomise(getattr(torchvision.models, model)(weights=None, num_classes=13))
    torch.save(net.state_dict(), folder / "weights.pth")
    told = run(args.segtool, "import", folder / "weights.pth", "--output", folder / "own.safetensors")
    run(args.segtool, "export", folder / "own.safetensors", "--to", "torchvision", "--output", folder / "exported.pth")
    exact = same([net.state_dict()], [folder / "exported.pth"])
    good, words = refused(args, [folder / "weights.pth"], folder)
    print(f"{name} | | | | | {'exact' if exact else 'DIFFERS'} | {'refused' if good else 'ACCEPTED'}", flush=True)
    (folder / "told.txt").write_text("\n".join([told, *words]))
    return exact and good


def main():
    parser = argparse.ArgumentParser()
    for name in ("references", "photograph", "tile", "segtool", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--device", default="flex")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    sys.path[:0] = [str(args.references / name) for name in ("semseg", "Pytorch-UNet", "Oil_Seep_Detection")]
    print("network | outputs | size | other class | probability | export | damaged")
    good = True
    for name in args.cases or [*CASES, *ENCODERS]:
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        if name in ENCODERS:
            good &= check_encoder(name, ENCODERS[name], args, folder)
        else:
            good &= check(name, CASES[name], args, folder)
    sys.exit(not good)


if __name__ == "__main__":
    main()
