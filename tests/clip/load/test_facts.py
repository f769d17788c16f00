"""What belongs to a name and tag is not lost when the weights come from a file: activation, mean, std, resizing."""

import warnings
from dataclasses import asdict
from functools import partial

import open_clip
import pytest
import torch
from checkpoint_files import TINY, add_name, gates, state, write_cache, write_config
from open_clip.transform import PreprocessCfg
from safetensors.torch import save_file

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.load.facts import FACTS, OPENAI_MARKS, facts_of, warn_undecided
from denseclip_viz.clip.load.models import known_models
from denseclip_viz.clip.load.pretrained import Weights
from denseclip_viz.clip.load.source import Source, find_source
from denseclip_viz.errors import ModelNameError

FILE = Weights("weights.safetensors", None, {})
USUAL = asdict(PreprocessCfg())
OPENAI = {"activation": "quickgelu", **{fact: USUAL[fact] for fact in FACTS[1:]}}
SQUASH = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


@pytest.fixture
def file(tmp_path):
    save_file(state(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def openai_file(tmp_path):
    """What `torch.jit.load(FILE).state_dict()` of OpenAI's archives holds: three numbers beside the weights."""
    save_file(state() | {mark: torch.tensor(7) for mark in OPENAI_MARKS}, tmp_path / "openai.safetensors")
    return tmp_path / "openai.safetensors"


def by_tag(name, tag):
    """The facts by tag, straight from open_clip."""
    config = open_clip.get_pretrained_cfg(name, tag)
    quick = config.get("quick_gelu", open_clip.get_model_config(name).get("quick_gelu", False))
    return {"activation": "quickgelu" if quick else "gelu", **{fact: config[fact] for fact in FACTS[1:]}}


def values(facts):
    return {fact: known.value for fact, known in facts.items()}


def pairs():
    return [pair for pair in open_clip.list_pretrained() if pair[0] in known_models()]


def test_by_tag_the_facts_are_the_tags():
    for name, tag in pairs():
        weights = Weights(tag, None, open_clip.get_pretrained_cfg(name, tag))
        assert values(facts_of(find_source(name), weights, ())) == by_tag(name, tag), (name, tag)


def test_by_file_they_are_those_that_all_tags_agree_on_and_what_they_do_not_is_a_choice_that_is_named():
    undecided = {}
    for name in {name for name, _ in pairs()}:
        tags = [by_tag(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
        facts = facts_of(find_source(name), FILE, ())
        for fact, known in facts.items():
            if len(said := {tag[fact] for tag in tags}) == 1:
                assert {known.value} == said and known.origin == f"all tags of {name}", (name, fact)
            else:
                assert said == set(known.choices) and known.origin == "open_clip's default", (name, fact)
                undecided.setdefault(fact, set()).add(name)
    assert undecided["activation"] == {"ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-H-14", "ViT-bigG-14"}
    assert undecided["mean"] == undecided["std"] == {"ViT-L-14"}
    assert undecided["resize_mode"] == {"ViT-H-14", "ViT-H-14-quickgelu"} and "interpolation" not in undecided


def test_names_whose_own_configuration_and_tags_differ_follow_the_tags_and_leave_the_choice():
    contrary = {"RN50", "RN50x4", "RN50x16", "RN50x64", "RN101", "ViT-L-14-336", "ViT-H-14-378", "ViT-H-14-worldwide"}
    found = set()
    for name in known_models():
        known = facts_of(find_source(name), FILE, ())["activation"]
        if known.origin.startswith("all tags") and len(known.choices) > 1:
            assert known.value == "quickgelu" and known.choices["gelu"] == ["the name's own configuration"]
            found.add(name)
    assert found == contrary


def test_openais_entries_mean_its_training_whatever_the_name():
    for name in known_models():
        facts = facts_of(find_source(name), FILE, {"logit_scale", *OPENAI_MARKS})
        assert values(facts) == OPENAI and not any(known.choices for known in facts.values())


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "PE-Core-B-16", "MobileCLIP-S1", "ViT-L-14-CLIPA"])
def test_a_folder_that_is_silent_on_its_images_is_prepared_as_its_architecture(name, tmp_path):
    source = Source("mine", open_clip.get_model_config(name), tmp_path)
    facts = facts_of(source, FILE, ())
    assert values(facts) == by_tag(name, open_clip.list_pretrained_tags_by_model(name)[0])
    assert facts["mean"].origin.startswith("all tags of") and name in facts["mean"].origin
    own = facts_of(Source("mine", source.config, tmp_path, {"mean": [0.1, 0.2, 0.3]}), FILE, ())
    assert own["mean"].value == [0.1, 0.2, 0.3] and own["mean"].origin == "the folder's configuration"
    assert own["std"] == facts["std"]


@pytest.mark.parametrize("name", ["RN50", "ViT-B-32"])
def test_a_folder_that_is_silent_on_its_activation_means_gelu_unless_the_file_is_openais(name, tmp_path):
    source = Source("mine", open_clip.get_model_config(name), tmp_path)
    silent = facts_of(source, FILE, ())["activation"]
    assert silent.value == "gelu" and not silent.choices
    assert facts_of(source, FILE, OPENAI_MARKS)["activation"].value == "quickgelu"
    loud = Source("mine", {**source.config, "quick_gelu": False}, tmp_path)
    assert facts_of(loud, FILE, OPENAI_MARKS)["activation"].value == "gelu"


def test_a_file_is_prepared_as_by_its_tag(named, file, tmp_path):
    cache = write_cache(tmp_path / "cache")
    name = named(one={"quick_gelu": True, **SQUASH}, two={"quick_gelu": True, **SQUASH})
    with pytest.warns(UserWarning, match="the name's own configuration"):
        by_file = load_clip(name, pretrained=file)
    tagged, random = load_clip(name, pretrained="one", cache_dir=cache), load_clip(name, pretrained="random")
    assert by_file.preprocess == tagged.preprocess == random.preprocess
    assert gates(by_file.clip) == gates(tagged.clip) == gates(random.clip) == {"QuickGELU"}
    assert by_file.provenance["preprocess"] == tagged.provenance["preprocess"]
    assert "bilinear, mean 0.5" in by_file.provenance["preprocess"]
    everything = "activation, mean, std, interpolation, resize_mode"
    of_images = "all tags of Tiny-8: mean, std, interpolation, resize_mode"
    assert by_file.provenance["known_from"] == f"all tags of Tiny-8 (undecided): activation; {of_images}"
    assert tagged.provenance["known_from"] == f"the tag one: {everything}"


def test_a_file_of_openais_is_loaded_as_it_was_trained_without_a_word(named, openai_file):
    name = named(one={"quick_gelu": True}, two=SQUASH)
    loaded = load_clip(name, pretrained=openai_file)
    assert gates(loaded.clip) == {"QuickGELU"} and loaded.preprocess.resize_mode == "shortest"
    assert loaded.provenance["known_from"].startswith("entries that only OpenAI's files have: activation, mean")


def test_where_nobody_can_know_the_choices_and_their_switches_are_named(named, file):
    name = named(
        one={"quick_gelu": True, "mean": (0.5, 0.5, 0.5)}, two={"resize_mode": "squash", "mean": (0.4, 0.5, 0.6)}
    )
    with pytest.warns(UserWarning) as seen:
        loaded = load_clip(name, pretrained=file)
    (message,) = {str(warning.message) for warning in seen}
    assert "weights.safetensors does not say" in message and "Tiny-8" in message
    assert "activation='gelu' (two) or activation='quickgelu' (one)" in message
    assert "resize_mode='shortest' (one) or resize_mode='squash' (two)" in message
    assert "(open_clip's default) or mean=(0.5, 0.5, 0.5) (one) or mean=(0.4, 0.5, 0.6) (two)" in message
    assert "interpolation" not in message and "std" not in message
    assert loaded.provenance["activation"] == "gelu" and loaded.preprocess.resize_mode == "shortest"


def test_a_file_in_a_folder_of_the_hub_is_prepared_as_the_configuration_beside_it_says(named, file):
    name = named(one={"quick_gelu": True, "mean": (0.5, 0.5, 0.5)}, two={})
    write_config(file.parent, {**TINY, "quick_gelu": True}, preprocess_cfg={"mean": [0.1, 0.2, 0.3]})
    loaded = load_clip(name, pretrained=file)
    assert gates(loaded.clip) == {"QuickGELU"} and loaded.preprocess.mean == (0.1, 0.2, 0.3)
    assert loaded.provenance["known_from"].startswith("the configuration beside the file: activation, mean;")


def test_each_switch_settles_its_own_choice(named, file):
    name = named(one={"quick_gelu": True, **SQUASH}, two={})
    switches = {"activation": "quickgelu", **SQUASH}
    for left_out in switches:
        given = {switch: value for switch, value in switches.items() if switch != left_out}
        with pytest.warns(UserWarning) as seen:
            load_clip(name, pretrained=file, **given)
        (message,) = {str(warning.message) for warning in seen}
        assert f"{left_out}=" in message and not any(f"{switch}=" in message for switch in given)
    loaded = load_clip(name, pretrained=file, **switches)
    assert gates(loaded.clip) == {"QuickGELU"} and loaded.provenance["known_from"].startswith("asked for: activation")
    assert {fact: getattr(loaded.preprocess, fact) for fact in SQUASH} == SQUASH
    assert "interpolation bilinear, resize_mode squash" in loaded.provenance["switches"]


def test_random_weights_were_never_trained_and_need_no_choice(named):
    name = named(one={"quick_gelu": True, **SQUASH}, two={})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_clip(name, pretrained="random").provenance["activation"] == "gelu"


def test_the_warning_points_at_the_line_that_loads(named, file):
    import denseclip_viz as dcv

    with pytest.warns(UserWarning, match="does not say how it was trained") as seen:
        dcv.load(named(one={"quick_gelu": True}, two={}), pretrained=file, cache=False)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("switch", [{"interpolation": "nearest"}, {"resize_mode": "crop"}, {"interpolation": 3}])
def test_words_that_are_no_choice_are_refused(switch, file, named):
    with pytest.raises(ModelNameError, match=next(iter(switch))):
        load_clip(named(), pretrained=file, **switch)


def test_a_folder_without_a_word_on_its_images_brings_no_warning(tmp_path):
    folder = write_config(tmp_path / "mine", TINY)
    save_file(state(), folder / "open_clip_model.safetensors")
    assert load_clip(folder).provenance["known_from"].startswith("open_clip's default: activation, mean")


def test_nothing_is_warned_of_where_all_is_known():
    facts = facts_of(find_source("PE-Core-B-16"), FILE, ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_undecided(facts, (), file="pe.safetensors", name="PE-Core-B-16")
