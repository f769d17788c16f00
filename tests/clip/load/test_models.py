"""The table of models: every name, from data that agrees with what open_clip builds."""

import open_clip
import pytest

import denseclip_viz as dcv
from denseclip_viz.clip.load import models as listing
from denseclip_viz.clip.load.models import UNSUPPORTED, describe, known_models
from denseclip_viz.clip.text.text_towers import trimming_of_config
from denseclip_viz.errors import ModelNameError


def test_every_model_has_a_row_and_nothing_is_built_for_it(monkeypatch):
    monkeypatch.setattr(listing, "describe", lambda config: pytest.fail(f"{config} was built"))
    table = dcv.models()
    assert list(table.index) == list(known_models())
    assert UNSUPPORTED not in set(table.pooling) and table.pooling.nunique() == 4
    assert table.drop(columns="text_parameters").notna().all(axis=None)


@pytest.mark.parametrize("name", ["RN50", "ViT-S-32-alt", "convnext_tiny", "MobileCLIP-S1", "PE-Core-T-16-384"])
def test_a_row_agrees_with_the_towers_that_open_clip_builds(name):
    assert describe(open_clip.get_model_config(name)) == known_models()[name]


def test_what_a_configuration_says_by_itself_is_in_every_row():
    for name, facts in known_models().items():
        config, trimming = open_clip.get_model_config(name), trimming_of_config(open_clip.get_model_config(name))
        assert (facts["text"], facts["trimmed"]) == (trimming.kind, trimming.exact)
        assert facts["embed_dim"] == config["embed_dim"]
        assert facts["image_size"][0] == config["vision_cfg"].get("image_size", 224)


def test_a_model_that_the_table_does_not_know_is_built(monkeypatch):
    monkeypatch.setattr(listing, "_table", dict)
    assert known_models("ViT-S-32-alt")["ViT-S-32-alt"]["grid"] == [7, 7]


def test_a_tag_says_which_activation_its_weights_want():
    tags = dcv.models("ViT-B-16").loc["ViT-B-16", "tags"]
    assert "openai (QuickGELU)" in tags and "laion2b_s34b_b88k (GELU)" in tags


def test_the_text_towers_say_whether_padding_is_left_out():
    table = dcv.models()
    assert table.loc["ViT-B-16", "trimmed"] and not table.loc["ViT-B-16-SigLIP", "trimmed"]
    assert table.loc["roberta-ViT-B-32", "needs"] == "transformers"


def test_a_pattern_that_fits_nothing_is_an_error():
    with pytest.raises(ModelNameError, match="ViT-Q"):
        dcv.models("ViT-Q*")
