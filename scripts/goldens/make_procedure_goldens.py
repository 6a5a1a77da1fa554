"""Make tests/fixtures/procedures.safetensors and resize.safetensors: images predicted, and resized, as other projects do.

Usage: make_procedure_goldens.py REFERENCES [OUT_FOLDER] [CASE...]

Needs what make_network_goldens.py needs, OpenCV, and Pillow below 13: later ones choose by the sizes whether to go across
or down first, older ones always go across first. OpenCV runs without IPP, whose float arithmetic is its own.

The images are read from PNG files by the projects' own code, and go through their own functions from there on, but for
- CSAIL, whose package lacks the script that averages over the sizes: its four lines are in `Csail`;
- hszhao/semseg: `Tensor.cuda` does nothing, and OpenCV gets a few channels at a time, which changes no value (OpenCV 5
  takes 128 at most); its `test` hands out labels only, so the probabilities are what `scale_process` returned, averaged;
- mmseg: `merge_preds` drops the averaged probabilities, so they are averaged here once more, with its labels as the check;
- the Capstone, which is Keras: all of `Capstone` below. It has here ImageNet's mean and standard deviation, in RGB.

Networks and weights are those of make_network_goldens.py, but for the last convolution, which is fitted to each case so
that all classes occur, and is in the file: `<case>.head.weight`, `<case>.head.bias`. For each case the file holds
`<case>.labels` (class numbers), `<case>.best` (the highest probability) and `<case>.probabilities` [K,H,W]; for each
image its samples, `image.<name>` [H,W,3]. The metadata has the settings of each case, among them `head` (the name of
the last convolution in the network), `inputs` (batch, height and width of each network input, in order) and `slow`.
With another backend of PyTorch the probabilities of a case change by 3e-6 at most.

resize.safetensors holds images resized bilinearly by Pillow and by OpenCV, see `resizing`.
"""
import importlib.util
import json
import logging
import os
import pathlib
import sys
import tempfile
import types
import warnings

os.environ["OPENCV_IPP"] = "disabled"

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

import make_network_goldens as goldens

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def sample_image(height, width, seed, grain=19):
    """Soft blobs, a finer grain and some edges, of full contrast."""
    rng = np.random.default_rng(seed)
    layers = []
    for cells, weight in ((3, 1.0), (7, 0.7), (grain, 0.35 if grain < 20 else 2.0)):
        shape = max(2, round(cells * height / max(height, width))), max(2, round(cells * width / max(height, width)))
        noise = torch.from_numpy(rng.standard_normal((1, 3, *shape)))
        layers.append(weight * F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)[0].numpy())
    values = sum(layers)
    edge = layers[0][0] > np.quantile(layers[0][0], 0.6)
    values += np.where(edge, 1, -0.3) * rng.uniform(-1, 1, (3, 1, 1))
    low, high = values.min(), values.max()
    return ((values - low) / (high - low) * 255).round().astype(np.uint8).transpose(1, 2, 0).copy()


class Procedure:
    """What a project does from a file to labels [H,W] and probabilities [K,H,W]. `network` is a name in
    make_network_goldens.py; `head` names the last convolution."""

    def build(self, network, classes):
        goldens.CLASSES = classes
        self.net, _ = goldens.CASES[network].build()
        return self.net

    def run(self, path, **settings):
        raise NotImplementedError


class Csail(Procedure):
    head = "decoder.conv_last"

    def run(self, path, sizes=(300, 375, 450, 525, 600), limit=1000, multiple=8):
        from mit_semseg.dataset import TestDataset
        from mit_semseg.models import SegmentationModule

        options = types.SimpleNamespace(imgSizes=sizes, imgMaxSize=limit, padding_constant=multiple)
        with open(os.devnull, "w") as nothing:
            spoken, sys.stdout = sys.stdout, nothing
            data = TestDataset([{"fpath_img": str(path)}], options)
            sys.stdout = spoken
        item = data[0]
        self.net.decoder.use_softmax = True
        module = SegmentationModule(self.net.encoder, self.net.decoder, None).eval()
        size = item["img_ori"].shape[:2]
        scores = 0
        with torch.no_grad():
            for image in item["img_data"]:
                scores = scores + module({"img_data": image}, segSize=size) / len(sizes)
        _, labels = torch.max(scores, dim=1)
        return labels[0].numpy(), scores[0].numpy()


class Channels:
    """OpenCV, whose `resize` gets few channels at a time."""

    def __getattr__(self, name):
        return getattr(cv2, name)

    @staticmethod
    def resize(image, size, interpolation):
        parts = [image[:, :, i : i + 4] for i in range(0, image.shape[2], 4)]
        return np.concatenate([cv2.resize(p, size, interpolation=interpolation).reshape(*size[::-1], -1) for p in parts], 2)


class Semseg(Procedure):
    head = "cls.4"

    def __init__(self, references):
        file = references / "semseg" / "tool" / "test.py"
        spec = importlib.util.spec_from_file_location("semseg_test", file)
        self.tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.tool)
        self.tool.cv2, self.tool.logger = Channels(), logging.getLogger("semseg")

    def run(self, path, base=512, scales=(1.0,), crop=473):
        from util import dataset, transform

        scaled, process, cuda = [], self.tool.scale_process, torch.Tensor.cuda

        def recorded(*arguments):
            scaled.append(process(*arguments))
            return scaled[-1]

        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "list.txt").write_text(f"{path}\n")
            data = dataset.SemData("test", "/", f"{folder}/list.txt", transform.Compose([transform.ToTensor()]))
            loader = torch.utils.data.DataLoader(data, batch_size=1)
            mean, std = ([255 * v for v in values] for values in (MEAN, STD))
            classes = self.net.cls[4].out_channels
            colours = np.zeros((256, 3), np.uint8)
            self.tool.scale_process, torch.Tensor.cuda = recorded, lambda tensor: tensor
            try:
                self.tool.test(loader, data.data_list, self.net.eval(), classes, mean, std, base, crop, crop, scales, f"{folder}/gray", f"{folder}/colour", colours)
            finally:
                self.tool.scale_process, torch.Tensor.cuda = process, cuda
            labels = np.asarray(Image.open(f"{folder}/gray/{pathlib.Path(path).stem}.png"))
        probabilities = sum(scaled) / len(scales)
        assert (probabilities.argmax(2) == labels).all()
        return labels, probabilities.transpose(2, 0, 1).astype(np.float32)


class Mmseg(Procedure):
    head = "decode_head.conv_seg"

    def build(self, network, classes):
        goldens.CLASSES = classes
        parts, _ = goldens.CASES[network].build()
        from mmengine.config import ConfigDict
        from mmseg.models import EncoderDecoder, SegDataPreProcessor

        mean, std = ([255 * v for v in values] for values in (MEAN, STD))
        entry = SegDataPreProcessor(mean=mean, std=std, bgr_to_rgb=True, pad_val=0, seg_pad_val=255)

        class Assembled(EncoderDecoder):
            """Of parts that exist; what its constructor does otherwise is build them from a configuration."""

            def __init__(self):
                super(EncoderDecoder, self).__init__(data_preprocessor=entry)
                self.backbone, self.decode_head, self.auxiliary_head = parts.backbone, parts.decode_head, parts.auxiliary_head
                self.align_corners, self.num_classes = self.decode_head.align_corners, self.decode_head.num_classes
                self.out_channels, self.train_cfg, self.test_cfg = self.decode_head.out_channels, None, ConfigDict(mode="whole")

        self.net = Assembled()
        return self.net

    def run(self, path, scale=(2048, 512), crop=None, stride=None, factors=None, flip=False):
        from mmcv.transforms import LoadImageFromFile, RandomFlip, Resize, TestTimeAug
        from mmengine.config import ConfigDict
        from mmengine.registry import DefaultScope
        from mmseg.datasets.transforms import PackSegInputs
        from mmseg.models import SegTTAModel

        DefaultScope.get_instance("procedures", scope_name="mmseg")
        cfg = dict(mode="slide", crop_size=(crop, crop), stride=(stride, stride)) if crop else dict(mode="whole")
        self.net.eval().test_cfg = ConfigDict(cfg)
        results = LoadImageFromFile()({"img_path": str(path)})
        with torch.no_grad():
            if factors is None:
                item = PackSegInputs()(Resize(scale=tuple(scale), keep_ratio=True)(results))
                sample = self.net.test_step({"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]})[0]
                probabilities = sample.seg_logits.data.softmax(0)
            else:
                # Not by its constructor, which wants a configuration.
                tta = SegTTAModel.__new__(SegTTAModel)
                torch.nn.Module.__init__(tta)
                tta.module = self.net
                flips = [RandomFlip(prob=p, direction="horizontal") for p in ((0.0, 1.0) if flip else (0.0,))]
                sizes = [Resize(scale_factor=float(f), keep_ratio=True) for f in factors]
                data = TestTimeAug([sizes, flips, [PackSegInputs()]])(results)
                found, merge = [], tta.merge_preds
                tta.merge_preds = lambda lists: found.extend(lists[0]) or merge(lists)
                sample = tta.test_step({key: [[v] for v in values] for key, values in data.items()})[0]
                probabilities = sum(s.seg_logits.data.softmax(0) for s in found) / len(found)
        labels = sample.pred_sem_seg.data.reshape(probabilities.shape[1:]).numpy()
        assert (probabilities.argmax(0).numpy() == labels).mean() > 0.999
        return labels, probabilities.numpy()


class Capstone(Procedure):
    head = "decoder.conv_last.4"

    def run(self, path, size=473, flip=True, enlarge="bilinear"):
        image = Image.open(path).convert("RGB")
        small = np.asarray(image.resize((size, size), Image.BILINEAR)).astype(np.float32) / 255
        x = torch.from_numpy(((small - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1))[None]
        with torch.no_grad():
            p = self.net.eval()(x).softmax(1)
            if flip:
                p = (p + self.net(x.flip(3)).softmax(1).flip(3)) / 2
            p = F.interpolate(p, image.size[::-1], mode=enlarge, align_corners=False)[0].numpy()
        return p.argmax(0), p


NETWORKS = {"csail": "csail-resnet18dilated-c1-deepsup", "semseg": "semseg-pspnet50", "mmseg": "mmseg-pspnet50", "capstone": "capstone-pspnet50"}
IMAGES = {"plain": (25, 36, 1), "upright": (36, 25, 2, 25), "wide": (8, 60, 3), "wider": (7, 192, 4, 100), "odd": (30, 43, 5)}
# mmseg rounds a size twice: 1.75 times `odd` is 53 x 75 at first, then 52 x 75.
CASES = {
    "csail-down": ("csail", "odd", dict(sizes=[24, 30, 36, 42, 48], limit=1000)),
    "csail-limited": ("csail", "plain", dict(sizes=[30, 38, 45, 53, 60], limit=70)),
    "csail-wide": ("csail", "wide", dict(sizes=[300], limit=1000)),
    "csail": ("csail", "plain", dict(sizes=[300, 375, 450, 525, 600], limit=1000)),
    "semseg-crops": ("semseg", "plain", dict(base=512, scales=[0.15, 0.2], crop=65)),
    "semseg-padded": ("semseg", "upright", dict(base=512, scales=[0.12], crop=65)),
    "semseg-down": ("semseg", "odd", dict(base=64, scales=[0.5, 0.75, 1.0], crop=41)),
    "mmseg-short": ("mmseg", "plain", dict(scale=[300, 64])),
    "mmseg-long": ("mmseg", "wider", dict(scale=[2048, 512])),
    "mmseg-wide": ("mmseg", "wide", dict(scale=[512, 128])),
    "mmseg-slide": ("mmseg", "plain", dict(scale=[160, 100], crop=65, stride=43)),
    "mmseg-slide-thin": ("mmseg", "wide", dict(scale=[256, 64], crop=65, stride=43)),
    "mmseg-tta": ("mmseg", "odd", dict(factors=[0.5, 1.0, 1.75], flip=True)),
    "mmseg-factors": ("mmseg", "upright", dict(factors=[0.5, 1.25], flip=False)),
    "capstone": ("capstone", "plain", dict(size=57, flip=True, enlarge="bilinear")),
    "capstone-bicubic": ("capstone", "wide", dict(size=57, flip=True, enlarge="bicubic")),
    "capstone-reduced": ("capstone", "odd", dict(size=41, flip=False, enlarge="bilinear")),
}  # fmt: skip
SLOW = "csail", "mmseg-long"
# Rows and columns of features on each side that see padding only, or the edge, which would outweigh the image.
BORDER = {"semseg-padded": (0, 1)}


def fill(net, case):
    with torch.no_grad():
        for name, value in goldens.parameters(net, case).items():
            value.copy_(goldens.weight(name, value.shape))


def fit_head(procedure, run, flip, border):
    """The two directions in which the features vary most make three classes; each gets a third of the plane. What is
    averaged with its mirror image counts as that average; features in the border do not count."""
    last, seen = procedure.net.get_submodule(procedure.head), []
    hook = last.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs[0].detach()))
    run()
    hook.remove()
    if flip:
        seen = [(plain + mirrored.flip(2)) / 2 for plain, mirrored in zip(seen[::2], seen[1::2])]
    rows, columns = border
    seen = [x[:, rows : x.shape[1] - rows, columns : x.shape[2] - columns].double() for x in seen]
    features = torch.cat([x.flatten(1) for x in seen], 1)
    mean = features.mean(1, keepdim=True)
    directions, spread, _ = torch.linalg.svd(features - mean, full_matrices=False)
    spread = spread[:2] / features.shape[1] ** 0.5
    angles = torch.arange(3) * 2 * torch.pi / 3
    corners = torch.stack([angles.cos(), angles.sin()], 1).double()
    weight = 2 * (corners / spread) @ directions[:, :2].T
    with torch.no_grad():
        last.weight.copy_(weight[:, :, None, None])
        last.bias.copy_(-(weight @ mean)[:, 0])
    return {"weight": last.weight.detach().clone(), "bias": last.bias.detach().clone()}


def procedures(references):
    return {"csail": Csail(), "semseg": Semseg(references), "mmseg": Mmseg(), "capstone": Capstone()}


def predictions(references, chosen):
    out, metadata, ready = {}, {"format": "pt"}, set()
    made = procedures(references)
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, rule in IMAGES.items():
            samples = sample_image(*rule)
            out[f"image.{name}"], paths[name] = torch.from_numpy(samples), f"{folder}/{name}.png"
            Image.fromarray(samples).save(paths[name])
        for key in chosen:
            kind, image, settings = CASES[key]
            procedure, network = made[kind], NETWORKS[kind]
            if kind not in ready:
                torch.manual_seed(0)
                fill(procedure.build(network, 3), goldens.CASES[network])
                ready.add(kind)
            flip, run = settings.get("flip", kind == "semseg"), lambda: procedure.run(paths[image], **settings)
            for name, value in fit_head(procedure, run, flip, BORDER.get(key, (0, 0))).items():
                out[f"{key}.head.{name}"] = value
            inputs = []
            entry = {"csail": "encoder", "mmseg": "backbone"}.get(kind)
            module = getattr(procedure.net, entry) if entry else procedure.net
            hook = module.register_forward_pre_hook(lambda m, given: inputs.append([len(given[0]), *given[0].shape[2:]]))
            labels, probabilities = run()
            hook.remove()
            out[f"{key}.labels"] = torch.from_numpy(labels.astype(np.uint8))
            out[f"{key}.best"] = torch.from_numpy(probabilities.max(0))
            out[f"{key}.probabilities"] = torch.from_numpy(probabilities)
            shares = np.bincount(labels.ravel(), minlength=3) / labels.size
            top = np.sort(probabilities, 0)
            pixels = sum(int(np.prod(i)) for i in inputs)
            print(f"{key}: shares {shares.round(2)}, best {top[2].min():.2f} to {top[2].max():.2f}, closest {(top[2] - top[1]).min():.1e}, {len(inputs)} inputs, {pixels} pixels", flush=True)
            assert np.sort(shares)[1] > 0.1 and np.quantile(top[2], 0.9) - np.quantile(top[2], 0.1) > 0.1, key
            metadata[key] = json.dumps({
                "network": network, "image": image, "procedure": kind, "mean": MEAN, "std": STD, **settings,
                "head": procedure.head, "inputs": inputs, "slow": key in SLOW,
            })  # fmt: skip
    return out, metadata


# Resizing alone -------------------------------------------------------------------------------------------------------

# From and to, height and width.
SIZES = [
    ((11, 17), (23, 40)), ((23, 40), (11, 17)), ((17, 11), (13, 29)), ((29, 14), (43, 9)), ((12, 18), (6, 9)), ((12, 18), (6, 18)),
    ((6, 9), (12, 18)), ((9, 9), (9, 20)), ((9, 9), (20, 9)), ((1, 13), (7, 5)), ((13, 1), (5, 7)), ((1, 1), (4, 3)), ((8, 12), (1, 1)),
    ((9, 12), (1, 30)), ((7, 11), (51, 80)), ((51, 80), (7, 11)), ((10, 10), (10, 10)),
]  # fmt: skip


def resizing():
    """`input.<kind>.<number>` and what becomes of it, `pillow.<kind>.<number>` and `opencv.<kind>.<number>`; kinds: rgb and
    gray of uint8, float of float32."""
    assert int(Image.__version__.split(".")[0]) < 13, "Pillow 13 has no fixed order of its passes"
    rng = np.random.default_rng(5)
    out = {}

    for i, ((height, width), (new_height, new_width)) in enumerate(SIZES):
        rgb = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        gray, real = rgb[:, :, 0].copy(), rng.standard_normal((height, width)).astype(np.float32)
        size = new_width, new_height
        for kind, image in {"rgb": rgb, "gray": gray, "float": real}.items():
            resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).reshape(new_height, new_width, *image.shape[2:])
            pillow = np.array(Image.fromarray(image).resize(size, Image.BILINEAR))
            for key, values in {"input": image, "pillow": pillow, "opencv": resized}.items():
                out[f"{key}.{kind}.{i:02}"] = torch.from_numpy(values.copy())
    return out


def main():
    warnings.simplefilter("ignore")
    references = pathlib.Path(sys.argv[1]).resolve()
    sys.path[:0] = [str(references / name) for name in ("semseg", "Pytorch-UNet", "Oil_Seep_Detection")]
    target = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "tests/fixtures")
    save_file(resizing(), target / "resize.safetensors")
    out, metadata = predictions(references, sys.argv[3:] or list(CASES))
    save_file({k: v.contiguous() for k, v in out.items()}, target / "procedures.safetensors", metadata=metadata)


if __name__ == "__main__":
    main()
