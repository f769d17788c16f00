"""Prompts that are marked as background, from the front door to maps, tables and segmentations."""

import numpy as np
import pytest

import denseclip_viz as dcv
from denseclip_viz.maps.tables import classify_table, compare_table, segment_table

CAR = {"a red car": ["a red car", "a red automobile"]}
PROMPTS = dcv.Prompts(CAR, ["a photo of {}.", "{}"], absent=["a giraffe"], background={"grass": ["grass", "lawn"]})


def test_results_say_which_prompts_are_background(model, image_file):
    both = model.compare(image_file, PROMPTS)
    assert both.prompt.values.tolist() == ["a red car", "grass", "a giraffe"]
    assert both.absent.values.tolist() == [False, False, True]
    assert both.background.values.tolist() == [False, True, False]
    assert model.similarity(image_file, PROMPTS).background.values.tolist() == [False, True, False]
    assert compare_table(both)["background"].tolist() == [False, True, False] * 2
    assert "background" not in classify_table(model.classify(image_file, PROMPTS)).columns


def test_a_prompt_marked_as_background_labels_no_pixel(model, image_file):
    plain = dcv.Prompts({**CAR, "grass": ["grass", "lawn"]}, PROMPTS.templates)
    named = model.segment(image_file, plain, geometry="whole")
    marked = model.segment(image_file, PROMPTS, geometry="whole")
    expected = np.where((named.labels == 1) | (marked.labels == -1), -1, named.labels)
    assert (marked.labels.values == expected).all() and "best prompt is grass" in marked.attrs["background"]
    assert set(np.unique(marked.labels)) <= {-1, 0}
    assert segment_table(marked)["label"].tolist() == ["(background)", "a red car", "grass"]


def test_background_prompts_and_a_threshold_go_together(model, image_file):
    result = model.segment(image_file, PROMPTS, geometry="whole", background=1.0)
    words = "background: best prompt is grass or share of the prompts given below 1 or cosine not above"
    assert result.attrs["background"].startswith(words)
    with pytest.raises(dcv.DenseclipVizError, match="background"):
        model.segment(image_file, PROMPTS, background=[3])
