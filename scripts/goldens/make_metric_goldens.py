#!/usr/bin/env python3
"""Scores small made label maps with the projects whose conventions `segtool metrics` follows.

Needs mit-semseg, mmsegmentation (with mmcv-lite), scikit-learn and a clone of hszhao/semseg; PaddleSeg's and nnU-Net's
few lines are restated after paddleseg/utils/metrics.py (v2.10) and nnunetv2/evaluation/evaluate_predictions.py (v2).

    python3 scripts/goldens/make_metric_goldens.py path/to/semseg > tests/fixtures/metrics.json
"""
import importlib.util
import json
import sys

import numpy as np
import torch
from mit_semseg.utils import accuracy, intersectionAndUnion
from mmseg.evaluation import IoUMetric
from sklearn.metrics import cohen_kappa_score

CLASSES = 6
IGNORE = 255


def maps():
    """Labels 0..K-1 with 255, predictions 0..K-1. Class 5 is nowhere, class 4 only predicted, class 3 in one image."""
    rng = np.random.default_rng(7)
    pairs = []
    for i in range(5):
        label = rng.integers(0, 3, (4, 6)).repeat(4, 0).repeat(4, 1)
        if i == 2:
            label[3:9, 5:11] = 3
        prediction = np.roll(label, (1, 2), (0, 1))
        noise = rng.random(label.shape) < 0.1
        prediction[noise] = rng.integers(0, 5, noise.sum())
        label[rng.random(label.shape) < 0.05] = IGNORE
        prediction[prediction == IGNORE] = 0
        pairs.append((label.astype(np.int64), prediction.astype(np.int64)))
    return pairs


def csail(pairs):
    """The loop of CSAIL's eval.py; labels there are -1 where there is none. Labels of K or more are wrong throughout."""
    inter, union, right, valid = 0, 0, 0.0, 0
    for label, prediction in pairs:
        label = np.where(label == IGNORE, -1, label)
        acc, pixels = accuracy(prediction, label)
        i, u = intersectionAndUnion(prediction, label, CLASSES)
        inter, union, right, valid = inter + i, union + u, right + acc * pixels, valid + pixels
    iou = inter / (union + 1e-10)
    return {"iou": iou.tolist(), "mean_iou": iou.mean(), "pixel_accuracy": right / valid}


def semseg(pairs, util):
    """The end of hszhao's tool/test.py."""
    inter, union, target = 0, 0, 0
    for label, prediction in pairs:
        i, u, t = util.intersectionAndUnion(prediction, label, CLASSES)
        inter, union, target = inter + i, union + u, target + t
    iou, acc = inter / (union + 1e-10), inter / (target + 1e-10)
    return {
        "iou": iou.tolist(), "accuracy": acc.tolist(), "mean_iou": iou.mean(), "mean_class_accuracy": acc.mean(),
        "pixel_accuracy": inter.sum() / (target.sum() + 1e-10),
    }


def mmseg(pairs):
    areas = [IoUMetric.intersect_and_union(torch.tensor(p), torch.tensor(l), CLASSES, IGNORE) for l, p in pairs]
    totals = [sum(a[i] for a in areas) for i in range(4)]
    m = IoUMetric.total_area_to_metrics(*totals, ["mIoU", "mDice", "mFscore"])
    listed = {k: [None if np.isnan(x) else float(x) for x in m[v]] for k, v in
              {"iou": "IoU", "accuracy": "Acc", "dice": "Dice", "precision": "Precision"}.items()}
    means = {"mean_iou": "IoU", "mean_class_accuracy": "Acc", "mean_dice": "Dice"}
    return {**listed, **{k: float(np.nanmean(m[v])) for k, v in means.items()}, "pixel_accuracy": float(m["aAcc"])}


def areas(pairs):
    mask = [label != IGNORE for label, _ in pairs]
    per = lambda test: np.array([sum(int((test(l, p, c) & m).sum()) for (l, p), m in zip(pairs, mask)) for c in range(CLASSES)])
    return per(lambda l, p, c: (l == c) & (p == c)), per(lambda l, p, c: p == c), per(lambda l, p, c: l == c)


def paddle(pairs):
    inter, pred, label = areas(pairs)
    ratio = lambda a, b: [float(x / y) if y else 0.0 for x, y in zip(a, b)]
    iou, dice = ratio(inter, pred + label - inter), ratio(2 * inter, pred + label)
    total = label.sum()
    po, pe = inter.sum() / total, (pred * label).sum() / total**2
    return {
        "iou": iou, "dice": dice, "precision": ratio(inter, pred), "accuracy": ratio(inter, label),
        "mean_iou": float(np.mean(iou)), "mean_dice": float(np.mean(dice)),
        "pixel_accuracy": float(inter.sum() / pred.sum()), "kappa": float((po - pe) / (1 - pe)),
    }


def nnunet(pairs, classes):
    iou, dice = [], []
    for label, prediction in pairs:
        used = label != IGNORE
        row_iou, row_dice = [], []
        for c in range(classes):
            ref, seg = (label == c) & used, (prediction == c) & used
            tp, fp, fn = (ref & seg).sum(), (~ref & seg).sum(), (ref & ~seg).sum()
            with np.errstate(invalid="ignore"):
                row_iou.append(tp / (tp + fp + fn))
                row_dice.append(2 * tp / (2 * tp + fp + fn))
        iou.append(row_iou)
        dice.append(row_dice)
    iou, dice = np.nanmean(iou, 0), np.nanmean(dice, 0)
    return {"iou": iou.tolist(), "dice": dice.tolist(), "mean_iou": float(np.mean(iou[1:])), "mean_dice": float(np.mean(dice[1:]))}


def kappa(pairs):
    """Over the labelled pixels, by scikit-learn."""
    label = np.concatenate([l[l != IGNORE] for l, _ in pairs])
    return float(cohen_kappa_score(label, np.concatenate([p[l != IGNORE] for l, p in pairs])))


def main():
    spec = importlib.util.spec_from_file_location("util", f"{sys.argv[1]}/util/util.py")
    util = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(util)
    pairs = maps()
    expected = {
        "csail": csail(pairs), "capstone": csail(pairs), "semseg": semseg(pairs, util), "mmseg": mmseg(pairs),
        "paddle": paddle(pairs),
        # Without the class that is nowhere: nnU-Net's mean would not be a number.
        "nnunet": nnunet(pairs, CLASSES - 1),
    }
    for scores in expected.values():
        scores.setdefault("kappa", kappa(pairs))
    row = lambda a: "".join(chr(ord("a") + v) if v != IGNORE else "." for v in a.ravel())
    height, width = pairs[0][0].shape
    print(json.dumps({
        "classes": CLASSES, "width": width, "height": height,
        "labels": [row(l) for l, _ in pairs], "predictions": [row(p) for _, p in pairs], "expected": expected,
    }, indent=1))


if __name__ == "__main__":
    main()
