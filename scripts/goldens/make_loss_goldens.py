"""Make the golden file of the losses with PyTorch and the libraries and projects whose losses they are.

Usage: make_loss_goldens.py OIL_SEEP_PROJECT [OUT_FOLDER]        (default: tests/fixtures)

Needs torch, torchvision, segmentation_models_pytorch (smp), mmsegmentation and a copy of the oil-seep project
(its segmentation_loss.py is imported).

losses.safetensors  logits and labels (-1: without a label); the cases as JSON in the metadata entry `cases`: the loss
                    as a recipe writes it, activation, class weights, and which logits and labels; and each case's
                    `<name>.value` and `<name>.grad`, the gradient for the logits

Logits are float32 numbers; all is computed in float64 and then stored as float32.

Where conventions differ:
- smp gives 0 for a class that does not occur, we what the formula gives: 1 - smooth / (FP + smooth) and the like, so
  each class is asked for alone and absent ones are restated here.
- smp 0.6 adds `smooth` to TP and TP + FP/2 + FN/2 in its Dice, which doubles it; here it gets half.
- smp and the Lovasz code go through float32 by `.float()`; here that is `.double()`.
- The oil-seep losses take the sigmoid of logits and know no ignored pixels: they are given the labelled entries only
  and, for a softmax, the logits of its probabilities.
- mmsegmentation averages OHEM's loss over all pixels; here its sampler chooses, and the mean is over what it chose.
- A focal loss over a softmax is in none of them; it is F.cross_entropy's terms times (1 - p)^gamma.
"""
import importlib.util
import json
import pathlib
import sys
import types
import zlib
from unittest import mock

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

for name in ["mmcv._ext", "mmcv.ops"]:  # compiled extensions, which the sampler does not use
    sys.modules[name] = mock.MagicMock()
from mmseg.structures.sampler.ohem_pixel_sampler import OHEMPixelSampler  # noqa: E402
from segmentation_models_pytorch import losses as smp  # noqa: E402
from torchvision.ops import sigmoid_focal_loss  # noqa: E402

BATCH, CLASSES, HEIGHT, WIDTH = 2, 4, 7, 5
WEIGHTS = [0.5, 1.25, 2.0, 0.75]
torch.set_num_threads(1)
torch.Tensor.float = torch.Tensor.double
tensors, cases = {}, []


def seeps_losses(folder):
    spec = importlib.util.spec_from_file_location("segmentation_loss", folder / "segmentation_loss.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs():
    random = torch.Generator().manual_seed(zlib.crc32(b"losses"))
    shape = (BATCH, HEIGHT, WIDTH)
    full = torch.randint(0, CLASSES, shape, generator=random)
    some = full.masked_fill(torch.rand(shape, generator=random) < 0.3, -1)
    # Class 2 is nowhere, class 3 not in the second image.
    absent = some.masked_fill(some == 2, 1)
    absent[1][absent[1] == 3] = 0
    labels = {"full": full, "some": some, "absent": absent}
    outputs = {"classes": CLASSES, "outputs": CLASSES - 1, "one": 1}
    logits = {k: 2 * torch.randn((BATCH, n, HEIGHT, WIDTH), generator=random) for k, n in outputs.items()}
    return logits, labels


def truth(y, outputs):
    """Truth of sigmoid outputs, -1 without a label."""
    t = torch.stack([(y == j + 1).long() for j in range(outputs)], 1)
    return t.masked_fill((y < 0).unsqueeze(1), -1)


def region(name, softmax, smooth=1.0, background=False, false_positives=0.3, false_negatives=0.7, power=1.0):
    """The mean over classes of (1 - index)^power, each from smp where it occurs."""
    make, absent = {
        "dice": (lambda smooth, **k: smp.DiceLoss(smooth=smooth / 2, **k), lambda fp: 1 - smooth / (fp + smooth)),
        "jaccard": (smp.JaccardLoss, lambda fp: 1 - smooth / (fp + smooth)),
        "tversky": (lambda **k: smp.TverskyLoss(alpha=false_positives, beta=false_negatives, **k),
                    lambda fp: 1 - smooth / (false_positives * fp + smooth)),
    }[name]

    def value(z, y, w):
        p = (z.softmax(1) if softmax else z.sigmoid()) * (y >= 0).unsqueeze(1)
        mode, target = ("multiclass", y) if softmax else ("multilabel", truth(y, z.shape[1]))
        terms = []
        for c in range(1 if softmax and not background else 0, z.shape[1]):
            if (y == (c if softmax else c + 1)).any():
                terms.append(make(mode=mode, classes=[c], smooth=smooth, ignore_index=-1)(z, target))
            else:
                terms.append(absent(p[:, c].sum()))
        return (torch.stack(terms) ** power).mean()
    return value


def pooled(loss, softmax):
    """A loss of the oil-seep project over all classes but the background."""
    def value(z, y, w):
        if softmax:
            z, outputs = z.softmax(1)[:, 1:].logit(), z.shape[1] - 1
        else:
            outputs = z.shape[1]
        t = truth(y, outputs)
        return loss(z[t >= 0], t[t >= 0].double())
    return value


def cross_entropy(smoothing=0.0):
    return lambda z, y, w: F.cross_entropy(z, y, w, ignore_index=-1, label_smoothing=smoothing)


def ohem(threshold, min_kept):
    sampler = OHEMPixelSampler(types.SimpleNamespace(ignore_index=-1), thresh=threshold, min_kept=min_kept)

    def value(z, y, w):
        kept = sampler.sample(z.detach(), y.unsqueeze(1))
        return F.cross_entropy(z, y.masked_fill(kept == 0, -1), w, ignore_index=-1)
    return value


def softmax_focal(gamma, alpha=None):
    def value(z, y, w):
        nll = F.cross_entropy(z, y, ignore_index=-1, reduction="none")
        weighted = F.cross_entropy(z, y, w, ignore_index=-1, reduction="none")
        factor = 1 if alpha is None else torch.where(y == 0, 1 - alpha, alpha)
        weights = w[y.clamp_min(0)] if w is not None else torch.ones_like(nll)
        return (factor * (1 - (-nll).exp()) ** gamma * weighted).sum() / weights[y >= 0].sum()
    return value


def binary(each):
    """The mean over labelled pixels and outputs, weighted by class weights."""
    def value(z, y, w):
        t = truth(y, z.shape[1])
        terms = each(z, t.clamp_min(0).double())
        if w is not None:
            terms = terms * torch.where(t == 1, w[1:z.shape[1] + 1].reshape(1, -1, 1, 1), w[0])
        return terms[t >= 0].mean()
    return value


def bce():
    return binary(lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none"))


def sigmoid_focal(gamma, alpha=None):
    return binary(lambda z, t: sigmoid_focal_loss(z, t, alpha=-1 if alpha is None else alpha, gamma=gamma))


def lovasz_softmax(per_image):
    loss = smp.LovaszLoss("multiclass", per_image=per_image, ignore_index=-1)
    return lambda z, y, w: loss(z, y)


def lovasz_hinge(per_image):
    loss = smp.LovaszLoss("binary", per_image=per_image, ignore_index=-1)

    def value(z, y, w):
        t = truth(y, z.shape[1])
        return torch.stack([loss(z[:, j], t[:, j]) for j in range(z.shape[1])]).mean()
    return value


def case(title, terms, function, logits, labels=("full", "some", "absent"), weighted=False):
    for key in labels:
        for weights in [None, WEIGHTS] if weighted else [None]:
            name = f"{title}, {key}" + (", weighted" if weights else "")
            outputs = all_logits[logits].shape[1]
            # With one output there are two classes: what is looked for and the rest.
            y = all_labels[key].clamp_max(1) if outputs == 1 else all_labels[key]
            weights = weights[:2] if weights and outputs == 1 else weights
            z = all_logits[logits].double().requires_grad_()
            value = function(z, y, torch.tensor(weights, dtype=torch.float64) if weights else None)
            value.backward()
            assert value.dtype == torch.float64 and value.isfinite() and z.grad.isfinite().all(), name
            activation = "softmax" if logits == "classes" else "sigmoid"
            assert all(c["name"] != name for c in cases), name
            cases.append({"name": name, "loss": terms, "activation": activation, "class_weights": weights,
                          "logits": logits, "labels": key})
            tensors[f"{name}.value"], tensors[f"{name}.grad"] = value.detach().reshape(1), z.grad


def softmax_cases(seeps):
    def one(title, function, **settings):
        weighted = settings.pop("weighted", False)
        case(title, [settings], function, "classes", weighted=weighted)

    one("cross-entropy", cross_entropy(), kind="cross-entropy", weighted=True)
    one("smoothed", cross_entropy(0.1), kind="cross-entropy", label_smoothing=0.1, weighted=True)
    one("ohem by threshold", ohem(0.5, 3), kind="ohem-cross-entropy", threshold=0.5, min_kept=3, weighted=True)
    one("ohem by count", ohem(0.05, 12), kind="ohem-cross-entropy", threshold=0.05, min_kept=12)
    one("focal", softmax_focal(2.0), kind="focal", weighted=True)
    one("focal half", softmax_focal(0.5, 0.25), kind="focal", gamma=0.5, alpha=0.25, weighted=True)
    one("dice", region("dice", True), kind="dice")
    one("dice background", region("dice", True, 0.0, True), kind="dice", smooth=0.0, background=True)
    one("dice all", pooled(seeps.DiceLoss(), True), kind="dice", over="all")
    one("jaccard", region("jaccard", True, 0.5), kind="jaccard", smooth=0.5)
    one("tversky", region("tversky", True, background=True), kind="tversky", background=True)
    one("focal tversky", region("tversky", True, power=0.75), kind="focal-tversky")
    skewed = {"false_positives": 0.7, "false_negatives": 0.3}
    one("focal tversky of seeps", region("tversky", True, power=1.33, **skewed), kind="focal-tversky", form="seeps",
        gamma=1.33, **skewed)
    one("lovasz", lovasz_softmax(False), kind="lovasz")
    one("lovasz per image", lovasz_softmax(True), kind="lovasz", per_image=True)
    everything = [(0.5, cross_entropy(0.2), {"kind": "cross-entropy", "label_smoothing": 0.2}),
                  (2.0, softmax_focal(1.0), {"kind": "focal", "gamma": 1.0}),
                  (0.7, region("dice", True), {"kind": "dice"}), (0.3, region("jaccard", True), {"kind": "jaccard"}),
                  (1.5, lovasz_softmax(False), {"kind": "lovasz"})]
    case("sum", [{"weight": f, **s} for f, _, s in everything],
         lambda z, y, w: sum(f * loss(z, y, w) for f, loss, _ in everything), "classes", weighted=True)


def sigmoid_cases(seeps, logits):
    def one(title, function, terms, **settings):
        case(f"{title} of {logits}", terms, function, logits, **settings)

    one("bce", bce(), [{"kind": "bce"}], weighted=True)
    focal = {"kind": "focal", "alpha": 0.25}
    one("focal", sigmoid_focal(2.0, 0.25), [focal], weighted=True)
    one("focal half", sigmoid_focal(0.5), [{"kind": "focal", "gamma": 0.5}])
    dice = {"kind": "dice", "over": "all"}
    one("dice and bce of seeps", pooled(seeps.DiceBCELoss(0.01), False),
        [{"kind": "bce", "weight": 0.01}, {**dice, "weight": 0.99}])
    one("jaccard of seeps", pooled(seeps.IoULoss(), False), [{"kind": "jaccard", "over": "all"}])
    one("focal tversky of seeps", pooled(seeps.FocalTverskyLoss(0.7, 0.3, 1.33), False),
        [{"kind": "focal-tversky", "form": "seeps", "gamma": 1.33, "false_positives": 0.7, "false_negatives": 0.3,
          "over": "all"}])
    one("dice", region("dice", False), [{"kind": "dice"}])
    one("tversky", region("tversky", False, 0.0), [{"kind": "tversky", "smooth": 0.0}])
    one("lovasz", lovasz_hinge(False), [{"kind": "lovasz"}])
    one("lovasz per image", lovasz_hinge(True), [{"kind": "lovasz", "per_image": True}])


if __name__ == "__main__":
    out = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/fixtures")
    seeps = seeps_losses(pathlib.Path(sys.argv[1]))
    all_logits, all_labels = inputs()
    softmax_cases(seeps)
    sigmoid_cases(seeps, "outputs")
    sigmoid_cases(seeps, "one")
    stored = all_logits | {k: v.int() for k, v in all_labels.items()}
    stored |= {k: v.to(torch.float32) for k, v in tensors.items()}
    save_file({k: v.contiguous() for k, v in stored.items()}, out / "losses.safetensors", {"cases": json.dumps(cases)})
    print(len(cases), "cases")
