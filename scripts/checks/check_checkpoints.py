"""Import checkpoints of the newest smp, timm, torchvision and mmsegmentation from PyPI: right, refused in words, or wrong.

Usage: check_checkpoints.py --program SEGTOOL --work FOLDER [--report report.json] [--only WORD]

Each case builds a network with random weights and batch-norm statistics, saves it as its users do (plain, under
`state_dict`, by PyTorch Lightning, averaged, as a whole module, in the older format, in a folder of `save_pretrained`,
under file names of 21 letters and others) and runs `segtool import`. If the import succeeds, the network predicts
random pixels: `right` if the highest probability is within 1e-4 of the original's (relative), `wrong` otherwise. An
encoder is exported for torchvision and compared there, at its last stage. `refused` needs exit code 1, a message that
names the file, and no output. `assumed` is what names and shapes cannot show: it counts only if the import says what it
takes the weights for.

mmsegmentation needs mmcv-lite, ftfy and regex (../requirements.txt); its compiled operators are replaced
by empty classes, which no network here calls. The models are built by mmsegmentation's own code.
"""
import argparse
import collections
import json
import pathlib
import shutil
import subprocess
import sys
import warnings

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F

from check_foreign_weights import goldens, randomise

warnings.filterwarnings("ignore")
import segmentation_models_pytorch as smp

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CLASSES, LIMIT = 3, 1e-4
DEPTHS = (18, 34, 50, 101, 152)


# How people save -------------------------------------------------------------------------------------------------------


def prefixed(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def lightning(net):
    return {"epoch": 3, "state_dict": {**prefixed("unet.", net.state_dict()), "loss.weight": torch.ones(3)}, "callbacks": {}}


def averaged(net):
    other = {name: value + 1 if value.is_floating_point() else value for name, value in net.state_dict().items()}
    return {"state_dict": other, "state_dict_ema": net.state_dict(), "epoch": 1}


def odd(net):
    beside = {"spectrum": torch.fft.rfft(torch.arange(4.0)), "mask": torch.eye(2).to_sparse(), "step": torch.tensor(5)}
    return {"model": net.state_dict(), **beside}


def optimiser(net):
    return {"model_state_dict": net.state_dict(), "optimizer": torch.optim.AdamW(net.parameters())}


WRAPPINGS = {
    "plain": (lambda net: net.state_dict(), {}, []),
    "older": (lambda net: net.state_dict(), {"_use_new_zipfile_serialization": False}, []),
    "parallel": (lambda net: {"state_dict": prefixed("module.", net.state_dict()), "epoch": 2}, {}, []),
    "compiled": (lambda net: prefixed("_orig_mod.", net.state_dict()), {}, []),
    "lightning": (lightning, {}, []),
    "averaged": (averaged, {}, ["--ema"]),
    "odd": (odd, {}, []),
    "whole": (lambda net: net, {}, []),
    "optimiser": (optimiser, {}, []),
    "mmengine": (lambda net: {"meta": {"epoch": 3}, "state_dict": net.state_dict(), "message_hub": {}}, {}, []),
}
STEMS = ("w", "unet_resnet34_epoch50", "best_model_checkpoint_of_forty_letters__")


# Networks ----------------------------------------------------------------------------------------------------------------


class Case:
    """`build` gives a module; `forward` its logits; `expected` is right, refused, either (right or refused) or assumed."""

    def __init__(self, build, expected, wrapping="plain", stem="w", forward=None, size=(97, 129), hub=False, says=None, extra=None):
        self.build, self.expected, self.wrapping, self.stem = build, expected, wrapping, stem
        self.forward = forward or (lambda net, x: net(x))
        self.size, self.hub, self.says, self.extra = size, hub, says, extra


def unet(encoder, **settings):
    return lambda: smp.Unet(encoder, encoder_weights=None, classes=CLASSES, **settings)


def pspnet(encoder, **settings):
    return lambda: smp.PSPNet(encoder, encoder_weights=None, classes=CLASSES, **settings)


def smp_cases():
    cases, ways = {}, list(WRAPPINGS)
    encoders = [f"{kind}resnet{depth}" for kind in ("", "tu-") for depth in DEPTHS]
    for i, encoder in enumerate(encoders):
        for depth in (3, 4, 5):
            channels = (256, 128, 64, 32, 16)[:depth]
            way, stem = ways[(3 * i + depth) % len(ways)], STEMS[(i + depth) % 3]
            settings = {"encoder_depth": depth, "decoder_channels": channels}
            cases[f"Unet {encoder} depth {depth} {way}"] = Case(unet(encoder, **settings), "right", way, stem)
        way = ways[(i + 6) % len(ways)]
        cases[f"PSPNet {encoder} {way}"] = Case(pspnet(encoder), "right", way, size=(96, 128))
    for way in ways:
        cases[f"Unet resnet18 {way}"] = Case(unet("resnet18"), "right", way, STEMS[1])
    for mode in ("nearest", "bilinear", "bicubic", "area", "nearest-exact"):
        settings = {"decoder_interpolation": mode}
        cases[f"Unet resnet18 {mode} save_pretrained"] = Case(unet("resnet18", **settings), "either", hub=True)
        cases[f"Unet resnet18 {mode} whole"] = Case(unet("resnet18", **settings), "either", "whole")
        if mode != "nearest":
            says = "decoder.interpolation: nearest"
            cases[f"Unet resnet18 {mode} plain"] = Case(unet("resnet18", **settings), "assumed", says=says)
    for encoder in ("tu-resnetblur50", "tu-resnetaa50", "tu-resnet50"):
        cases[f"Unet {encoder} save_pretrained"] = Case(unet(encoder), "either", hub=True)
    cases["Unet tu-resnetblur50 plain"] = Case(unet("tu-resnetblur50"), "assumed", says="resnetblur")
    cases["PSPNet resnet50 depth 4"] = Case(pspnet("resnet50", encoder_depth=4, upsampling=16), "either", size=(96, 128))
    others = ("resnext50_32x4d", "se_resnet50", "vgg16_bn", "densenet121", "mobilenet_v2", "efficientnet-b0", "mit_b0")
    timms = ("resnext50_32x4d", "wide_resnet50_2", "resnet18d", "resnet26", "seresnet18", "resnet50_gn", "convnext_atto")
    for encoder in (*others, *(f"tu-{name}" for name in timms)):
        settings = {"encoder_depth": 4, "decoder_channels": (64, 32, 16, 8)} if "convnext" in encoder else {}
        cases[f"Unet {encoder}"] = Case(unet(encoder, **settings), "refused")
    for settings in ({"decoder_attention_type": "scse"}, {"decoder_use_norm": False}, {"decoder_use_norm": "instancenorm"}, {"decoder_use_norm": "layernorm"}):
        cases[f"Unet resnet18 {settings}"] = Case(unet("resnet18", **settings), "refused")
    for name in ("UnetPlusPlus", "Linknet", "FPN", "PAN", "DeepLabV3", "DeepLabV3Plus", "MAnet", "UPerNet", "Segformer"):
        cases[f"{name} resnet18"] = Case(lambda name=name: getattr(smp, name)("resnet18", encoder_weights=None), "refused")
    return {f"smp {name}": case for name, case in cases.items()}


def features(net, x):
    """The last stage of a ResNet of timm or torchvision."""
    x = net.bn1(net.conv1(x))
    x = net.maxpool((net.act1 if hasattr(net, "act1") else net.relu)(x))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def timm_cases():
    names = set(timm.list_models("*resnet*")) | set(timm.list_models("vgg*"))
    names |= {"resnest14d", "res2net50_26w_4s", "dla34", "hrnet_w18_small", "densenet121", "vit_tiny_patch16_224", "regnetx_002"}
    cases = {}
    for name in sorted(names):
        plain = name.removeprefix("tv_").removeprefix("gluon_") in {f"resnet{depth}" for depth in DEPTHS}
        expected = "right" if plain else "either" if name in ("vgg16", "vgg16_bn") else "refused"
        cases[f"timm {name}"] = Case(lambda name=name: timm.create_model(name, pretrained=False), expected, stem=name, forward=features)
    for name in ("resnetblur18", "resnetaa50"):
        cases[f"timm {name} renamed"] = Case(lambda name=name: timm.create_model(name), "assumed", forward=features, says="resnet")
    return cases


def torchvision_cases():
    right = {f"resnet{depth}" for depth in DEPTHS} | {"vgg16", "vgg16_bn"}
    cases = {}
    for name in torchvision.models.list_models(torchvision.models):
        if "vit_h" in name or "vit_l" in name or "regnet_y_128" in name:
            continue  # gigabytes
        expected = "right" if name in right else "refused"
        cases[f"torchvision {name}"] = Case(lambda name=name: torchvision.models.get_model(name), expected, forward=features)
    for name in torchvision.models.list_models(torchvision.models.segmentation):
        build = lambda name=name: torchvision.models.get_model(name, weights=None, weights_backbone=None)
        cases[f"torchvision {name}"] = Case(build, "refused")
    return cases


def mmseg_network(depth, strides, dilations, backbone="ResNetV1c", head="PSPHead", **settings):
    sys.modules.setdefault("mmcv.ops", goldens.Compiled("mmcv.ops"))
    from mmseg.models import build_backbone, build_head

    norm, wide = dict(type="BN", requires_grad=True), 4 if depth >= 50 else 1
    about = dict(type=backbone, depth=depth, num_stages=4, out_indices=(0, 1, 2, 3), strides=strides, dilations=dilations)
    about.update(norm_cfg=norm, norm_eval=False, style="pytorch", contract_dilation=True, **settings)
    shared = dict(dropout_ratio=0.1, num_classes=CLASSES, norm_cfg=norm, align_corners=False)
    main = dict(type=head, in_channels=512 * wide, in_index=3, channels=128 * wide, **shared)
    if head == "PSPHead":
        main["pool_scales"] = (1, 2, 3, 6)
    second = dict(type="FCNHead", in_channels=256 * wide, in_index=2, channels=64 * wide, num_convs=1, concat_input=False, **shared)
    net = nn.Module()
    net.backbone, net.decode_head, net.auxiliary_head = build_backbone(about), build_head(main), build_head(second)
    from mmengine import Config

    config = Config(dict(model=dict(type="EncoderDecoder", backbone=about, decode_head=main, auxiliary_head=second)))
    net.text = config.pretty_text
    return net


def mmseg_forward(net, x):
    return F.interpolate(net.decode_head(net.backbone(x)), x.shape[2:], mode="bilinear", align_corners=False)


def mmseg_cases():
    cases = {}
    strides = {8: ((1, 2, 1, 1), (1, 1, 2, 4)), 16: ((1, 2, 2, 1), (1, 1, 1, 2)), 32: ((1, 2, 2, 2), (1, 1, 1, 1))}
    for depth in DEPTHS:
        for stride, places in strides.items():
            for backbone in ("ResNetV1c", "ResNet", "ResNetV1d"):
                if backbone != "ResNetV1c" and stride == 16:
                    continue
                build = lambda depth=depth, places=places, backbone=backbone: mmseg_network(depth, *places, backbone)
                expected = "refused" if backbone == "ResNetV1d" else "either"
                name = f"mmseg PSPNet {backbone}-{depth} stride {stride}"
                cases[f"{name}, with its configuration"] = Case(build, expected, "mmengine", forward=mmseg_forward, extra="config")
                if stride == 8 and backbone != "ResNetV1d":
                    cases[f"{name}, bare"] = Case(build, "right", "mmengine", forward=mmseg_forward)
    bare = lambda: mmseg_network(18, *strides[32])
    cases["mmseg PSPNet ResNetV1c-18 stride 32, bare"] = Case(bare, "assumed", forward=mmseg_forward, says="encoder.dilation: after-stride-conv1")
    for head in ("FCNHead", "ASPPHead", "GCHead", "DAHead", "DepthwiseSeparableASPPHead"):
        def other(head=head):
            net = mmseg_network(18, *strides[8])
            if head != "FCNHead":
                net.decode_head.extra = nn.Conv2d(3, 3, 1)
            else:
                net.decode_head = net.auxiliary_head
            return net
        cases[f"mmseg {head} (its kind of names)"] = Case(other, "refused")
    return cases


# The check ---------------------------------------------------------------------------------------------------------------


def save(case, net, folder):
    """The file or folder to import, and further arguments."""
    if case.hub:
        net.save_pretrained(folder / "hub")
        return folder / "hub", []
    pack, settings, arguments = WRAPPINGS[case.wrapping]
    content = pack(net)
    if case.extra == "config":
        content["meta"]["cfg"] = net.text
    path = folder / f"{case.stem}.pth"
    torch.save(content, path, **settings)
    return path, arguments


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def compare(case, net, program, folder, own):
    """The relative error of what segtool makes of the imported weights."""
    if "holds an encoder" in case_words(program, own, folder):
        return compare_encoder(case, net, program, folder, own)
    height, width = case.size
    samples = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(samples).save(folder / "x.png")
    done = run(program, "predict", "--weights", own, "--output-path", folder / "out", "--prob", "--device", "flex", folder / "x.png")
    if done.returncode:
        raise RuntimeError(done.stderr)
    x = torch.from_numpy(((samples / 255 - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        best = torch.softmax(case.forward(net, x), 1).max(1).values[0].numpy()
    return float((np.abs(np.load(folder / "out/x_prob.npy") - best) / best).max())


def case_words(program, own, folder):
    """Whether the file holds an encoder alone shows when it is to predict."""
    Image.new("RGB", (8, 8)).save(folder / "tiny.png")
    said = run(program, "predict", "--weights", own, "--output-path", folder / "tiny", "--device", "flex", folder / "tiny.png")
    return "holds an encoder" if "cannot predict on its own" in said.stderr else ""


def compare_encoder(case, net, program, folder, own):
    done = run(program, "export", own, "--to", "torchvision", "--output", folder / "back.pth")
    if done.returncode:
        raise RuntimeError(done.stderr)
    back = torch.load(folder / "back.pth", weights_only=True)
    x = torch.randn(1, 3, 64, 96)
    if "features.0.weight" in back:
        norm = "features.1.running_mean" in back
        twin = (torchvision.models.vgg16_bn if norm else torchvision.models.vgg16)().eval()
        twin.load_state_dict({k: v for k, v in back.items() if k.startswith("features.")}, strict=False)
        outputs = [m.features(x) for m in (net, twin)]
    else:
        blocks = [len({k.split(".")[1] for k in back if k.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4)]
        bottleneck = "layer1.0.conv3.weight" in back
        depth = {(False, 2): 18, (False, 6): 34, (True, 6): 50, (True, 23): 101, (True, 36): 152}[bottleneck, blocks[2]]
        twin = torchvision.models.get_model(f"resnet{depth}", num_classes=back["fc.weight"].shape[0]).eval()
        twin.load_state_dict(back)
        outputs = [case.forward(net, x), features(twin, x)]
    return float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max())


def check(case, program, folder):
    torch.manual_seed(1)
    try:
        net = randomise(case.build())
    except Exception as e:  # a model that its own package cannot build here is no case
        return "not built", f"{type(e).__name__}: {e}"[:500], None
    path, arguments = save(case, net, folder)
    own = folder / "own.safetensors"
    done = run(program, "import", path, "--output", own, *arguments)
    if done.returncode:
        words = done.stderr.strip()
        good = done.returncode == 1 and path.name in words and not own.exists() and "panicked" not in words
        return ("refused" if good else "WRONG WORDS"), words, None
    try:
        with torch.no_grad():
            error = compare(case, net, program, folder, own)
    except Exception as e:  # taken for what it is not
        return "wrong", f"{type(e).__name__}: {e}"[:500], None
    if error < LIMIT:
        return "right", done.stderr, error
    return ("assumed" if case.says and case.says in done.stderr else "wrong"), done.stderr, error


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = {**smp_cases(), **mmseg_cases(), **torchvision_cases(), **timm_cases()}
    results, counts, bad = [], collections.Counter(), 0
    for name, case in cases.items():
        if args.only not in name:
            continue
        folder = args.work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        outcome, words, error = check(case, args.program, folder)
        allowed = {"either": {"right", "refused"}, "assumed": {"assumed", "refused"}}.get(case.expected, {case.expected})
        fine = outcome in allowed or outcome == "not built"
        bad += not fine
        counts[name.split()[0], outcome] += 1
        results.append({"case": name, "outcome": outcome, "expected": case.expected, "error": error, "words": words})
        shown = f"{error:.1e}" if error is not None else " ".join(words.split())[-160:]
        print(f"{'' if fine else '!!! '}{name}: {outcome} {shown}", flush=True)
        if args.report:
            args.report.write_text(json.dumps(results, indent=1))
    shutil.rmtree(args.work / "case", ignore_errors=True)
    for (package, outcome), count in sorted(counts.items()):
        print(f"{package}: {count} {outcome}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
