"""Every tensor of a published model has its place in the model that is built of its configuration; nothing is lost."""

import copy
import json
import tempfile
from pathlib import Path

import open_clip
import pytest
import torch
import transformers
import transformers_models as made
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip_viz.clip.load.transformers_config import KINDS, describe_folder
from denseclip_viz.clip.load.transformers_names import in_open_clips_names, layout_of, translated
from denseclip_viz.clip.load.transformers_towers import put_in
from denseclip_viz.clip.load.weights import Checkpoint


def tower(width, hidden, heads, layers, **more):
    sizes = {"hidden_size": width, "intermediate_size": hidden}
    return sizes | {"num_attention_heads": heads, "num_hidden_layers": layers} | more


GEMMA = {"vocab_size": 256000}
# What the config.json of published models says, and the name under which open_clip has the same architecture.
PUBLISHED = {
    "openai/clip-vit-base-patch32": (
        {
            "model_type": "clip",
            "projection_dim": 512,
            "text_config": tower(512, 2048, 8, 12, eos_token_id=2),
            "vision_config": tower(768, 3072, 12, 12, patch_size=32),
        },
        "ViT-B-32",
    ),
    "openai/clip-vit-large-patch14-336": (
        {
            "model_type": "clip",
            "projection_dim": 768,
            "text_config": tower(768, 3072, 12, 12, eos_token_id=2),
            "vision_config": tower(1024, 4096, 16, 24, patch_size=14, image_size=336),
        },
        "ViT-L-14-336",
    ),
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": (
        {
            "model_type": "clip",
            "projection_dim": 1280,
            "text_config": tower(1280, 5120, 20, 32, hidden_act="gelu"),
            "vision_config": tower(1664, 8192, 16, 48, patch_size=14, hidden_act="gelu"),
        },
        "ViT-bigG-14",
    ),
    "google/siglip-base-patch16-224": (
        {
            "model_type": "siglip",
            "text_config": {"model_type": "siglip_text_model"},
            "vision_config": {"model_type": "siglip_vision_model"},
        },
        "ViT-B-16-SigLIP",
    ),
    "google/siglip-so400m-patch14-384": (
        {
            "model_type": "siglip",
            "text_config": tower(1152, 4304, 16, 27),
            "vision_config": tower(1152, 4304, 16, 27, image_size=384, patch_size=14),
        },
        "ViT-SO400M-14-SigLIP-384",
    ),
    "google/siglip2-base-patch16-224": (
        {"model_type": "siglip", "text_config": GEMMA, "vision_config": {"image_size": 224}},
        "ViT-B-16-SigLIP2",
    ),
    "google/siglip2-giant-opt-patch16-256": (
        {
            "model_type": "siglip",
            "text_config": tower(1152, 4304, 16, 27, projection_size=1536, **GEMMA),
            "vision_config": tower(1536, 6144, 16, 40, image_size=256),
        },
        "ViT-gopt-16-SigLIP2-256",
    ),
    "google/siglip2-base-patch16-naflex": (
        {"model_type": "siglip2", "text_config": GEMMA, "vision_config": {"num_patches": 256}},
        "ViT-B-16-SigLIP2-256",
    ),
    "OFA-Sys/chinese-clip-vit-base-patch16": (
        {
            "model_type": "chinese_clip",
            "text_config": {"vocab_size": 21128},
            "vision_config": tower(768, 3072, 12, 12, patch_size=16),
        },
        "",
    ),
    "OFA-Sys/chinese-clip-vit-huge-patch14": (
        {
            "model_type": "chinese_clip",
            "projection_dim": 1024,
            "text_config": tower(1024, 4096, 16, 24, vocab_size=21128),
            "vision_config": tower(1280, 5120, 16, 32, patch_size=14),
        },
        "",
    ),
}


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.startswith("logit_")}


def theirs(config):
    """What transformers would save, of no memory."""
    name = KINDS[config["model_type"]].name
    whole = getattr(transformers, name.replace("Model", "Config")).from_dict(copy.deepcopy(config))
    with torch.device("meta"):
        return getattr(transformers, name)(whole).state_dict()


def built(config, parts=(), *, device="meta"):
    """What open_clip builds of a configuration, of no memory unless a device is named."""
    config = copy.deepcopy(config)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    with torch.device(device):
        clip = kind(**config)
        put_in(clip, dict(parts))
    return clip


@pytest.mark.parametrize(("config", "name"), PUBLISHED.values(), ids=PUBLISHED)
@pytest.mark.filterwarnings("ignore:.*meta")
def test_the_tensors_of_published_models_are_those_of_what_is_built(config, name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    described = describe_folder(tmp_path)
    tensors = shapes(translated(theirs(config)))
    assert tensors == shapes(built(described.config, described.parts).state_dict())
    assert ("logit_bias" in theirs(config)) == ("init_logit_bias" in described.config)
    if name:  # the architecture by that name takes the same file
        named = built(open_clip.get_model_config(name)).state_dict()
        assert shapes(named) in (tensors, {f"text.{key}": value for key, value in tensors.items()})


@pytest.mark.parametrize("kind", made.CONFIGS)
def test_no_number_is_lost_or_changed(kind):
    state = made.make(kind).state_dict()
    ours = translated(state)
    both = [torch.cat([tensor.flatten() for tensor in tensors.values()]).sort()[0] for tensors in (state, ours)]
    assert torch.equal(*both)
    assert not any(name.startswith(("text_model", "vision_model")) for name in ours)
    assert all(tensor.is_contiguous() for tensor in ours.values())


def test_a_file_of_another_layout_is_left_as_it_is(tmp_path):
    checkpoint = Checkpoint(tmp_path, {"visual.conv1.weight": torch.ones(1)}, ("a note",))
    assert in_open_clips_names(checkpoint) is checkpoint


STATE = {kind: made.make(kind).state_dict() for kind in ("clip", "siglip2")}


@given(st.sampled_from(sorted(STATE)), st.data())
def test_whatever_is_wrong_with_a_file_is_left_for_the_one_who_fills_it_to_name(kind, data):
    state = dict(STATE[kind])
    mark = "vision_model.embeddings.patch_embedding.weight"
    for name in data.draw(st.lists(st.sampled_from(sorted(state)), max_size=8, unique=True)):
        shape = data.draw(st.sampled_from([(), (0,), (1,), (3, 5), (2, 2, 2), None]))
        if shape is not None:
            state[name] = torch.zeros(shape)
        elif name != mark:
            del state[name]
    state["text_model.embeddings.position_ids"] = torch.arange(3)
    state["something.else"] = torch.ones(1)
    ours = translated(state)
    assert sum(map(torch.Tensor.numel, ours.values())) == sum(map(torch.Tensor.numel, state.values())) - 3
    assert "something.else" in ours and layout_of(ours) == ""


SIZES = st.fixed_dictionaries(
    {
        "heads": st.integers(1, 4),
        "head": st.sampled_from([2, 5, 8]),
        "hidden": st.integers(1, 50),
        "layers": st.integers(1, 3),
        "epsilon": st.sampled_from([1e-12, 1e-6, 1e-5, 1e-2]),
        "gate": st.sampled_from(["quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh"]),
    }
)


def setting(sizes):
    width = sizes["heads"] * sizes["head"]
    whole = tower(width, sizes["hidden"], sizes["heads"], sizes["layers"])
    return whole | {"layer_norm_eps": sizes["epsilon"], "hidden_act": sizes["gate"]}


@settings(max_examples=20)
@given(st.sampled_from(["clip", "siglip"]), SIZES, SIZES, st.integers(5, 9), st.sampled_from([20, 24, 27]))
def test_whatever_the_sizes_and_gates_the_towers_are_the_same(kind, image, text, patch, side):
    vision = setting(image) | {"patch_size": patch, "image_size": side}
    texts = {**setting(text), "vocab_size": 30, "max_position_embeddings": 7, "eos_token_id": 29, "pad_token_id": 0}
    config = {"model_type": kind, "vision_config": vision, "text_config": texts}
    if kind == "siglip":
        texts |= {"projection_size": vision["hidden_size"]}
    own = KINDS[kind].name
    whole = getattr(transformers, own.replace("Model", "Config")).from_dict(copy.deepcopy(config))
    theirs = made.tiny.randomise(getattr(transformers, own)(whole).double())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        described = describe_folder(Path(folder))
    clip = built(described.config, described.parts, device="cpu").double().eval()
    state = translated(theirs.state_dict())
    clip.load_state_dict({name: state[name].reshape(value.shape) for name, value in clip.state_dict().items()})
    pixels, ids = torch.from_numpy(made.tiny.random_pixels(side, side))[None], torch.tensor([[3, 5, 29, 0, 0, 0, 0]])
    with torch.no_grad():
        images = theirs.get_image_features(pixel_values=pixels).pooler_output
        sentences = theirs.get_text_features(input_ids=ids).pooler_output
        torch.testing.assert_close(clip.encode_image(pixels), images, atol=1e-11, rtol=1e-11)
        torch.testing.assert_close(clip.encode_text(ids), sentences, atol=1e-11, rtol=1e-11)
