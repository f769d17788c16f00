"""What goes wrong is one line on standard error and exit code 2, before any work where that can be."""

from __future__ import annotations

import pytest
from checkpoint_files import go_offline
from hostile_images import FILES
from stand_in_hub import asked_at, running

COMMANDS = ("compare", "segment", "layers", "classify")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_image_that_is_missing_is_said_before_any_work(refused, command, no_model):
    assert "missing.jpg does not exist" in refused(command, "missing.jpg")
    refused(command, "street.jpg", "missing.jpg")
    refused(command, "n" * 5000)
    refused(command, "/dev/null")


@pytest.mark.parametrize("name", [name for name, (_, due) in FILES.items() if due])
def test_a_image_that_is_none_is_refused_by_name(refused, here, name):
    ending, content = FILES[name][0]
    (here / f"bad.{ending}").write_bytes(content)
    assert f"bad.{ending}" in refused("classify", f"bad.{ending}")


def test_a_folder_without_images_is_refused(refused, here, no_model):
    (here / "empty").mkdir()
    assert "holds no images" in refused("compare", "empty")


@pytest.mark.parametrize("command", ["compare", "segment", "layers"])
@pytest.mark.parametrize("way", [
    "whole:abc", "whole:", "whole:31", "whole:-64", "whole:²", "whole:64.5", "whole:64:64", "tiles:5000", "native:64",
    "", "centre", "Whole", "whole:" + "9" * 5000, "whole: 64",
])  # fmt: skip
def test_a_geometry_that_cannot_be_is_refused_before_any_work(refused, no_model, command, way):
    refused(command, "street.jpg", "--geometry", way)


@pytest.mark.parametrize("prompts", [[""], ["a", " a "], ["\t"], ["word " * 100], ["<end_of_text>"]])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_prompt_that_cannot_be_is_refused(refused, command, prompts):
    refused(command, "street.jpg", prompts=prompts)


@pytest.mark.parametrize("template", ["no place", "{} {}", "imagenet-81", "", "{0}"])
def test_a_template_that_cannot_be_is_refused_before_any_work(refused, no_model, template):
    refused("compare", "street.jpg", "--template", template)


@pytest.mark.parametrize("layer", ["blocks.9", "nothing", "", "blocks.-9", "["])
def test_a_layer_that_is_not_there_is_refused(refused, layer):
    assert "the taps there are" in refused("layers", "street.jpg", "--layer", layer)


@pytest.mark.parametrize("words", [
    ["--background", "1.5"], ["--background", "-1"], ["--background", "nan"], ["--background", "²"],
    ["--background", "sky"], ["--background", ""], ["--background", "0.3", "--background", "0.4"],
    ["--denoise", "2"], ["--denoise", "nan"], ["--smooth", "gaussian"],
])  # fmt: skip
def test_an_option_of_segment_that_cannot_be_is_refused(refused, words):
    refused("segment", "street.jpg", *words)


@pytest.mark.parametrize("words", [
    ["-m", "ViT-B-61", "-w", "random"], ["-m", "ViT-B-16"], ["-m", "ViT-B-16", "-w", "openia"], ["-m", ""],
    ["-m", "RN50", "-w", "missing.safetensors"], ["-m", "nowhere/", "-w", "random"], ["-m", "."],
    ["-m", "RN50", "-w", "random", "--device", "tpu"],
])  # fmt: skip
def test_a_model_that_cannot_be_had_is_refused(refused, words):
    refused("classify", "street.jpg", *words, model=None)


def test_weights_that_are_not_here_are_said_at_once(refused, monkeypatch):
    go_offline(monkeypatch)
    monkeypatch.setattr("denseclip_viz.clip.load.hub.Repository._cached", lambda *_: None)
    message = refused("classify", "street.jpg", "-m", "RN50", "-w", "openai", model=None)
    assert "refused" in message and "Or pass a file with --weights FILE.safetensors, or --weights random" in message


@pytest.mark.parametrize("name", ["hf-hub:someone/nothing", "hf-hub:", "align:someone/nothing"])
def test_a_repository_that_cannot_be_had_is_refused(name, refused):
    with running() as hub, asked_at(hub.url):
        assert "Or pass a folder" in refused("classify", "street.jpg", "-m", name, model=None)


@pytest.mark.parametrize("words", [["--background", "2"], ["--background", "nan"], ["--background", "sky"]])
def test_a_background_that_cannot_be_is_refused_before_a_model_is_loaded(refused, words):
    message = refused("segment", "street.jpg", "-m", "no such model", *words, model=None)
    assert f"--background {words[1]}. Expected a probability from 0 to 1" in message or "'sky'" in message


def test_a_text_that_is_too_long_gets_advice_that_the_command_line_can_follow(refused):
    assert "Shorten it." in refused("segment", "street.jpg", "-p", "very " * 90 + "red")


@pytest.mark.parametrize("words", [["compare"], ["compare", "street.jpg"], ["nothing"], ["segment", "--denoise", "x"]])
def test_a_command_that_is_not_whole_says_where_its_words_are_listed(refused, words):
    assert "--help for all that it takes" in refused(*words, model=None, prompts=())
