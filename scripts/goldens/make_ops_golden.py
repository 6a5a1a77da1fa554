"""Make the golden file of the operations with PyTorch.

Usage: make_ops_golden.py [OUT_FOLDER]        (default: tests/fixtures; needs torch and safetensors)

ops.safetensors  every case's settings as JSON in the metadata entry `cases`, and its tensors under `<case>.<name>`:
                 inputs, `<output>`, `<output>.upstream` (the loss is the sum over outputs of output * upstream),
                 `<input>.grad` and, for batch norm, `<statistic>.after`

Inputs are float32 numbers; all is computed in float64 and then stored as float32, so that a golden number is wrong by
its last rounding only, and a tolerance is the tested program's own. A case's numbers depend on its name alone: a new
case leaves the others as they are.
"""
import json
import pathlib
import sys
import zlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

IGNORE = 65535
tensors, cases = {}, []


def generator(name):
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def normal(random, *shape):
    return torch.randn(shape, generator=random)


def case(name, operation, settings, leaves, function, constants=None):
    """Adds a case. `function` takes leaves and constants by name and returns outputs and states, both by name."""
    assert all(c["name"] != name for c in cases), name
    random = generator(name + " upstream")
    cases.append({"name": name, "operation": operation, **settings})
    wide = {k: v.double().requires_grad_() for k, v in leaves.items()}
    constants = constants or {}
    outputs, states = function(**wide, **{k: v.double() if v.is_floating_point() else v for k, v in constants.items()})
    loss = 0
    found = {**leaves, **constants}
    for key, output in outputs.items():
        upstream = normal(random, *output.shape)
        loss = loss + (output * upstream.double()).sum()
        found |= {key: output, f"{key}.upstream": upstream}
    loss.backward()
    found |= {f"{k}.grad": v.grad for k, v in wide.items()} | {f"{k}.after": v for k, v in states.items()}
    for key, value in found.items():
        value = value.detach()
        value = value.float() if value.is_floating_point() else value.int()
        assert not value.is_floating_point() or value.isfinite().all(), (name, key)
        tensors[f"{name}.{key}"] = value.contiguous().clone()


def conv_leaves(name, batch, inputs, size, weight, bias):
    random = generator(name)
    leaves = {"x": normal(random, batch, inputs, *size), "weight": normal(random, *weight)}
    return leaves | ({"bias": normal(random, bias)} if bias else {})


def conv(name, shape, outputs, kernel, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, bias=True):
    batch, inputs, *size = shape
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    name = f"conv2d {name}"
    leaves = conv_leaves(name, batch, inputs, size, (outputs, inputs // groups, *kernel), outputs if bias else 0)
    run = lambda x, weight, bias=None: ({"output": F.conv2d(x, weight, bias, **settings)}, {})
    case(name, "conv2d", settings, leaves, run)


def convolutions():
    conv("1x1", (1, 3, 5, 7), 4, (1, 1))
    conv("1x1 batch 3", (3, 4, 6, 5), 3, (1, 1), bias=False)
    conv("1x1 stride 2", (2, 3, 7, 8), 4, (1, 1), stride=(2, 2), bias=False)
    conv("1x1 padding 1", (1, 2, 5, 5), 3, (1, 1), padding=(1, 1))
    conv("1x1 groups 2", (2, 4, 5, 6), 6, (1, 1), groups=2)
    conv("1x1 image 1x1", (3, 4, 1, 1), 5, (1, 1))
    conv("3x3", (1, 2, 7, 9), 3, (3, 3))
    conv("3x3 batch 3 no bias", (3, 2, 6, 5), 3, (3, 3), bias=False)
    conv("3x3 same", (1, 3, 5, 8), 4, (3, 3), padding=(1, 1))
    conv("3x3 same batch 3", (3, 3, 7, 5), 2, (3, 3), padding=(1, 1))
    conv("3x3 same one pixel", (2, 3, 1, 1), 2, (3, 3), padding=(1, 1))
    conv("3x3 padding 3", (1, 2, 5, 6), 3, (3, 3), padding=(3, 3))
    conv("3x3 padding 3 stride 2", (2, 2, 5, 6), 3, (3, 3), padding=(3, 3), stride=(2, 2))
    conv("3x3 padding 0 and 2", (1, 2, 5, 6), 3, (3, 3), padding=(0, 2))
    conv("3x3 stride 2 odd", (2, 3, 9, 7), 2, (3, 3), stride=(2, 2), padding=(1, 1))
    conv("3x3 stride 2 even", (1, 3, 8, 10), 4, (3, 3), stride=(2, 2), padding=(1, 1), bias=False)
    conv("3x3 stride 2 left over", (1, 2, 8, 6), 3, (3, 3), stride=(2, 2))
    conv("3x3 stride 3 left over", (1, 2, 11, 10), 3, (3, 3), stride=(3, 3))
    conv("3x3 stride 2 and 1", (1, 3, 8, 7), 2, (3, 3), stride=(2, 1), padding=(1, 1))
    conv("3x3 stride 1 and 2", (3, 2, 6, 8), 2, (3, 3), stride=(1, 2), padding=(1, 1))
    conv("2x2 stride 3", (1, 2, 10, 9), 3, (2, 2), stride=(3, 3))
    conv("3x3 dilation 2", (1, 2, 9, 8), 3, (3, 3), padding=(2, 2), dilation=(2, 2))
    conv("3x3 dilation 4", (1, 2, 11, 10), 3, (3, 3), padding=(4, 4), dilation=(4, 4))
    conv("3x3 dilation 4 small image", (2, 2, 3, 2), 2, (3, 3), padding=(4, 4), dilation=(4, 4))
    conv("3x3 dilation 2 and 1 stride 1 and 2", (1, 2, 9, 8), 3, (3, 3), stride=(1, 2), dilation=(2, 1))
    conv("3x3 dilation 2 stride 2 left over", (2, 2, 10, 9), 2, (3, 3), stride=(2, 2), dilation=(2, 2), padding=(1, 1))
    conv("5x3", (1, 2, 9, 7), 3, (5, 3), padding=(2, 1))
    conv("7x7 same", (1, 2, 9, 8), 3, (7, 7), padding=(3, 3), bias=False)
    conv("7x7 stride 2", (2, 3, 11, 10), 2, (7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    conv("7x7 image 5x5", (1, 2, 5, 5), 2, (7, 7), padding=(3, 3))
    conv("groups 2", (3, 4, 6, 5), 6, (3, 3), padding=(1, 1), groups=2)
    conv("groups 2 stride 2", (2, 4, 6, 7), 2, (3, 3), stride=(2, 2), padding=(1, 1), groups=2, bias=False)
    conv("depthwise", (2, 4, 7, 6), 4, (3, 3), padding=(1, 1), groups=4)
    conv("depthwise two each", (1, 3, 6, 7), 6, (3, 3), padding=(1, 1), groups=3, bias=False)
    both = {"stride": (2, 2), "dilation": (2, 2)}
    conv("depthwise dilation 2 stride 2", (1, 3, 9, 8), 3, (3, 3), padding=(2, 2), groups=3, **both)


def transposed(name, shape, outputs, kernel, *, stride, padding=(0, 0), extra=(0, 0), dilation=(1, 1), groups=1,
               bias=True):
    batch, inputs, *size = shape
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "output_padding": extra}
    name = f"conv_transpose2d {name}"
    leaves = conv_leaves(name, batch, inputs, size, (inputs, outputs // groups, *kernel), outputs if bias else 0)
    run = lambda x, weight, bias=None: ({"output": F.conv_transpose2d(x, weight, bias, **settings)}, {})
    case(name, "conv_transpose2d", settings, leaves, run)


def transposed_convolutions():
    transposed("2x2 stride 2", (1, 3, 5, 4), 2, (2, 2), stride=(2, 2))
    transposed("2x2 stride 2 batch 3 no bias", (3, 2, 4, 5), 3, (2, 2), stride=(2, 2), bias=False)
    transposed("3x3 stride 1", (1, 2, 5, 6), 3, (3, 3), stride=(1, 1), padding=(1, 1))
    transposed("3x3 stride 2", (2, 2, 5, 4), 3, (3, 3), stride=(2, 2), padding=(1, 1))
    transposed("3x3 stride 2 output padding", (2, 3, 4, 5), 2, (3, 3), stride=(2, 2), padding=(1, 1), extra=(1, 1))
    transposed("3x3 output padding 0 and 1", (1, 3, 4, 5), 2, (3, 3), stride=(2, 2), padding=(1, 1), extra=(0, 1))
    transposed("4x4 stride 2", (1, 3, 5, 6), 2, (4, 4), stride=(2, 2), padding=(1, 1))
    transposed("5x3 stride 2 and 1", (1, 2, 4, 5), 2, (5, 3), stride=(2, 1), padding=(2, 1), bias=False)
    transposed("2x2 stride 3", (1, 2, 4, 3), 3, (2, 2), stride=(3, 3), extra=(1, 2))
    transposed("dilation 2", (1, 2, 5, 4), 3, (3, 3), stride=(1, 1), padding=(2, 2), dilation=(2, 2))
    transposed("dilation 2 stride 2", (2, 2, 4, 3), 2, (3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2))
    transposed("groups 2", (3, 4, 5, 4), 6, (3, 3), stride=(2, 2), padding=(1, 1), groups=2)
    transposed("groups 2 no bias", (1, 4, 4, 3), 2, (2, 2), stride=(2, 2), groups=2, bias=False)
    transposed("1x1", (2, 3, 4, 5), 2, (1, 1), stride=(1, 1))


def norm_train(name, shape, momentum, epsilon, offset=0.0):
    """Two batches one after the other: the second starts from the first's running statistics."""
    name = f"batch_norm_train {name}"
    random, channels = generator(name), shape[1]
    spread = torch.linspace(0.5, 3, channels).reshape(1, -1, 1, 1)
    leaves = {key: normal(random, *shape) * spread + offset for key in ["x1", "x2"]}
    leaves |= {"weight": normal(random, channels), "bias": normal(random, channels)}
    statistics = {"running_mean": normal(random, channels), "running_var": normal(random, channels).square() + 0.1}

    def run(x1, x2, weight, bias, running_mean, running_var):
        mean, var = running_mean.clone(), running_var.clone()
        norm = lambda x: F.batch_norm(x, mean, var, weight, bias, True, momentum, epsilon)
        return {"output1": norm(x1), "output2": norm(x2)}, {"running_mean": mean, "running_var": var}

    case(name, "batch_norm_train", {"momentum": momentum, "epsilon": epsilon}, leaves, run, statistics)


def norm_infer(name, shape, epsilon):
    name = f"batch_norm_infer {name}"
    random, channels = generator(name), shape[1]
    leaves = {"x": normal(random, *shape), "weight": normal(random, channels), "bias": normal(random, channels)}
    statistics = {"mean": normal(random, channels), "var": normal(random, channels).square() + 0.1}
    run = lambda x, weight, bias, mean, var: (
        {"output": F.batch_norm(x, mean, var, weight, bias, False, 0.0, epsilon)}, {})
    case(name, "batch_norm_infer", {"epsilon": epsilon}, leaves, run, statistics)


def norms():
    norm_train("batch 1", (1, 3, 5, 6), 0.1, 1e-5)
    norm_train("batch 3", (3, 4, 5, 3), 0.1, 1e-5)
    norm_train("momentum 0.05 epsilon 1e-3", (3, 2, 5, 5), 0.05, 1e-3)
    norm_train("momentum 0.001", (1, 2, 7, 5), 0.001, 1e-3)
    norm_train("images of one pixel", (4, 3, 1, 1), 0.1, 1e-5)
    # With two values and a small epsilon the gradient is rounding alone.
    norm_train("two values", (1, 3, 1, 2), 0.1, 0.5)
    norm_train("far from 0", (2, 3, 6, 5), 0.1, 1e-5, offset=50.0)
    norm_infer("batch 1", (1, 3, 5, 6), 1e-5)
    norm_infer("batch 3", (3, 4, 5, 3), 1e-3)


def unary(name, operation, settings, x, function):
    case(f"{operation} {name}", operation, settings, {"x": x}, lambda x: ({"output": function(x)}, {}))


def max_pool(name, shape, kernel, *, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False, draw=normal):
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    x = draw(generator(f"max_pool2d {name}"), *shape)
    function = lambda x: F.max_pool2d(x, kernel, **settings)
    unary(name, "max_pool2d", {"kernel": kernel, **settings}, x, function)


def poolings():
    two, three, one = (2, 2), (3, 3), (1, 1)
    few = lambda random, *shape: torch.randint(0, 3, shape, generator=random).float()
    below = lambda random, *shape: normal(random, *shape) - 5
    max_pool("2x2", (2, 3, 6, 8), two, stride=two)
    max_pool("2x2 odd", (1, 3, 7, 5), two, stride=two)
    max_pool("2x2 ties", (2, 2, 6, 8), two, stride=two, draw=few)
    max_pool("3x3 even", (2, 2, 8, 6), three, stride=two, padding=one)
    max_pool("3x3 odd", (1, 3, 7, 9), three, stride=two, padding=one)
    max_pool("3x3 ties", (2, 2, 7, 8), three, stride=two, padding=one, draw=few)
    max_pool("3x3 all equal", (1, 2, 7, 6), three, stride=two, padding=one, draw=lambda _, *shape: torch.zeros(shape))
    max_pool("3x3 below 0", (1, 2, 5, 6), three, stride=two, padding=one, draw=below)
    max_pool("3x3 stride 1", (1, 2, 6, 5), three, stride=one, padding=one)
    max_pool("3x2 stride 1 and 2", (1, 2, 6, 7), (3, 2), stride=(1, 2), padding=(1, 0))
    max_pool("ceil 2x2", (2, 2, 7, 5), two, stride=two, ceil_mode=True)
    max_pool("ceil 3x3", (1, 2, 8, 7), three, stride=two, ceil_mode=True)
    max_pool("ceil 3x3 padding", (1, 2, 8, 6), three, stride=two, padding=one, ceil_mode=True)
    # The last window of a row of 5 would lie wholly in the padding, and so is left out.
    max_pool("ceil window in the padding", (1, 2, 5, 6), two, stride=two, padding=one, ceil_mode=True)
    max_pool("dilation 2", (1, 2, 9, 8), three, stride=two, padding=one, dilation=two)
    max_pool("dilation 2 ties", (2, 2, 8, 7), two, stride=one, dilation=two, draw=few)

    for size in [(7, 9), (6, 6)]:
        for bins in [(1, 1), (2, 2), (3, 3), (6, 6), (2, 5), (9, 11)]:
            name = f"{size[0]}x{size[1]} to {bins[0]}x{bins[1]}"
            x = normal(generator(f"adaptive {name}"), 2, 2, *size)
            unary(name, "adaptive_avg_pool2d", {"size": bins}, x, lambda x: F.adaptive_avg_pool2d(x, bins))


def others():
    x = normal(generator("relu"), 2, 3, 5, 7)
    x[:, :, 2] = 0  # the gradient at 0 is 0
    unary("with zeros", "relu", {}, x, F.relu)

    sizes = [((5, 7), (11, 16)), ((8, 6), (3, 5)), ((4, 5), (8, 10)), ((1, 1), (4, 4)), ((5, 6), (1, 1))]
    sizes += [((9, 7), (4, 15)), ((2, 3), (7, 20)), ((4, 6), (4, 6))]
    for mode in ["bilinear", "bicubic"]:
        for corners in [True, False]:
            for (height, width), size in sizes:
                name = f"{mode}{' corners' if corners else ''} {height}x{width} to {size[0]}x{size[1]}"
                x = normal(generator(f"interpolate {name}"), 2, 2, height, width)
                function = lambda x: F.interpolate(x, size, mode=mode, align_corners=corners)
                settings = {"size": size, "interpolation": mode, "align_corners": corners}
                unary(name, "interpolate", settings, x, function)


def entropy(name, shape, *, ignored=0.0, weights=None, scale=1.0, edit=lambda labels: None):
    name = f"cross_entropy {name}"
    random = generator(name)
    batch, classes, height, width = shape
    labels = torch.randint(0, classes, (batch, height, width), generator=random)
    labels[torch.rand(labels.shape, generator=random) < ignored] = IGNORE
    edit(labels)
    constants = {"labels": labels} | ({"class_weights": torch.tensor(weights)} if weights else {})

    def run(logits, labels, class_weights=None):
        return {"loss": F.cross_entropy(logits, labels, class_weights, ignore_index=IGNORE).reshape(1)}, {}

    case(name, "cross_entropy", {"ignore": IGNORE}, {"logits": normal(random, *shape) * scale}, run, constants)


def losses():
    weights = [0.5, 2.0, 1.25, 0.1]

    def no_first(labels):
        labels[0] = IGNORE

    def only_one(labels):
        labels.fill_(IGNORE)
        labels[0, 1, 2] = 1

    entropy("batch 1", (1, 4, 5, 7))
    entropy("batch 3", (3, 4, 5, 6))
    entropy("two classes", (2, 2, 5, 5), ignored=0.2)
    entropy("ignored pixels", (3, 4, 5, 6), ignored=0.3)
    entropy("weights", (1, 4, 7, 5), weights=weights)
    entropy("weights and ignored pixels", (3, 4, 5, 5), ignored=0.3, weights=weights)
    entropy("a weight of 0", (2, 4, 5, 5), ignored=0.1, weights=[1.0, 0.0, 2.0, 1.0])
    entropy("one image ignored", (3, 4, 5, 5), ignored=0.1, edit=no_first)
    entropy("one image ignored and weights", (3, 4, 5, 5), weights=weights, edit=no_first)
    entropy("one pixel labelled", (2, 4, 5, 5), weights=weights, edit=only_one)
    entropy("large logits", (2, 3, 5, 5), ignored=0.1, scale=100.0)


def chain():
    """A small network in which tensors are used more than once, so that one changed in place would show."""
    name = "chain"
    random = generator(name)
    shapes = {"conv1": (6, 3, 3, 3), "conv2": (6, 6, 3, 3), "conv3": (6, 6, 1, 1), "conv4": (4, 6, 1, 1)}
    leaves = {"x": normal(random, 2, 3, 9, 8)}
    leaves |= {k: normal(random, *shape) / (shape[1] * shape[2] * shape[3]) ** 0.5 for k, shape in shapes.items()}
    leaves |= {"weight": normal(random, 6), "bias": normal(random, 6), "conv4_bias": normal(random, 4)}
    statistics = {"running_mean": normal(random, 6), "running_var": normal(random, 6).square() + 0.1}
    labels = torch.randint(0, 4, (2, 18, 15), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.2] = IGNORE

    def safe(x):
        # Rounding must not decide which side of the kink a number is on.
        assert x.abs().min() > 1e-4, float(x.abs().min())
        return x

    def run(x, conv1, conv2, conv3, conv4, weight, bias, conv4_bias, running_mean, running_var, labels):
        mean, var = running_mean.clone(), running_var.clone()
        normed = F.batch_norm(F.conv2d(x, conv1, padding=1), mean, var, weight, bias, True, 0.1, 1e-5)
        active = F.relu(safe(normed))
        added = F.relu(safe(active + F.conv2d(active, conv2, padding=1)))
        pooled = F.conv2d(F.max_pool2d(active, 3, 2, 1), conv3)
        raised = F.interpolate(pooled, added.shape[2:], mode="bilinear", align_corners=False)
        means = F.interpolate(F.adaptive_avg_pool2d(added, 2), added.shape[2:], mode="bilinear", align_corners=True)
        last = F.conv2d(added + raised + means + normed, conv4, conv4_bias)
        logits = F.interpolate(last, labels.shape[1:], mode="bicubic", align_corners=False)
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORE).reshape(1)
        return {"logits": logits, "loss": loss}, {"running_mean": mean, "running_var": var}

    case(name, "chain", {"ignore": IGNORE}, leaves, run, statistics | {"labels": labels})


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures")
    torch.set_num_threads(1)
    for part in [convolutions, transposed_convolutions, norms, poolings, others, losses, chain]:
        part()
    save_file(tensors, folder / "ops.safetensors", metadata={"cases": json.dumps(cases)})
    print(f"{len(cases)} cases, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
