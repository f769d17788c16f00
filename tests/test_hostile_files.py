"""Checkpoints and configurations of every kind, names of no model, and figures of what is no result."""

import json
import os
import shutil

import pytest
import torch
import xarray as xr
from hostile_images import IMAGE
from hypothesis import given
from hypothesis import strategies as st
from judge import fuzz, fuzzed, held, strict, table, unchanged
from safetensors.torch import load_file, save_file

import denseclip_viz as dcv
from denseclip_viz.errors import (
    DenseclipVizError,
    DeviceError,
    ModelNameError,
    OutOfMemoryError,
    RecompositionError,
    WeightsError,
)


@pytest.fixture(scope="module")
def models(load_tiny):
    yield from unchanged(load_tiny)


@pytest.fixture
def copy(model_folder, tmp_path):
    """A folder of one's own with a tiny model, to be broken."""

    def make(kind):
        return shutil.copytree(model_folder(kind), tmp_path / f"my-{kind}")

    return make


def load(folder, **options):
    return dcv.load(str(folder), **{"device": "cpu", **options})


# Checkpoints


def changed(folder, change):
    file = folder / "open_clip_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def config(folder, change):
    file = folder / "open_clip_config.json"
    said = json.loads(file.read_text())
    change(said)
    file.write_text(json.dumps(said))


def again(name):
    return lambda folder: shutil.copy(folder / "open_clip_model.safetensors", folder / name)


def write(name, content):
    def spoil(folder):
        (folder / "open_clip_model.safetensors").unlink()
        (folder / name).write_bytes(content)

    return spoil


class Innocent:
    def __reduce__(self):
        return os.getcwd, ()


def dump(value):
    import io

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def vision(**more):
    return lambda folder: config(folder, lambda said: said["model_cfg"]["vision_cfg"].update(more))


def preprocess(**more):
    return lambda folder: config(folder, lambda said: said["preprocess_cfg"].update(more))


FOLDERS = {
    "no weights": (lambda f: (f / "open_clip_model.safetensors").unlink(), WeightsError),
    "two weights": (again("open_clip_2.bin"), None),
    "two alike": (again("open_clip_2.safetensors"), WeightsError),
    "empty weights": (write("w.safetensors", b""), WeightsError),
    "garbage": (write("w.safetensors", bytes(range(256)) * 9), WeightsError),
    "a length beyond the end": (write("w.safetensors", b"\xff" * 8 + b"{}"), WeightsError),
    "garbage in .pt": (write("w.pt", b"PK\x03\x04garbage"), WeightsError),
    "an empty pickle": (write("w.bin", b""), WeightsError),
    "code": (write("w.pt", dump({"a": Innocent()})), WeightsError),
    "no dictionary": (write("w.pt", dump([torch.zeros(3)])), WeightsError),
    "one tensor": (write("w.pt", dump(torch.zeros(3))), WeightsError),
    "numbers": (write("w.pt", dump({"a": 3})), WeightsError),
    "an empty dictionary": (write("w.pt", dump({})), WeightsError),
    "keys that are numbers": (write("w.pt", dump({3: torch.zeros(3)})), WeightsError),
    "of something else": (write("w.pt", dump({"linear.weight": torch.zeros(3)})), WeightsError),
    "a tensor is missing": (lambda f: changed(f, lambda t: t.pop("visual.proj")), WeightsError),
    "a tensor too many": (lambda f: changed(f, lambda t: t.update(extra=torch.zeros(1))), WeightsError),
    "another shape": (lambda f: changed(f, lambda t: t.update({"visual.proj": torch.zeros(5, 7)})), WeightsError),
    "no configuration": (lambda f: (f / "open_clip_config.json").unlink(), ModelNameError),
    "an empty configuration": (lambda f: (f / "open_clip_config.json").write_text(""), ModelNameError),
    "a configuration in bytes": (lambda f: (f / "open_clip_config.json").write_bytes(b"\xff\xfe\0"), ModelNameError),
    "a list": (lambda f: (f / "open_clip_config.json").write_text("[]"), ModelNameError),
    "no model in it": (lambda f: config(f, lambda said: said.pop("model_cfg")), ModelNameError),
    "no vision": (lambda f: config(f, lambda said: said["model_cfg"].pop("vision_cfg")), ModelNameError),
    "vision is a number": (lambda f: config(f, lambda said: said["model_cfg"].update(vision_cfg=3)), ModelNameError),
    "layers are a text": (vision(layers="three"), ModelNameError),
    "no layers": (vision(layers=-1), DenseclipVizError),
    "width -8": (vision(width=-8), DenseclipVizError),
    "a patch of 0": (vision(patch_size=0), DenseclipVizError),
    "a patch beyond the image": (vision(patch_size=99), DenseclipVizError),
    "an option that nobody knows": (vision(colour="red"), ModelNameError),
    "another pooling": (vision(pool_type="none"), DenseclipVizError),
    "a timm model that there is not": (vision(timm_model_name="nothing"), DenseclipVizError),
    "a resize mode": (preprocess(resize_mode="stretch"), DenseclipVizError),
    "an interpolation": (preprocess(interpolation="nearest"), DenseclipVizError),
    "two means": (preprocess(mean=[0.5, 0.5]), DenseclipVizError),
    "a deviation of 0": (preprocess(std=[0, 1, 1]), DenseclipVizError),
    "mean as text": (preprocess(mean="grey"), DenseclipVizError),
}  # fmt: skip


@table(FOLDERS)
def test_folders_that_hold_no_model(copy, value, due):
    folder = copy("vit")
    value(folder)
    held(lambda: load(folder).trace(IMAGE), due)


NAMES = {
    "nothing": (None, ModelNameError),
    "a number": (5, ModelNameError),
    "bytes": (b"RN50", ModelNameError),
    "empty": ("", ModelNameError),
    "white space": (" ", ModelNameError),
    "a null": ("\0", ModelNameError),
    "almost": ("RN-50", ModelNameError),
    "a surrogate": ("\udcff", ModelNameError),
    "a letter": ("x" * 10_000, ModelNameError),
    "a hub": ("hf-hub:nobody/nothing", WeightsError),
    "no tokenizer here": ("ViT-B-16-SigLIP", DenseclipVizError),
}


@table(NAMES)
def test_names_of_no_model(value, due):
    held(lambda: dcv.load(value, pretrained="random", device="cpu"), due)


OPTIONS = {
    "pretrained: a number": ({"pretrained": 5}, WeightsError),
    "pretrained: bytes": ({"pretrained": b"x"}, WeightsError),
    "pretrained: empty": ({"pretrained": ""}, DenseclipVizError),
    "pretrained: unknown": ({"pretrained": "openia"}, DenseclipVizError),
    "pretrained: a null": ({"pretrained": "\0"}, DenseclipVizError),
    "pretrained: missing": ({"pretrained": "missing.safetensors"}, WeightsError),
    "pretrained: a folder": ({"pretrained": "/"}, WeightsError),
    "device: unknown": ({"device": "tpu"}, DeviceError),
    "device: a number": ({"device": 99}, DeviceError),
    "device: empty": ({"device": ""}, DeviceError),
    "device: too many": ({"device": "cuda:99"}, DeviceError),
    "dtype: unknown": ({"dtype": "fp8"}, DeviceError),
    "dtype: a number": ({"dtype": 16}, DeviceError),
    "dtype: whole numbers": ({"dtype": torch.int8}, DeviceError),
    "dtype: fp16 on the CPU": ({"dtype": "fp16"}, DeviceError),
    "preset: unknown": ({"preset": "paper"}, ModelNameError),
    "preset: a number": ({"preset": 5}, ModelNameError),
    "activation: unknown": ({"activation": "relu"}, ModelNameError),
    "activation: True": ({"activation": True}, ModelNameError),
    "eps: 0": ({"layer_norm_eps": 0}, ModelNameError),
    "eps: a text": ({"layer_norm_eps": "1e-6"}, ModelNameError),
    "eps: NaN": ({"layer_norm_eps": float("nan")}, ModelNameError),
    "mean: one": ({"mean": 0.5}, ModelNameError),
    "mean: texts": ({"mean": ("a", "b", "c")}, ModelNameError),
    "std: below zero": ({"std": (-1, 1, 1)}, ModelNameError),
    "std: infinite": ({"std": (1, 1, float("inf"))}, ModelNameError),
}


@table(OPTIONS)
def test_options_of_load(model_folder, value, due):
    held(lambda: load(model_folder("vit"), **value), due)


def test_weights_of_the_other_family(model_folder):
    other = model_folder("vit") / "open_clip_model.safetensors"
    held(lambda: load(model_folder("resnet"), pretrained=other), WeightsError)


@fuzz
@given(data=st.data())
def test_checkpoints_with_broken_bytes(model_folder, tmp_path_factory, data):
    content = bytearray((model_folder("vit") / "open_clip_model.safetensors").read_bytes())
    for place in data.draw(st.lists(st.integers(0, 4000), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("broken") / "w.safetensors"
    file.write_bytes(content[: data.draw(st.sampled_from([len(content), 3, 999, 100_000]))])
    fuzzed(lambda: load(model_folder("vit"), pretrained=file).trace(IMAGE))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("entry", ["logit_scale", "text_projection", "visual.conv1.weight"])
def test_weights_that_are_no_numbers_are_refused_by_the_name_of_the_entry(copy, entry, number):
    folder = copy("resnet")
    changed(folder, lambda tensors: tensors[entry].fill_(number))
    with pytest.raises(WeightsError, match=entry):
        load(folder)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_weights_beyond_what_can_be_computed_are_found_out(copy, kind):
    folder = copy(kind)
    changed(folder, lambda tensors: tensors["visual.conv1.weight"].fill_(1e38))
    held(lambda: load(folder).trace(IMAGE), RecompositionError)
    changed(folder, lambda tensors: tensors["text_projection"].fill_(1e38))
    held(lambda: load(folder).encode_text(["a cat"]), WeightsError)


def test_a_tower_that_says_nothing_is_found_out(copy):
    folder = copy("vit")
    changed(folder, lambda tensors: tensors["visual.proj"].zero_())
    model = load(folder)
    held(lambda: model.compare(IMAGE, ["a cat", "grass"]), WeightsError)
    held(lambda: model.classify(IMAGE, ["a cat", "grass"]), WeightsError)
    assert (model.similarity(IMAGE, ["a cat", "grass"]) == 0).all()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_ends_is_said_with_the_knob(load_tiny, error):
    model = load_tiny("vit")

    def full(module, inputs):
        raise error

    model.clip.visual.register_forward_pre_hook(full)
    with pytest.raises(OutOfMemoryError, match="batch_size"):
        model.trace(IMAGE)
    with pytest.raises(OutOfMemoryError, match="number of images"):
        model.encode_image(torch.zeros(1, 3, *model.preprocess.size))


# Figures


@pytest.mark.parametrize("name", ["compare", "heads", "layers", "segments"])
@pytest.mark.parametrize("result", [xr.Dataset(), xr.DataArray(3), "maps", xr.Dataset({"dense": 3})])
def test_figures_of_what_is_no_result(name, result):
    held(lambda: getattr(dcv.plot, name)(result), DenseclipVizError)


@pytest.mark.parametrize("options", [
    {"prompts": []}, {"prompts": "a dog"}, {"prompts": ["a cat", 3]}, {"template": "nothing"}, {"template": 3},
    {"interpolation": "cubic"}, {"interpolation": None},
])  # fmt: skip
def test_options_of_a_figure(models, options):
    both = models["vit"].compare(IMAGE, ["a cat", "grass"])
    held(lambda: dcv.plot.compare(both, **options), DenseclipVizError)


@pytest.mark.parametrize(
    "text", ["$x$ \\frac{ %s", "\x1b[31mred", "고양이 🐈", "\u202eright", "<b>&amp;</b>", "x" * 70]
)
def test_prompts_of_every_kind_are_drawn_and_kept(models, tmp_path, text):
    maps = models["vit"].similarity(IMAGE, [text, "grass"])
    with strict():
        dcv.plot.save(dcv.plot.grid(maps), tmp_path / "maps.svg")
    assert (tmp_path / "maps.svg").stat().st_size > 1000
