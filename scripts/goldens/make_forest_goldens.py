"""Writes tests/fixtures/forest.json: single trees of scikit-learn, for tests/it/forest.rs.

Usage: make_forest_goldens.py > tests/fixtures/forest.json

Features have a dozen distinct values, so that bins are exact. Where two splits are equally good, scikit-learn's choice
depends on its seed: data are only kept if ten seeds give the same tree.
"""
import json

import numpy as np
import sklearn
from sklearn.tree import DecisionTreeClassifier

CASES = [
    {"max_depth": 3},
    {"min_samples_leaf": 12},
    {"min_samples_split": 60, "class_weights": "balanced"},
    {"max_depth": 4, "min_samples_leaf": 8, "class_weights": [1.0, 0.25, 3.0]},
]


def peer(settings, seed):
    """The tree of these settings, which are named as here."""
    weights = settings.get("class_weights")
    weights = dict(enumerate(weights)) if isinstance(weights, list) else weights
    rest = {name: value for name, value in settings.items() if name != "class_weights"}
    return DecisionTreeClassifier(class_weight=weights, random_state=seed, **rest)


def case(settings, x, y, test):
    """What the tree says, or None if there are several best ones."""
    trees = [peer(settings, seed).fit(x, y) for seed in range(10)]
    probabilities = [tree.predict_proba(test) for tree in trees]
    importances = [tree.feature_importances_ for tree in trees]
    same = all(np.array_equal(p, probabilities[0]) for p in probabilities)
    if not same or not all(np.allclose(i, importances[0], atol=1e-12) for i in importances):
        return None
    return {"settings": settings, "splits": int(trees[0].tree_.node_count // 2),
            "probabilities": probabilities[0].round(8).ravel().tolist(),
            "importances": importances[0].round(8).tolist()}


def compact(values):
    """Numbers that are float32, as short as they can be."""
    return [int(v) if v == int(v) else float(v) for v in values.ravel()]


def main():
    for seed in range(10000):
        rng = np.random.default_rng(seed)
        x = (rng.integers(0, 12, (240, 4)) * [1.0, 0.25, -3.0, 1e4]).astype(np.float32)
        noise = rng.normal(0, 2, (2, len(x)))
        y = (x[:, 0] + noise[0] > 4).astype(int) + (x[:, 1] * 4 - x[:, 2] / 9 + noise[1] > 7)
        test = ((rng.uniform(-1, 13, (40, 4)) * 8).round() / 8 * [1.0, 0.25, -3.0, 1e4]).astype(np.float32)
        cases = [case(settings, x, y, test) for settings in CASES]
        if None not in cases:
            data = {"features": compact(x), "labels": y.tolist(), "test": compact(test)}
            print(json.dumps({"scikit-learn": sklearn.__version__, **data, "cases": cases}, separators=(",", ":")))
            return
    raise SystemExit("no data without ties")


if __name__ == "__main__":
    main()
