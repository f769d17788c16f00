"""Published pipelines, from images of any size to the mIoU of a data set, against NumPy that shares nothing with them.

The trunk, the value path, the projection, the normalisation, prompt denoising, key smoothing, both resizings and the
argmax are loops of `oracle`; so are the image's own resizing, as OpenCV does it, and the confusion.
"""

import numpy as np
import oracle
import pytest
import tiny
import torch
from PIL import Image
from torchmetrics.classification import MulticlassJaccardIndex

import denseclip_viz as dcv
from denseclip_viz.presets import PRESETS, preset_named

NAMES = ("grass", "dog", "sky", "red car", "water", "tree")
SIZES = [(61, 97), (96, 96), (121, 64)]
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # as mmseg's configs have them, of pixels 0..255


class Made:
    """A data set of noise with labels of blobs, some of them not counted."""

    classes = NAMES

    def __init__(self, sizes=SIZES):
        self.examples = []
        for seed, size in enumerate(sizes):
            noise = np.random.default_rng(seed)
            coarse = Image.fromarray(noise.integers(0, 256, (7, 9, 3), dtype=np.uint8))
            labels = np.kron(noise.integers(-1, len(NAMES), (-(-size[0] // 8), -(-size[1] // 8))), np.ones((8, 8), int))
            image = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
            self.examples.append(dcv.datasets.Example(f"{seed}", image, labels=labels[: size[0], : size[1]]))

    def __iter__(self):
        return iter(self.examples)


def resized(image, short, long):
    """mmcv's imrescale: the ratio kept, neither side above its bound; from four pixels each, rounded."""
    height, width = image.shape[:2]
    scale = min(long / max(height, width), short / min(height, width))
    size = int(height * scale + 0.5), int(width * scale + 0.5)
    return np.floor(oracle.bilinear(image.transpose(2, 0, 1).astype(float), size) + 0.5 + 1e-9)


def telling_texts(model, images, fit, monkeypatch):
    """Have texts that different positions are like: of random towers all texts are nearly one."""
    traces = model.trace_many(images, preset="maskclip-paper", geometry=fit)
    dense = torch.cat([trace.dense.flatten(0, 1) for trace in traces])
    common = torch.nn.functional.normalize(dense.mean(0), dim=0)
    chosen = dense[np.random.default_rng(5).choice(len(dense), len(NAMES), replace=False)]
    vectors = torch.nn.functional.normalize(chosen - (chosen @ common)[:, None] * common, dim=-1)
    monkeypatch.setattr(model.texts, "encode", lambda prompts: vectors[None])
    return vectors.numpy()


def official(model, kind, image, texts, *, short, long, denoise, smooth):
    """MaskCLIP's code: features, cosines, denoising, smoothing; scores at the image's own size."""
    weights, visual = tiny.weights(model.clip.visual), model.clip.visual
    small = resized(image, short, long)
    pixels = np.stack([(channel - m) / s for channel, m, s in zip(small, MEAN, STD, strict=True)])
    if kind == "resnet":  # nothing is padded but what convolutions pad
        x4 = oracle.resnet_layers(weights, pixels, tiny.resnet_settings(visual)[0])["layer4"]
        dense, keys = oracle.resnet_dense(weights, x4), oracle.resnet_keys(weights, x4)
    else:  # mmseg's patch embedding pads below and right
        settings = tiny.vit_settings(visual)
        assert settings.activation == "gelu" and settings.eps == 1e-6
        padded = oracle.pad_corner(pixels, settings.patch)
        grid = (padded.shape[1] // settings.patch[0], padded.shape[2] // settings.patch[1])
        positional = oracle.resize_positional(weights["positional_embedding"], grid, antialias=False)
        streams = oracle.vit_streams(weights, padded, settings, positional)
        dense = oracle.vit_dense(weights, streams[-2], grid, settings)
        keys = oracle.vit_keys(weights, streams[-2], grid, settings)["projected"]
    scores = oracle.prompt_denoising(oracle.similarity(dense, texts), denoise)
    if smooth:
        scores = oracle.key_smoothing(scores, keys, 1.0, normalisation=smooth)
    return oracle.bilinear(oracle.bilinear(scores, small.shape[1:]), image.shape[:2])


def close_calls(scores, smooth):
    """Where the two best differ by less than 1e-5, of smoothed ones 1e-4: pixels are fp32, and those are of 100 S."""
    best, second = np.sort(scores, axis=0)[[-1, -2]]
    return best - second < (1e-4 if smooth else 1e-5)


def counted(truth, labels):
    counts = np.zeros((len(NAMES), len(NAMES)), int)
    for true, given in zip(truth.reshape(-1), labels.reshape(-1), strict=True):
        if true >= 0:
            counts[true, given] += 1
    return counts


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize(("denoise", "smooth"), [(0.0, ""), (0.3, "official"), (0.3, "cosine")])
def test_the_paper_preset_gives_the_official_pipelines_labels_and_miou(load_tiny, monkeypatch, kind, denoise, smooth):
    dataset, sides = Made(), {"short": 134, "long": 203} if kind == "resnet" else {"short": 70, "long": 103}
    model = load_tiny(kind, dtype="fp64", preset="maskclip-paper")
    fit = dcv.Whole(**sides, stretch=True, pad=PRESETS["maskclip-paper"].fit(model.tower.family).pad)
    texts = telling_texts(model, [example.image for example in dataset], fit, monkeypatch)
    measured = dcv.measure.evaluate_segmentation(
        model, dataset, preset="maskclip-paper", geometry=fit, denoise=denoise, smooth=smooth, progress=False
    )

    counts, unsure, images = np.zeros((len(NAMES), len(NAMES)), int), 0, []
    for example in dataset:
        scores = official(model, kind, example.image, texts, **sides, denoise=denoise, smooth=smooth)
        images.append(scores.argmax(0))
        counts += counted(example.labels, images[-1])
        unsure += int((close_calls(scores, smooth) & (example.labels >= 0)).sum())
    assert unsure < 50 and len(np.unique(np.concatenate([labels.reshape(-1) for labels in images]))) > 1
    ours = measured.confusion[0].values
    assert not ours[:, -1].any()
    assert np.abs(ours[:, :-1] - counts).sum() <= 2 * unsure, "label for label"

    oracles = {
        average: MulticlassJaccardIndex(len(NAMES), ignore_index=-1, average=average) for average in ("none", "macro")
    }
    for labels, example in zip(images, dataset, strict=True):
        for metric in oracles.values():
            metric.update(torch.from_numpy(labels), torch.from_numpy(np.array(example.labels)))
    slack = 0 if not unsure else 2 * unsure / counts.sum(1).min()
    assert np.nan_to_num(measured.iou[0].values) == pytest.approx(oracles["none"].compute().numpy(), abs=1e-6 + slack)
    assert float(measured.miou[0]) == pytest.approx(float(oracles["macro"].compute()), abs=1e-6 + slack)
    assert float(measured.accuracy[0]) == pytest.approx(np.trace(counts) / counts.sum(), abs=1e-12 + slack)


def test_a_class_is_the_mean_of_its_unit_vectors_in_the_presets_templates(load_tiny):
    from denseclip_viz.measure.protocol import NamedClasses

    model, paper = load_tiny("resnet", dtype="fp64"), preset_named("maskclip-paper")
    found = NamedClasses.of(model, [["dog"], ["sky", "dog"]], paper, "as written")
    assert found.prompts == ("dog", "sky", "dog") and found.names == ("value-maskclip",)
    for name, vector in zip(found.prompts, found.vectors.numpy(), strict=True):
        templates = dcv.prompts.template_set("maskclip-85")
        each = model.encode_text([template.replace("{}", name) for template in templates]).numpy()
        mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(0)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-9)


@pytest.mark.parametrize(
    ("size", "fitted"), [((375, 500), (512, 683)), ((500, 333), (769, 512)), ((200, 2000), (205, 2048))]
)
def test_the_paper_preset_resizes_as_mmseg_does_and_pads_what_each_tower_pads(size, fitted):
    paper = preset_named("maskclip-paper")
    clip = dcv.load("bundled-vit").preprocess
    resnet = paper.fit("ResNet attention pool").plan(size, preprocess=clip, cell=(32, 32))
    vit = paper.fit("ViT class token").plan(size, preprocess=clip, cell=(16, 16))
    assert resnet.resized == vit.resized == fitted
    assert resnet.input == tuple(side + side % 2 for side in fitted)
    assert vit.input == tuple(-(-side // 16) * 16 for side in fitted)


def test_presets_have_other_sizes_and_rules_on_other_data_sets():
    paper, sclip = preset_named("maskclip-paper"), preset_named("sclip")
    assert paper.on("context59").fit("ViT class token") == dcv.Whole(long=520, stretch=True)
    assert (paper.denoise, paper.smooth, paper.path) == (0.5, "official", "value-maskclip")
    assert paper.keys == {"ViT class token": "projected", "ResNet attention pool": "key"}
    assert (sclip.scale, sclip.below, sclip.on("voc21").scale, sclip.on("voc21aug").area) == (40, 0, 65, 0.1)
    assert sclip.on("cityscapes").geometry.short == 560


def test_by_default_a_preset_is_not_taken(load_tiny, image_file):
    model = load_tiny("vit")
    assert model.trace(image_file).geometry.mode == "native"
    assert model.segment(image_file, list(NAMES)).attrs["refinement"] == "none"
    assert torch.equal(model.trace(image_file).dense, model.trace(image_file, path="value").dense)
