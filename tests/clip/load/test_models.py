"""The models that can be named: every row of the table, from data that agrees with what open_clip builds; folders."""

import open_clip
import pytest
import torch
from checkpoint_files import write_folder
from hypothesis import given
from hypothesis import strategies as st

import denseclip_viz as dcv
from denseclip_viz.clip.load import models as listing
from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.load.models import UNSUPPORTED, describe, fitting_models, known_models
from denseclip_viz.clip.load.weights import Drawn
from denseclip_viz.clip.text.text_towers import trimming_of_config
from denseclip_viz.errors import ModelNameError, WeightsError

RESNET, CLASS_TOKEN, MEAN, LATENT_QUERY = "ResNet attention pool", "ViT class token", "mean", "latent query"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


def test_the_known_models_are_open_clips_with_their_families():
    models = known_models()
    assert list(models) == [
        name for name in open_clip.list_models() if "vision_cfg" in open_clip.get_model_config(name)
    ]
    assert {name for name, model in models.items() if model["family"] == RESNET} == {
        f"RN{size}{end}" for size in ("50", "101", "50x4", "50x16", "50x64") for end in ("", "-quickgelu")
    }
    assert models["ViT-B-16"]["family"] == CLASS_TOKEN and models["ViT-B-16"]["image_size"] == [224, 224]
    assert {models[name]["family"] for name in ("ViT-B-16-SigLIP", "coca_ViT-B-32")} == {LATENT_QUERY}
    assert {models[name]["family"] for name in ("convnext_base", "ViT-L-14-CLIPA")} == {MEAN}
    assert models["RN50"]["needs"] == "" and models["roberta-ViT-B-32"]["needs"] == "transformers"
    assert all(isinstance(model["embed_dim"], int) and len(model["image_size"]) == 2 for model in models.values())


def test_a_tower_that_nobody_knows_is_not_supported_and_says_so():
    vision = {"timm_model_name": "resnet18", "timm_pool": "", "timm_proj": "linear", "image_size": 32}
    facts = describe({"embed_dim": 8, "vision_cfg": vision, "text_cfg": {"width": 16, "heads": 2, "layers": 1}})
    assert facts["family"] == UNSUPPORTED and facts["grid"] == []


def test_the_sizes_of_every_supported_model_are_told_apart():
    for name, model in known_models().items():
        config = open_clip.get_model_config(name)
        if model["family"] not in (RESNET, CLASS_TOKEN) or model["needs"] or config.pop("custom_text", False):
            continue
        if "text_arch" in config["text_cfg"] or "timm_model_name" in config["vision_cfg"]:
            continue
        with torch.device("meta"), Drawn(filled=False):
            clip = open_clip.CLIP(**config)
        fits = fitting_models({key: tuple(tensor.shape) for key, tensor in clip.state_dict().items()})
        (fit,) = fits  # of two that differ in the activation alone the plain one
        assert fit in (name, name.removesuffix("-quickgelu"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-61", "ViT-B-16"),
        ("vit-b/16", "ViT-B-16"),
        ("rn50", "RN50"),
        ("", "no model ''"),
        ("   ", "no model"),
        ("quetzalcoatl", r"models\(\) lists them"),
        ("openai/clip-vit-large-patch14", 'write "hf-hub:openai/clip-vit-large-patch14"'),
        (16, "came as int"),
        (torch.nn.Identity(), "came as Identity. Expected a string, or a model in memory"),
        (None, "came as NoneType"),
        ("local-dir:nowhere", "no open_clip_config.json"),
    ],
)
def test_unknown_names_are_answered_with_the_closest(name, said):
    with pytest.raises(ModelNameError, match=said):
        load_clip(name, pretrained="random")


@given(name=st.text(max_size=12) | st.text().map(lambda text: text * 3000), pretrained=st.text() | st.integers())
def test_whatever_is_typed_is_an_error_of_ours(name, pretrained):
    with pytest.raises(ModelNameError):
        load_clip(f"{name}?", pretrained="random")
    with pytest.raises((ModelNameError, WeightsError)):
        load_clip("RN50", pretrained=pretrained)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"model_cfg": 3}',
        '{"model_cfg": {"embed_dim": 8}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {"colour": 3}, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": "x", "vision_cfg": {}, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": 5, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": 5}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {"width": -8}, "text_cfg": {}}}',
    ],
)
def test_broken_configurations_are_an_error_of_ours(text, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelNameError, match="no model"):
        load_clip(tmp_path, pretrained="random")


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


@pytest.mark.parametrize("pattern", [None, 5, ["ViT-B*"], b"ViT-B*"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ModelNameError, match="a name or a pattern"):
        dcv.models(pattern)
