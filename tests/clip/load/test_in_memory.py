"""A model in memory is asked as it is: never changed, never copied, and never answered from older weights."""

import copy
import warnings

import numpy as np
import open_clip
import openai_clip
import pytest
import torch
from checkpoint_files import TINY, TINY_RESNET, add_name
from checkpoint_files import openai_clip as with_openais_entries
from open_clip.transform import image_transform
from PIL import Image
from state import fingerprint
from torch import nn
from torchvision import transforms

import denseclip_viz as dcv
from denseclip_viz.clip.load.transforms import read_transform
from denseclip_viz.errors import (
    DeviceError,
    GeometryError,
    LayerError,
    ModelNameError,
    OutputError,
    PromptError,
    WeightsError,
)

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8))
PREPARED = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    add_name(monkeypatch, "Tiny-vit", TINY)
    add_name(monkeypatch, "Tiny-resnet", TINY_RESNET)


@pytest.fixture(params=["vit", "resnet"])
def clip(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = open_clip.CLIP(**copy.deepcopy({"vit": TINY, "resnet": TINY_RESNET}[request.param])).eval()
    made.visual.preprocess_cfg = dict(PREPARED)
    return made


def openais():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return openai_clip.CLIP().eval()


def scripted():
    pixels, text = torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace_module(with_openais_entries(), {"forward": (pixels, text)}, check_trace=False)


def test_a_model_of_open_clip_is_asked_and_bit_for_bit_the_same_after(clip):
    before = fingerprint(clip)
    model = dcv.load(clip)
    both = model.compare(IMAGE, ["a cat", "grass"], layers="all")
    model.segment(IMAGE, ["a cat", "grass"])
    assert model.clip is clip and fingerprint(clip) == before
    with torch.no_grad():
        pixels = model.trace(IMAGE).pixels[None]
        assert torch.equal(model.encode_image(pixels), clip.encode_image(pixels))
    assert abs(both.contribution.sum(("y", "x")) + both.rest.sum("term") - both.score).max() < 1e-6
    assert model.provenance["weights"] == "in memory" and model.provenance["activation"] == "gelu"
    assert model.provenance["model"] == ("Tiny-resnet" if "attnpool" in str(clip) else "Tiny-vit")
    assert "the model's own preprocess_cfg: preparation" in model.provenance["known_from"]
    assert (model.preprocess.resize_mode, model.preprocess.mean) == ("squash", (0.5, 0.4, 0.3))


def test_openais_model_shares_every_number_with_the_modules_that_are_asked():
    clip, pixels = openais(), torch.randn(2, 3, 32, 32)
    before = fingerprint(clip)
    model = dcv.load(clip, tokenizer=openai_clip.tokenize)
    for name, parameter in clip.named_parameters():
        assert model.clip.get_parameter(name) is parameter
    text = openai_clip.tokenize(["a cat", "two dogs on grass"]).long()
    with torch.no_grad():
        assert torch.allclose(model.encode_image(pixels), clip.encode_image(pixels), rtol=0, atol=1e-5)
        expected = nn.functional.normalize(clip.encode_text(text), dim=1)
    assert torch.allclose(model.encode_text(["a cat", "two dogs on grass"]), expected, rtol=0, atol=1e-6)
    model.compare(IMAGE, ["a cat", "grass"])
    assert fingerprint(clip) == before
    assert model.provenance["activation"] == "quickgelu" and not model.clip.training
    assert "OpenAI's preparation: preparation" in model.provenance["known_from"]


def test_openais_torchscript_form_shares_its_numbers_too():
    clip = scripted()
    model = dcv.load(clip)
    theirs = clip.state_dict()
    assert all(theirs[name].data_ptr() == tensor.data_ptr() for name, tensor in model.clip.state_dict().items())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = clip(pixels[:1], openai_clip.tokenize(["a cat"]).long())[0]
    assert torch.allclose(nn.functional.normalize(model.encode_image(pixels))[:1], expected, rtol=0, atol=1e-6)
    assert model.provenance["activation"] == "quickgelu"


@pytest.mark.parametrize("make", [openais, lambda: open_clip.CLIP(**copy.deepcopy(TINY)).eval()])
@pytest.mark.parametrize("change", ["a step", "one number", "data", "load_state_dict"])
def test_training_between_two_calls_never_gets_an_answer_of_older_weights(make, change):
    clip = make()
    model = dcv.load(clip, preprocess=PREPARED)
    first, trace, known = model.similarity(IMAGE, ["a cat"]), model.trace(IMAGE), model.provenance["weights_hash"]
    assert model.similarity(trace, ["a cat"]).equals(first) and len(model.texts) == 1
    weight = clip.token_embedding.weight
    with torch.no_grad():
        if change == "a step":
            for parameter in clip.parameters():
                parameter.mul_(0.9).add_(0.01)
        elif change == "one number":
            weight[openai_clip.tokenize(["cat"])[0, 1].long(), 0] += 1
        elif change == "data":
            weight.data.add_(torch.linspace(0, 1, weight.shape[1]))
        else:
            clip.load_state_dict({key: value * 1.1 for key, value in clip.state_dict().items()})
    fresh = dcv.load(copy.deepcopy(clip), preprocess=PREPARED)
    assert model.similarity(IMAGE, ["a cat"]).equals(fresh.similarity(IMAGE, ["a cat"]))
    assert not model.similarity(IMAGE, ["a cat"]).equals(first)
    assert model.provenance == fresh.provenance
    if change != "one number":
        assert model.provenance["weights_hash"] != known
        with pytest.raises(LayerError, match="Trace it with this model"):
            model.similarity(trace, ["a cat"])


def test_no_text_vector_of_a_model_in_memory_reaches_the_disk(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSECLIP_VIZ_CACHE", str(tmp_path))
    model = dcv.load(clip)
    model.similarity(IMAGE, [f"thing number {number}" for number in range(70)])
    assert model.texts.cache is None and list(tmp_path.iterdir()) == []
    for cache in (True, str(tmp_path)):
        with pytest.raises(OutputError, match="for a model in memory"):
            dcv.load(clip, cache=cache)


# What cannot be


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("pretrained", "openai", "brings its own weights"),
        ("device", "cpu", "stays where it is"),
        ("dtype", "bf16", "stays in the dtype"),
        ("preset", "maskclip-paper", "never changed"),
        ("activation", "gelu", "never changed"),
        ("layer_norm_eps", 1e-6, "never changed"),
    ],
)
def test_options_that_would_change_the_model_are_refused_with_the_reason(option, value, why, clip):
    with pytest.raises(ModelNameError, match=f"{option}=.* for a model in memory.*{why}"):
        dcv.load(clip, **{option: value})


def test_a_model_in_training_mode_is_refused_and_left_in_it(clip):
    clip.transformer.train()
    with pytest.raises(LayerError, match=r"training mode.*Call clip.eval\(\) first"):
        dcv.load(clip)
    assert clip.transformer.training and not clip.training


def test_models_in_two_dtypes_on_no_device_or_without_numbers_are_refused(clip):
    with pytest.raises(DeviceError, match="in float16 and float32"):
        mixed = copy.deepcopy(clip).half()
        mixed.ln_final.float()
        dcv.load(mixed)
    with pytest.raises(DeviceError, match="lies on meta"):
        dcv.load(copy.deepcopy(clip).to("meta"))
    nn.init.constant_(clip.text_projection, float("nan"))
    with pytest.raises(WeightsError, match="The model in memory holds nan or infinity, as float32, in text_projection"):
        dcv.load(clip)


def test_a_quantised_model_is_refused_by_what_it_keeps_otherwise(clip):
    clip.visual.register_module("packed", Packed().eval())
    with pytest.raises(ModelNameError, match="keeps visual.packed._extra_state in a form of their own"):
        dcv.load(clip)


class Packed(nn.Module):
    """Numbers that are no tensor, as torch's own quantisation keeps them."""

    def get_extra_state(self):
        return torch.qint8


def test_a_model_without_gradients_answers_what_needs_none_and_refuses_the_rest(tmp_path):
    with torch.inference_mode():
        clip = open_clip.CLIP(**copy.deepcopy(TINY_RESNET)).eval()
    clip.visual.preprocess_cfg = dict(PREPARED)
    asks = {
        "attribute": lambda model: dcv.attribution.attribute(model, IMAGE, ["a car"]),
        "effects": lambda model: dcv.attribution.direct_effects(model, IMAGE, ["a car"]),
        "intervene": lambda model: dcv.attribution.intervene(model, IMAGE, ["a car"], "pool.attention"),
        "layers": lambda model: model.compare(IMAGE, ["a car"], layers="all"),
    }
    model = dcv.load(clip)
    assert model.similarity(IMAGE, ["a car"]).size
    for ask in asks.values():
        with pytest.raises(LayerError, match="inference_mode.*copy.deepcopy"):
            ask(model)
        ask(dcv.load(copy.deepcopy(clip)))


def test_fp64_stays_fp64(clip):
    model = dcv.load(clip.double())
    assert model.provenance["dtype"] == "float64" and model.trace(IMAGE).global_embedding.dtype == torch.float64


@pytest.mark.parametrize("thing", [nn.Linear(2, 2), nn.Linear(2, 2).eval()])
def test_other_modules_are_refused_by_their_class_in_whatever_mode(thing):
    with pytest.raises(ModelNameError, match="is a Linear.*open_clip.create_model"):
        dcv.load(thing)


@pytest.mark.parametrize(("around", "place"), [(nn.DataParallel, "module"), (torch.compile, "_orig_mod")])
def test_what_stands_around_a_model_is_refused_by_where_the_model_is(around, place, clip):
    """The wrapper's own mode is training, though the model's is not: that is not what is to be mended."""
    with pytest.raises(ModelNameError, match=f"around a CLIP.*the model within: clip.{place}"):
        dcv.load(around(clip))


def test_what_clip_load_gives_is_to_be_taken_apart():
    with pytest.raises(ModelNameError, match=r"came as tuple.*Pass the model itself, which comes first in it"):
        dcv.load((openais(), openais_transform(32)))


@pytest.mark.parametrize("option", ["tokenizer", "preprocess"])
def test_what_belongs_to_a_model_in_memory_is_refused_beside_a_name(option):
    with pytest.raises(ModelNameError, match=f"{option}= for a model by name"):
        dcv.load("bundled-vit", **{option: openai_clip.tokenize})


# Texts and images


def test_a_text_tower_with_words_of_its_own_needs_its_tokenizer():
    config = copy.deepcopy({**TINY, "text_cfg": {**TINY["text_cfg"], "vocab_size": 500, "context_length": 16}})
    clip = open_clip.CLIP(**config).eval()
    with pytest.raises(PromptError, match=r"has 500 words.*Pass tokenizer="):
        dcv.load(clip, preprocess=PREPARED)

    def letters(texts, context_length=16):
        rows = [[1, *(2 + ord(letter) % 400 for letter in text), 499] for text in texts]
        return torch.tensor([(row + [0] * context_length)[:context_length] for row in rows])

    model = dcv.load(clip, tokenizer=letters, preprocess=PREPARED)
    assert model.tokenizer is letters and model.encode_text(["a cat"]).shape == (1, 8)
    for wrong in (5, lambda texts: texts, lambda: 3):
        with pytest.raises(PromptError, match="makes no ids"):
            dcv.load(clip, tokenizer=wrong, preprocess=PREPARED)


def test_a_preparation_that_nobody_knows_is_guessed_aloud(clip):
    del clip.visual.preprocess_cfg
    with pytest.warns(UserWarning, match="shortest, bicubic, mean 0.4815 .* are taken") as warned:
        model = dcv.load(clip)
    assert warned[0].filename == __file__ and "a guess: preparation" in model.provenance["known_from"]
    model = dcv.load(clip, preprocess=model.preprocess, std=(1, 1, 1), resize_mode="squash")
    assert (model.preprocess.std, model.preprocess.resize_mode) == ((1, 1, 1), "squash")


SQUARE, WIDE = (32, 32), (32, 48)
MODES = [("shortest", SQUARE), ("longest", SQUARE), ("squash", SQUARE), ("squash", WIDE), ("shortest", WIDE)]


@pytest.mark.parametrize(("mode", "size"), MODES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_open_clips_transform_is_followed_to_the_pixel(mode, size, interpolation):
    same = {"mean": PREPARED["mean"], "std": PREPARED["std"], "resize_mode": mode, "interpolation": interpolation}
    transform = image_transform(size, is_train=False, fill_color=7, **same)
    config = copy.deepcopy(TINY)
    config["vision_cfg"]["image_size"] = size
    model = dcv.load(open_clip.CLIP(**config).eval(), preprocess=transform)
    assert torch.allclose(model.trace(IMAGE).pixels, transform(IMAGE), rtol=0, atol=1e-6)


def openais_transform(side):
    def _convert_image_to_rgb(image):
        return image.convert("RGB")

    resize = transforms.Resize(side, transforms.InterpolationMode.BICUBIC)
    normalise = transforms.Normalize(PREPARED["mean"], PREPARED["std"])
    steps = [resize, transforms.CenterCrop(32), _convert_image_to_rgb, transforms.ToTensor(), normalise]
    return transforms.Compose(steps)


def test_openais_transform_is_followed_to_the_pixel():
    model = dcv.load(openais(), preprocess=openais_transform(32))
    assert torch.allclose(model.trace(IMAGE).pixels, openais_transform(32)(IMAGE), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (image_transform(32, is_train=True), "holds RandomResizedCrop"),
        (transforms.Compose([transforms.Resize(32)]), "a resize and a Normalize"),
        (transforms.Compose([]), "does nothing"),
        (openais_transform(36), r"cuts \(32, 32\) px out of \(36, 36\) px"),
        (lambda image: image, "is a function"),
    ],
)
def test_transforms_that_cannot_be_followed_are_refused_by_the_step(transform, said):
    with pytest.raises(GeometryError, match=said):
        read_transform(transform)
    with pytest.raises(GeometryError, match=said):
        dcv.load(openais(), preprocess=transform)
