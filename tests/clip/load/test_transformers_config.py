"""A folder of transformers that cannot be followed exactly is refused by name, with what to do."""

import importlib.util
import shutil

import pytest
import torch
import transformers_models as made
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers_models import rewrite
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.errors import GeometryError, ModelNameError, WeightsError

CONFIG, IMAGES, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return {kind: made.write(tmp_path_factory.mktemp("models") / kind, kind) for kind in made.CONFIGS}


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of a CLIPModel to break."""
    return shutil.copytree(whole["clip"], tmp_path / "clip")


def config(**changes):
    return lambda folder: rewrite(folder / CONFIG, **changes)


def images(**changes):
    return lambda folder: rewrite(folder / IMAGES, **changes)


def text(name, content):
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def gone(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def tensors(change):
    def damage(folder):
        state = load_file(folder / WEIGHTS)
        change(state)
        save_file(state, folder / WEIGHTS)

    return damage


REFUSED = {
    "a CLAP": (config(model_type="clap"), "type 'clap'.*clip, siglip, siglip2, chinese_clip"),
    "an AltCLIP": (config(model_type="altclip"), "type 'altclip'"),
    "a BLIP": (config(model_type="blip"), "type 'blip'"),
    "a CLIPSeg": (config(model_type="clipseg"), 'type .clipseg.*"ViT-B-16", pretrained="openai"'),
    "an image tower alone": (config(model_type="clip_vision_model"), "the folder of the whole CLIPModel"),
    "a text tower alone": (config(model_type="clip_text_model"), "the folder of the whole CLIPModel"),
    "SigLIP's image tower alone": (config(model_type="siglip_vision_model"), "the whole SiglipModel"),
    "a list of types": (config(model_type=["clip"]), "type ..clip"),
    "another head": (config(architectures=["CLIPForImageClassification"]), "is a CLIPForImageClassification"),
    "towers with projections": (config(architectures=["CLIPVisionModelWithProjection"]), "CLIPVisionModelWithProj"),
    "a number for a head": (config(architectures=7), "is a 7"),
    "quantised": (config(quantization_config={"load_in_4bit": True}), "holds quantised weights"),
    "an adapter": (text("adapter_config.json", "{}"), "adapter of PEFT.*merge_and_unload"),
    "an adapter alone": (lambda f: (text("adapter_config.json", "{}")(f), gone(CONFIG)(f)), "adapter of PEFT"),
    "code of its own": (config(auto_map={"AutoModel": "code.Model"}), "code of its own .auto_map., which is never run"),
    "no configuration": (gone(CONFIG), "no open_clip_config.json"),
    "no JSON": (text(CONFIG, "{"), "config.json cannot be read"),
    "no text": (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe{"), "config.json cannot be read"),
    "a list": (text(CONFIG, "[]"), "the type None"),
    "no type": (config(model_type=None), "the type None"),
    "a word for a number": (config(vision_config__hidden_size="wide"), "describes no CLIPModel"),
    "a word for a tower": (config(text_config="tower"), "describes no CLIPModel"),
    "a width that heads do not share": (config(vision_config__num_attention_heads=5), "describes no CLIPModel"),
    "no heads": (config(text_config__num_attention_heads=0), "describes no "),
    "no channels of colour": (config(vision_config__num_channels=1), "num_channels in vision_config is 1"),
    "two image sizes": (config(vision_config__image_size=[56, 28]), r"image_size in vision_config is .56, 28."),
    "an image of no pixels": (config(vision_config__image_size=0), "image_size in vision_config is 0"),
    "patches as large as two images": (config(vision_config__patch_size=112), "describes no model|does not fit"),
    "a gate that is not known": (config(text_config__hidden_act="relu"), "hidden_act in text_config is 'relu'"),
    "many ends of a text": (config(text_config__eos_token_id=[2, 3]), r"eos_token_id in text_config is .2, 3."),
    "an end that the tokenizer never writes": (config(text_config__eos_token_id=9), "ends no text with the token 9"),
    "fewer words": (config(text_config__vocab_size=99), "518 tokens for a text tower of 99"),
    "another width": (config(projection_dim=19), "does not fit clip .of another shape|text_projection|visual.proj"),
    "more layers": (config(vision_config__num_hidden_layers=3), "missing: visual.transformer.resblocks.2"),
    "no tokenizer": (gone("tokenizer.json"), "holds no tokenizer"),
    "a broken tokenizer": (text("tokenizer.json", "{"), "tokenizer in .* cannot be read"),
    "a tokenizer of its own code": (
        lambda f: rewrite(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Mine", None]}),
        "tokenizer in .* has code of its own .auto_map., which is never run",
    ),
    "padding on the left": (lambda f: rewrite(f / "tokenizer_config.json", padding_side="left"), "pads on the left"),
    "other images": (images(image_processor_type="ViTImageProcessor"), "by a 'ViTImageProcessor'"),
    "images of another size": (images(crop_size={"height": 42, "width": 42}), r".42, 42. px for a tower .* 56 x 56"),
    "no resizing": (images(do_resize=False), "do_resize is False"),
    "images without JSON": (text(IMAGES, "{"), "preprocessor_config.json cannot be read"),
    "images without words": (text(IMAGES, "{}"), "does not say how its images are made ready"),
    "no weights": (gone(WEIGHTS), "no weights file"),
    "empty weights": (text(WEIGHTS, ""), "is empty"),
    "half of the weights": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:999]), "cannot be read"),
    "a tensor too few": (tensors(lambda s: s.pop("vision_model.post_layernorm.bias")), "missing: visual.ln_post.bias"),
    "a query too few": (
        tensors(lambda s: s.pop("text_model.encoder.layers.0.self_attn.q_proj.weight")),
        "missing: transformer.resblocks.0.attn.in_proj_weight",
    ),
    "a tensor too many": (tensors(lambda s: s.update(more=torch.ones(1))), "unexpected: more"),
    "no temperature": (tensors(lambda s: s.pop("logit_scale")), "missing: logit_scale"),
    "no numbers": (tensors(lambda s: s["visual_projection.weight"].fill_(torch.nan)), "nan or infinity.*visual.proj"),
}


@pytest.mark.filterwarnings("ignore:.*does not say how")
@pytest.mark.parametrize(("damage", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_followed_is_refused_by_its_name(damage, said, folder):
    damage(folder)
    with pytest.raises((ModelNameError, WeightsError, GeometryError), match=said):
        dcv.load(folder, device="cpu", cache=False)


OF_OTHERS = {
    "SigLIP of two widths": ("siglip", config(text_config__projection_size=23), "projection_size in text_config is 23"),
    "SigLIP without a pool": ("siglip", config(vision_config__vision_use_head=False), "vision_use_head"),
    "SigLIP with CLIP's weights": ("siglip", config(vision_config__num_hidden_layers=1), "unexpected: visual.trunk.bl"),
    "patches of no square": ("siglip2", config(vision_config__num_patches=15), "num_patches in vision_config is 15"),
    "a BERT of another gate": ("chinese_clip", config(text_config__hidden_act="swoosh"), "describes no model"),
    "a BERT of other heads": ("chinese_clip", config(text_config__num_attention_heads=3), "describes no"),
    "a BERT without words": ("chinese_clip", gone("tokenizer.json"), "holds no tokenizer"),
    "sentences without a model": ("siglip", gone("spiece.model"), "holds no tokenizer"),
    "sentences of a broken model": ("siglip", text("spiece.model", "x"), "tokenizer in .* cannot be read"),
}


@pytest.mark.parametrize(("kind", "damage", "said"), OF_OTHERS.values(), ids=OF_OTHERS)
def test_so_is_what_cannot_be_followed_of_the_other_kinds(kind, damage, said, whole, tmp_path):
    folder = shutil.copytree(whole[kind], tmp_path / kind)
    damage(folder)
    with pytest.raises((ModelNameError, WeightsError, GeometryError), match=said):
        dcv.load(folder, device="cpu", cache=False)


def test_without_the_package_what_is_missing_is_named(folder, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    with pytest.raises(ModelNameError, match=r"CLIPModel .* needs the package transformers.*\[transformers\]"):
        dcv.load(folder)


def test_settings_that_change_what_is_handed_out_and_not_what_is_computed_change_nothing(folder, whole):
    rewrite(folder / CONFIG, torch_dtype="float16", return_dict=False, vision_config__output_hidden_states=True)
    ours, usual = (dcv.load(path, device="cpu", cache=False) for path in (folder, whole["clip"]))
    assert torch.equal(ours.encode_text(["a red car"]), usual.encode_text(["a red car"]))
    assert ours.provenance["dtype"] == "float32"


@pytest.mark.parametrize("damage", ["", "a gate that is not known", "no JSON", "half of the weights", "no tokenizer"])
def test_the_command_line_takes_the_folder_or_says_what_is_wrong_with_it(damage, folder, tmp_path):
    if damage:
        REFUSED[damage][0](folder)
    Image.new("RGB", (70, 60), (200, 30, 30)).save(tmp_path / "red.png")
    run = CliRunner().invoke(
        app, ["classify", str(tmp_path / "red.png"), "-p", "a red car", "-p", "sky", "-m", str(folder)]
    )
    assert "Traceback" not in run.output
    assert run.exit_code == (2 if damage else 0), run.output
    assert run.exception is None or isinstance(run.exception, SystemExit)


def test_a_model_in_memory_is_told_to_be_saved_first():
    with pytest.raises(ModelNameError, match=r"is a CLIPModel.*save_pretrained\(FOLDER\), and pass the FOLDER"):
        dcv.load(made.make("clip"))
