"""Scenes as folders of files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from denseclip_viz import toyworld
from denseclip_viz.errors import OutputError, PromptError


def test_an_export_holds_the_images_masks_captions_and_classes(tmp_path):
    folder = toyworld.export(tmp_path / "toy", 3, split="test", size=64)
    scenes = toyworld.dataset(3, "test", size=64)
    classes = (folder / "classes.txt").read_text().splitlines()
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert classes == list(toyworld.vocabulary().classes) and len(lines) == 3
    for scene, line in zip(scenes, lines, strict=True):
        assert (np.asarray(Image.open(folder / line["image"])) == scene.image).all()
        assert (np.asarray(Image.open(folder / line["mask"])) == scene.labels()).all()
        assert all(scene.says(caption) for caption in line["captions"])
        assert [thing["kind"] for thing in line["things"]] == [thing.kind for thing in scene.things]


def test_an_export_never_overwrites(tmp_path):
    (tmp_path / "toy").mkdir()
    with pytest.raises(OutputError, match="toy exists"):
        toyworld.export(tmp_path / "toy", 1, size=64)
    with pytest.raises(OutputError, match="missing is not a folder"):
        toyworld.export(tmp_path / "missing" / "toy", 1, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize(
    ("stop", "due"), [(OSError("disk full"), OutputError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_export_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, stop, due):
    saved = Image.Image.save
    calls = []

    def save(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 4:
            raise stop
        return saved(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(due):
        toyworld.export(tmp_path / "toy", 3, size=64)
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_does_not_exist_writes_nothing(tmp_path):
    with pytest.raises(PromptError, match="'all'"):
        toyworld.export(tmp_path / "toy", 1, split="all")
    assert list(tmp_path.iterdir()) == []
