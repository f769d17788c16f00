"""What a notebook shows of a model, a trace, prompts and a scene."""

import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.html import repr_html

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


class Shown(HTMLParser):
    """The tags and the text of a page; a tag that is not closed fails."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def things(load_tiny):
    model = load_tiny("vit")
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return {
        "model": model,
        "trace": model.trace(image, layers="*", keys="key"),
        "prompts": dcv.Prompts(
            {"a car": ["a car", "a cab"], "grass": "grass"}, "imagenet-80", absent="a whale", articles="right"
        ),
        "scene": dcv.toyworld.scene("a red taxi on a road", 128),
    }


FACTS = {
    "model": ["Model ", "class token", "layers", "million", "next: model.trace("],
    "trace": [
        "Trace of array 40 x 60",
        "global_embedding (D)24",
        "40 × 60 pixels",
        "keys",
        "MB",
        "next: model.compare(",
    ],
    "prompts": [
        "3 prompts (4 wordings) × 80 templates = 320 texts",
        "(absent)",
        "first text",
        "next: model.similarity(",
    ],
    "scene": ["red taxi", "road", "128 × 128 pixels", "next: model.compare(scene"],
}


@pytest.mark.parametrize("kind", FACTS)
def test_it_says_what_it_is_how_large_and_what_comes_next(things, kind):
    text = Shown(things[kind]._repr_html_()).text
    assert [fact for fact in FACTS[kind] if fact not in text] == []


@pytest.mark.parametrize("kind", FACTS)
def test_it_needs_nothing_from_anywhere_and_takes_the_colours_of_the_page(things, kind):
    page = things[kind]._repr_html_()
    shown = Shown(page)
    images = [attrs["src"] for tag, attrs in shown.tags if tag == "img"]
    assert all(source.startswith("data:image/") for source in images)
    assert len(images) == (kind in ("trace", "scene"))
    plain = re.sub(r"data:[^\"]*", "", page)
    assert "http" not in plain and "<script" not in plain and not re.search(r"color|#[0-9a-f]{3}|rgb\(", plain)


@pytest.mark.parametrize("kind", FACTS)
def test_it_is_small(things, kind):
    assert len(things[kind]._repr_html_()) < (40_000 if kind in ("trace", "scene") else 4000)


@pytest.mark.parametrize("kind", FACTS)
def test_it_costs_less_than_five_milliseconds_beside_the_thumbnail(things, kind, monkeypatch):
    from denseclip_viz import trace
    from denseclip_viz.toyworld import scenes

    for module in (trace, scenes):
        monkeypatch.setattr(module, "thumbnail", lambda image, **options: "data:,")

    def seconds():
        began = time.perf_counter()
        things[kind]._repr_html_()
        return time.perf_counter() - began

    assert min(seconds() for _ in range(30)) < 5e-3


def test_no_forward_pass_is_run_for_it(load_tiny, monkeypatch):
    model = load_tiny("resnet")

    def run(*_):
        raise AssertionError("a layer ran")

    for module in model.clip.modules():
        module.register_forward_pre_hook(run)
    assert "attention pool" in model._repr_html_()


def test_random_weights_are_said_on_models_and_traces(load_tiny):
    model = load_tiny("vit", pretrained="random")
    trace = model.trace(np.zeros((32, 32, 3), np.uint8))
    assert all("random weights" in Shown(thing._repr_html_()).text for thing in (model, trace))
    assert "random weights" not in load_tiny("vit")._repr_html_()


def test_what_a_user_typed_is_text(things, tmp_path):
    prompts = dcv.Prompts([HOSTILE, "b"], f"{HOSTILE} {{}}", absent=f"{HOSTILE}!")
    Image.new("RGB", (40, 40)).save(tmp_path / "<b>&.png")
    trace = things["model"].trace(tmp_path / "<b>&.png")
    for page, typed in ((prompts._repr_html_(), HOSTILE[:27]), (trace._repr_html_(), "<b>&.png")):
        shown = Shown(page)
        assert typed in shown.text and all(set(attrs) <= {"style", "src", "alt"} for _, attrs in shown.tags)
        assert all(attrs.get("src", "data:").startswith("data:") for _, attrs in shown.tags)


def test_every_part_is_escaped():
    shown = Shown(repr_html(HOSTILE, {HOSTILE: HOSTILE}, after=HOSTILE, image=HOSTILE, warning=HOSTILE))
    assert shown.text.count(HOSTILE) == 5
    assert [tag for tag, _ in shown.tags].count("img") == 1  # the image itself


def test_a_deep_tower_lists_its_first_layers_and_its_last(things):
    text = Shown(repr_html("x", {"layers": "a"})).text
    assert "next" not in text and "layersa" in text
    trace = Shown(things["trace"]._repr_html_()).text
    assert "…" in trace and f"({len(things['trace'].names)} in all)" in trace


def test_every_family_and_every_way_of_feeding_has_one(model, tmp_path):
    image = np.zeros((70, 90, 3), np.uint8)
    assert model.tower.family in Shown(model._repr_html_()).text
    for way in ("native", "whole", "tiles"):
        assert way in Shown(model.trace(image, geometry=way)._repr_html_()).text


def test_an_align_has_one_too(tmp_path):
    import align_models

    model = dcv.load(f"align:{align_models.write(tmp_path / 'tiny-align')}", device="cpu")
    assert "mean" in Shown(model._repr_html_()).text
