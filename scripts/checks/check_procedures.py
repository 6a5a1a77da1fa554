"""Predict photographs as other projects do, with their code and with segtool, and compare.

Usage: check_procedures.py REFERENCES PHOTOGRAPHS OUT_FOLDER [--segtool PROGRAM] [--device DEVICE] [--jpeg] [--limit N]
                           [--threads N] [--seed N] [CASE...]

Needs what make_procedure_goldens.py needs. Each case builds a network of full size of a real package, with 150 classes,
random weights and random batch-norm statistics, and saves it as that package does. PHOTOGRAPHS is a folder, or one file;
each photograph becomes a PNG file, so that no two JPEG decoders are compared (`--jpeg`: its JPEG file as well). Then the
project's procedure and `segtool predict` run on the same file. A line an image says: pixels of another class and how many
of them are near-ties (the two highest probabilities less than 1e-4 apart), largest difference of the highest probability,
and the seconds of both; segtool's are those of the whole program, the project's those of the prediction alone.

It fails where more than a pixel in a thousand has another class without being a near-tie, or a probability differs by
more than 0.002. Rounding is seen in such networks: two backends of PyTorch differ by 4e-4 in mmseg's, and in 36 pixels,
33 of them near-ties.

Weights and the project's predictions stay in OUT_FOLDER and are used again; without `--segtool` they are only made.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "goldens"))
import make_procedure_goldens as procedures

import numpy as np
import torch
from PIL import Image

import check_foreign_weights as foreign

CLASSES, SPREAD, DIRECTIONS = 150, 4, 24
NEAR, ALLOWED, CLOSE = 1e-4, 1e-3, 2e-3
PHOTOGRAPHS = (".jpg", ".jpeg", ".png")


class Check:
    """`kind` is a procedure of make_procedure_goldens.py with `settings`, `options` are segtool's for the same."""

    def __init__(self, kind, network, options, to=None, pack=lambda net: net.state_dict(), **settings):
        self.kind, self.network, self.options, self.settings = kind, network, options.split(), settings
        self.to, self.pack, self.legacy = to or kind, pack, False


CSAIL, SEMSEG, MMSEG = "csail-resnet50dilated-ppm-deepsup", "semseg-pspnet50", "mmseg-pspnet50"
CASES = {
    "csail": Check("csail", CSAIL, "--scales csail"),
    "semseg": Check("semseg", SEMSEG, "--scales semseg:0.5,1.0", pack=foreign.wrapped, scales=[0.5, 1.0]),
    "mmseg": Check("mmseg", MMSEG, "--scales mmseg", pack=foreign.mmengine),
    "mmseg-slide": Check("mmseg", MMSEG, "--scales mmseg --tile 473 --stride 315", pack=foreign.mmengine, crop=473, stride=315),
    "mmseg-tta": Check("mmseg", MMSEG, "--scales mmseg:0.5,1.0 --flip", pack=foreign.mmengine, factors=[0.5, 1.0], flip=True),
    "resize": Check("capstone", SEMSEG, "--resize 473 --flip", to="semseg", pack=foreign.wrapped, size=473, flip=True),
    # On demand: its four larger scales take many crops.
    "semseg-all": Check("semseg", SEMSEG, "--scales semseg", pack=foreign.wrapped, scales=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75]),
}  # fmt: skip
# Enough to see what the last convolution gets.
QUICK = {"csail": dict(sizes=[193]), "semseg": dict(scales=[0.5], crop=241), "mmseg": dict(scale=(257, 193)), "capstone": dict(size=193)}
USUAL = [name for name in CASES if name != "semseg-all"]


def spread_head(net, name, run):
    """A random last convolution that tells classes apart: it draws equally on the strongest directions of the features, not
    on the image's edge alone, and half of a class's scores are further than `SPREAD` from their median."""
    last, seen = net.get_submodule(name), []
    last = last[-1] if isinstance(last, torch.nn.Sequential) else last
    hook = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().transpose(0, 1).flatten(1)))
    run()
    hook.remove()
    features = torch.cat(seen, 1)
    mean = features.median(1, keepdim=True).values
    directions, strength, _ = torch.linalg.svd(features - mean, full_matrices=False)
    kept = int((strength[:DIRECTIONS] > 0.03 * strength[0]).sum())
    weight = torch.randn(CLASSES, kept) / strength[:kept] @ directions[:, :kept].T
    scores = weight @ (features - mean)
    weight *= SPREAD / (scores - scores.median(1, keepdim=True).values).abs().median(1, keepdim=True).values
    with torch.no_grad():
        last.weight.copy_(weight[:, :, None, None])
        last.bias.copy_(-(weight @ mean)[:, 0])


def prepare(case, made, image, out, seed):
    """The procedure with its network, and the weight files, which cases of one network share."""
    folder = out / case.network
    folder.mkdir(exist_ok=True)
    files = [folder / name for name in (["encoder.pth", "decoder.pth"] if case.to == "csail" else ["weights.pth"])]
    procedure = made[case.kind]
    torch.manual_seed(seed)
    net = procedure.build(case.network, CLASSES)
    if not all(file.exists() for file in files):
        foreign.randomise(net)
        head = procedures.Semseg.head if case.to == "semseg" else procedure.head
        spread_head(net, head, lambda: procedure.run(image.resolve(), **QUICK[case.kind]))
        foreign.save(net, case, folder)
    for part, file in zip([net.encoder, net.decoder] if case.to == "csail" else [net], files):
        state = torch.load(file)
        state = state.get("state_dict", state)
        part.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    return procedure, files


def reference(procedure, case, image, folder):
    """Labels, highest probability, its lead over the second, and seconds."""
    file = folder / f"{image.stem}_{image.suffix[1:]}.npz"
    if not file.exists():
        start = time.perf_counter()
        labels, probabilities = procedure.run(image.resolve(), **case.settings)
        seconds = time.perf_counter() - start
        second, best = np.partition(probabilities, CLASSES - 2, 0)[-2:]
        np.savez(file, labels=labels, best=best, lead=best - second, seconds=seconds)
    return np.load(file)


def check(name, case, args, images, made):
    procedure, files = prepare(case, made, images[0], args.out, args.seed)
    folder = args.out / name
    folder.mkdir(exist_ok=True)
    good = True
    for image in images:
        theirs = reference(procedure, case, image, folder)
        labels = theirs["labels"]
        words = [name, image.name, f"{labels.shape[0]}x{labels.shape[1]}", f"{len(np.unique(labels))}"]
        if args.segtool:
            weights = [word for file in files for word in ("--weights", file)]
            start = time.perf_counter()
            options = ["--dataset", "ade20k", *case.options, "--prob", "--device", args.device]
            foreign.run(args.segtool, "predict", *weights, *options, "--output-path", folder / "predictions", image)
            seconds = time.perf_counter() - start
            ours = np.load(folder / "predictions" / f"{image.stem}.npy").astype(int) - 1
            best = np.load(folder / "predictions" / f"{image.stem}_prob.npy")
            other = ours != labels
            near = other & (theirs["lead"] < NEAR)
            error = float(np.abs(best - theirs["best"]).max())
            words += [f"{other.mean():.3%}", f"{other.sum()} ({near.sum()})", f"{error:.1e}", f"{seconds:.1f}"]
            good &= bool((other & ~near).mean() <= ALLOWED and error <= CLOSE)
        else:
            words += ["", f"({(theirs['lead'] < NEAR).sum()})", "", ""]
        print(" | ".join([*words, f"{float(theirs['seconds']):.1f}"]), flush=True)
    return good


def main():
    parser = argparse.ArgumentParser()
    for name in ("references", "photographs", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--segtool", type=pathlib.Path)
    parser.add_argument("--device", default="flex")
    parser.add_argument("--jpeg", action="store_true")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_intermixed_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    sys.path[:0] = [str(args.references / name) for name in ("semseg", "Pytorch-UNet", "Oil_Seep_Detection")]
    args.out.mkdir(parents=True, exist_ok=True)
    folder = args.photographs
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTOGRAPHS) if folder.is_dir() else [folder]
    images = []
    for photograph in found[: args.limit]:
        png = args.out / f"{photograph.stem}.png"
        Image.open(photograph).convert("RGB").save(png)
        images += [png] + ([photograph] if args.jpeg and photograph.suffix.lower() != ".png" else [])
    if not images:
        sys.exit(f"{folder}: no photographs ({', '.join(PHOTOGRAPHS)})")
    made = procedures.procedures(args.references.resolve())
    print("case | image | size | classes | other class | pixels (near-ties) | probability | seconds | project's seconds")
    results = [check(name, CASES[name], args, images, made) for name in args.cases or USUAL]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
