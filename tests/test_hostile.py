"""Whatever comes in: an error of ours that names it, or a right result; and the model stays as it was."""

import numpy as np
import pytest
import torch
import xarray as xr
from hostile import NAN, PATHS, PROMPTS, SEGMENT, TEMPLATES, TENSORS, TRACE
from hostile_images import FILES, IMAGE, IMAGES, NOISE, encoded
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from judge import fuzz, fuzzed, held, right, table, unchanged

import denseclip_viz as dcv
from denseclip_viz.errors import DenseclipVizError, DeviceError, ImageError, LayerError, PromptError
from denseclip_viz.files import save_data
from denseclip_viz.maps.similarity import Formula


@pytest.fixture(scope="module")
def models(load_tiny):
    yield from unchanged(load_tiny)


def test_there_are_more_than_two_hundred_of_them_before_any_that_are_drawn_by_chance():
    assert sum(map(len, (FILES, IMAGES, PROMPTS, TEMPLATES, TRACE, SEGMENT, PATHS, TENSORS))) >= 200


# Images


@table(FILES)
def test_files_of_every_kind(models, tmp_path, value, due):
    ending, content = value
    path = tmp_path / f"image.{ending}"
    path.write_bytes(content)
    for model in models.values():
        held(lambda model=model: model.trace(path), due)
    held(lambda: models["resnet"].compare(path, "a cat"), due)


@table(IMAGES)
def test_images_that_are_no_files(models, tmp_path, monkeypatch, value, due):
    monkeypatch.chdir(tmp_path)
    held(lambda: models["resnet"].trace(value, geometry="whole"), due)
    held(lambda: models["vit"].segment(value, ["a cat", "grass"]), due)


@pytest.mark.parametrize("value", [None, 5, "cat.png", b"cat.png", IMAGE, NOISE, NOISE[..., 0], [None], [IMAGE, 5]])
def test_many_images_that_are_not_many(models, value):
    held(lambda: list(models["vit"].trace_many(value)), ImageError)


def test_a_bad_image_among_good_ones_loses_no_batch_before_it(models):
    traces = models["vit"].trace_many([IMAGE, IMAGE, None], batch_size=2)
    right(next(traces)), right(next(traces))
    held(lambda: next(traces), ImageError)


@fuzz
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
def test_files_with_broken_bytes(models, tmp_path_factory, data, kind):
    content = bytearray(encoded(IMAGE, kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("broken") / "image.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    fuzzed(lambda: models["vit"].trace(path))


@fuzz
@given(
    array=arrays.arrays(
        st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes()),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
    )
)
def test_arrays_of_every_type_and_shape(models, array):
    fuzzed(lambda: models["resnet"].similarity(array, "a cat"))


@fuzz
@given(height=st.integers(1, 90), width=st.integers(1, 90), way=st.sampled_from(["native", "whole", "tiles"]))
def test_every_size_in_every_geometry(models, height, width, way):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for model in models.values():
        fuzzed(lambda model=model: model.compare(model.trace(image, geometry=way), ["a cat", "grass"]))


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (333, 5)])
@pytest.mark.parametrize("way", ["native", "whole", "tiles"])
def test_extreme_ratios(models, size, way):
    image = np.full((*size, 3), 99, np.uint8)
    for model in models.values():
        held(lambda model=model: model.segment(image, ["a cat", "grass"], geometry=way, smooth="cosine"))


# Texts


@table(PROMPTS)
def test_prompts_of_every_kind(models, value, due):
    again = list(value) if hasattr(value, "__next__") else value
    held(lambda: models["vit"].compare(IMAGE, again), due)
    for call in ("similarity", "segment", "classify"):
        held(lambda call=call: getattr(models["resnet"], call)(IMAGE, again), due)


def test_a_generator_of_prompts_is_read_once(models):
    maps = models["vit"].similarity(IMAGE, (text for text in ("a cat", "grass")))
    assert maps.prompt.values.tolist() == ["a cat", "grass"]


@table(TEMPLATES)
def test_templates_of_every_kind(models, value, due):
    held(lambda: models["vit"].similarity(IMAGE, dcv.Prompts(["cat", "grass"], value)), due)


@pytest.mark.parametrize("value", [None, 3, [3], [""], ["x", "x "], b"x", {"x": 1}, "\ud800"])
def test_absent_prompts_that_are_none(value):
    held(lambda: dcv.Prompts("a cat", absent=value), PromptError)


def test_ten_thousand_prompts_are_no_trouble_and_more_labels_than_numbers_are_refused(models):
    many = [f"thing {number}" for number in range(10_000)]
    held(lambda: models["vit"].similarity(IMAGE, many))
    names = [str(number) for number in range(2**15)]
    vectors, trace, formula = torch.ones(len(names), 24), models["vit"].trace(IMAGE), Formula("softmax", 1.0)
    held(lambda: dcv.model.segment.segment(trace, vectors, dcv.Prompts(names), formula), PromptError)


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.text(st.characters()))
nested = st.recursive(anything, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
said = st.one_of(st.text(st.characters(), max_size=40), st.lists(st.text(st.characters(), max_size=20), max_size=5))


@fuzz
@given(prompts=st.one_of(said, nested), templates=st.one_of(said, nested, st.just("none")), absent=said)
def test_prompts_and_templates_of_any_characters(models, prompts, templates, absent):
    fuzzed(lambda: models["vit"].compare(IMAGE, dcv.Prompts(prompts, templates, absent=absent)))


@fuzz
@given(text=st.text(st.characters(), min_size=1, max_size=30))
def test_a_text_of_any_characters_can_be_compared_and_saved(models, tmp_path_factory, text):
    def everything():
        maps = models["vit"].similarity(IMAGE, [text, "grass"])
        path = save_data(maps, tmp_path_factory.mktemp("any") / "maps.nc")
        with xr.open_dataarray(path, engine="h5netcdf") as back:
            assert back.prompt.values.tolist() == [text, "grass"]
        return maps

    fuzzed(everything)


@pytest.mark.parametrize(
    "value", [None, 3, "a cat", b"a cat", [], {"a cat": 1}, ["a", None], [b"a"], [" "], ["x " * 99]]
)
def test_texts_that_cannot_be_encoded(models, value):
    held(lambda: models["vit"].encode_text(value), PromptError)


@pytest.mark.parametrize("truncate", ["no", 1, None])
def test_a_text_is_cut_only_by_a_plain_yes(models, truncate):
    with pytest.raises(PromptError, match="truncate=.*Expected True or False"):
        models["vit"].encode_text(["x " * 99], truncate=truncate)


@pytest.mark.parametrize("switch", ["no", 1, None])
def test_a_switch_is_a_plain_yes_or_no(models, switch, tmp_path):
    model, scenes, shown = models["vit"], [np.zeros((32, 32, 3), np.uint8)], dcv.Canvas()
    both = model.compare(scenes[0], ["a cat", "a dog"])
    for call in (
        lambda: dcv.measure.path_candidates(model, ["a cat"], progress=switch),
        lambda: dcv.measure.disagreement(xr.concat([both.dense] * 2, "template"), centred=switch),
        lambda: dcv.measure.word_attribution(model, scenes[0], "a red cat", gradient=switch),
        lambda: dcv.Canvas(still=switch),
        lambda: dcv.link(shown, dcv.Canvas(), one_scale=switch),
        lambda: dcv.save_html(both, tmp_path / "a.html", linked=switch),
        lambda: dcv.save_html(both, tmp_path / "a.html", one_scale=switch),
        lambda: dcv.plus.train(model, scenes, tmp_path / "run", classes=["a cat"], steps=1, crop=32, resume=switch),
    ):
        with pytest.raises(DenseclipVizError, match="Expected True or False"):
            call()
    assert not any(tmp_path.glob("*.html"))


def test_a_trace_goes_to_no_device_that_is_not_here(models):
    held(lambda: models["vit"].trace(np.zeros((32, 32, 3), np.uint8)).to("gpu"), DeviceError)


# Options


@table(TRACE)
def test_options_of_trace(models, value, due):
    for model in models.values():
        held(lambda model=model: model.trace(NOISE, **value), due)


@table(SEGMENT)
def test_options_of_segment(models, value, due):
    once = {name: list(v) if hasattr(v, "__next__") else v for name, v in value.items()}
    for model in models.values():
        held(lambda model=model: model.segment(IMAGE, ["a cat", "grass"], **once), due)


def test_a_generator_of_background_prompts_is_read_once():
    assert dcv.maps.Background.of(name for name in ["grass", "sky"]).prompts == ("grass", "sky")


@pytest.mark.parametrize("layers", [None, 3, [3], "", b"stem", "nothing", ["all", "nothing"], {"stem": 1}, "blocks.-9"])
def test_layers_of_compare_that_are_not_there(models, layers):
    for model in models.values():
        held(lambda model=model: model.compare(IMAGE, "a cat", layers=layers), LayerError)
        held(lambda model=model: model.trace(IMAGE, layers=model.layers_to_record(layers)), LayerError)


@fuzz
@given(
    name=st.sampled_from(["geometry", "layers", "attention", "keys", "path", "preset", "batch_size"]),
    way=st.sampled_from(["native", "tiles"]),
    value=nested,
)
def test_options_of_trace_of_any_type(models, name, way, value):
    fuzzed(lambda: models["vit"].trace(IMAGE, **{"geometry": way, name: value}))


@fuzz
@given(
    name=st.sampled_from(["geometry", "background", "denoise", "smooth", "preset", "soft", "formula", "independent"]),
    value=nested | st.floats(0, 1) | st.lists(st.sampled_from(["a cat", "grass"])),
)
def test_options_of_segment_of_any_type(models, name, value):
    fuzzed(lambda: models["resnet"].segment(IMAGE, ["a cat", "grass"], **{name: value}))


@pytest.mark.parametrize("options", [
    {"below": 2}, {"below": "x"}, {"below": None}, {"below": NAN}, {"prompts": "sky"}, {"prompts": 3},
    {"cosine": 2}, {"cosine": "x"}, {"cosine": NAN}, {"cosine": True}, {"absent": 1}, {"absent": None},
])  # fmt: skip
def test_background_rules_made_by_hand(options):
    held(lambda: dcv.maps.Background(**options), PromptError)


def test_a_preset_made_by_hand(models):
    held(lambda: dcv.presets.Preset(keys=3), PromptError)
    for options in ({"geometry": 3}, {"path": 3}, {"denoise": "x"}, {"smooth": 3}, {"keys": {"ViT class token": 3}}):
        due = DenseclipVizError if options.keys() - {"keys"} else None
        held(lambda: models["vit"].segment(IMAGE, ["a cat", "b"], preset=dcv.presets.Preset(**options)), due)  # noqa: B023


@pytest.mark.parametrize("pattern", [None, 3, b"stem", "", "nothing", "layer9*", "blocks.-99", ["stem"], "[", "\0"])
def test_patterns_that_name_no_tap(models, pattern):
    def record():
        with models["vit"].record(pattern):
            raise AssertionError("it was taken")

    held(record, LayerError)


@pytest.mark.parametrize("pixels", TENSORS.values(), ids=TENSORS)
def test_pixels_that_are_none(models, pixels):
    held(lambda: models["vit"].encode_image(pixels), ImageError)


# Traces


def test_a_trace_of_another_model_is_refused(models):
    trace = models["resnet"].trace(IMAGE)
    for call in ("compare", "similarity", "segment", "classify"):
        held(lambda call=call: getattr(models["vit"], call)(trace, ["a cat", "grass"]), LayerError)


def test_a_geometry_for_a_image_that_was_fed_already_is_refused(models):
    trace = models["vit"].trace(IMAGE)
    held(lambda: models["vit"].segment(trace, ["a cat", "grass"], geometry="whole"), DenseclipVizError)
