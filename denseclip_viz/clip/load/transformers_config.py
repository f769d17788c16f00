"""Folders as transformers saves them: what their configuration is in the words of open_clip, or why it is none."""

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from denseclip_viz.clip.load.image_processor import PROCESSORS, preprocess_in, preprocess_of
from denseclip_viz.clip.load.transformers_towers import Part, bert, image_tower, latent_query_trunk
from denseclip_viz.errors import GeometryError, ModelNameError, first_line
from denseclip_viz.files import read_json
from denseclip_viz.validation import is_whole

CONFIG, ADAPTER = "config.json", "adapter_config.json"
# Names of an activation: open_clip's quick_gelu, and torch's `approximate`.
_GATES = {
    "quick_gelu": (True, "none"),
    "gelu": (False, "none"),
    "gelu_python": (False, "none"),
    "gelu_new": (False, "tanh"),
    "gelu_pytorch_tanh": (False, "tanh"),
}
_BERT = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads max_position_embeddings hidden_act"
    " layer_norm_eps pad_token_id type_vocab_size"
).split()
# What stands in a configuration where a part comes that it cannot describe: the smallest that open_clip builds.
_SMALLEST_TEXT = {"width": 8, "heads": 1, "layers": 1}
_SMALLEST_TRUNK = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"}
_FIXES = {
    "clip_vision_model": "Load the folder of the whole CLIPModel: texts need the other tower.",
    "clip_text_model": "Load the folder of the whole CLIPModel: images need the other tower.",
    "siglip_vision_model": "Load the folder of the whole SiglipModel: texts need the other tower.",
    "clipseg": 'Its CLIP is that of "ViT-B-16", pretrained="openai", which open_clip has.',
}


@dataclass(frozen=True)
class Described:
    """A folder of transformers in the words of open_clip.

    Attributes:
        config: What open_clip builds.
        parts: What is put in the place of parts of it, which no configuration of open_clip describes.
        preprocess: How images are made ready.
        prepared: Where that is known from if the folder does not say; else "".
        notes: What a person should know of it.
    """

    config: dict[str, Any]
    parts: Mapping[str, Part] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    prepared: str = ""
    notes: tuple[str, ...] = ()


class Kind(NamedTuple):
    """A model of transformers: its classes, whether images are cropped, and what it is in the words of open_clip."""

    name: str
    processor: str
    crops: bool
    describe: Callable[[Any], Described]


def type_of(folder: Path) -> str:
    """Give the model_type that a folder's config.json names; "" where it names none or cannot be read.

    Example:
        >>> type_of(Path("no/such/folder"))
        ''
    """
    try:
        return str(read_json(folder / CONFIG).get("model_type", ""))
    except (OSError, ValueError):
        return ""


def require_transformers(what: str) -> None:
    """Raise ModelNameError where the package transformers, which `what` needs, is not installed."""
    if importlib.util.find_spec("transformers") is None:
        fix = 'pip install "denseclip_viz[transformers]", or take another model.'
        raise ModelNameError(f"{what} needs the package transformers", expected="it to be installed", fix=fix)


def unbuildable() -> tuple[type[Exception], ...]:
    """List what comes of configurations that cannot be: neither open_clip nor transformers has one error for it."""
    from huggingface_hub import errors

    # newer versions have an error for settings of the wrong type
    strict = getattr(errors, "StrictDataclassError", ValueError)
    return TypeError, LookupError, ValueError, RuntimeError, AssertionError, AttributeError, ArithmeticError, strict


def read_config(folder: Path, *kinds: str) -> dict[str, Any]:
    """Read the config.json of a folder, of a model of one of these types.

    Raises:
        ModelNameError: There is none that can be read, or it is of another type.
    """
    file, expected = folder / CONFIG, f"the configuration of a model of the type {', '.join(kinds)}"
    try:
        config = read_json(file)
    except (OSError, ValueError) as error:
        got = f"{file} cannot be read ({first_line(error)})"
        raise ModelNameError(got, expected=expected, fix="Copy it again.") from error
    if (folder / ADAPTER).is_file():
        fix = "Put it into its model and save that: merge_and_unload().save_pretrained(FOLDER)."
        raise ModelNameError(f"{folder} holds an adapter of PEFT", expected="a whole model", fix=fix)
    if not file.is_file():
        raise ModelNameError(f"The folder {folder} has no {CONFIG}", expected=expected, fix="Check the path.")
    kind = config.get("model_type")
    if kind not in kinds:
        known = isinstance(kind, str) and kind in (*KINDS, "align")
        fix = "Pass it by its path alone." if known else _FIXES.get(str(kind), "Take a model of such a type.")
        raise ModelNameError(f"{file} describes a model of the type {kind!r}", expected=expected, fix=fix)
    return config


def describe_folder(folder: Path) -> Described:
    """Read what a folder says of its model and of its images.

    Raises:
        ModelNameError: transformers is not installed, or the configuration is none that can be followed exactly.
        GeometryError: Preprocessing that cannot be followed exactly.
    """
    read = read_config(folder, *KINDS)
    kind = KINDS[read["model_type"]]
    require_transformers(f"A {kind.name} ({folder})")
    _refuse_others(read, kind, folder)
    try:
        model = kind.describe(_complete(read, kind))
    except unbuildable() as error:
        got = f"The configuration in {folder} describes no {kind.name} ({type(error).__name__}: {first_line(error)})"
        expected = "what transformers can build"
        raise ModelNameError(got, expected=expected, fix="Copy it from the model's page.") from error
    text = {"hf_tokenizer_name": str(folder), "tokenizer_kwargs": {"clean": "", "local_files_only": True}}
    config = {**model.config, "text_cfg": {**model.config["text_cfg"], **text}}
    preprocess, prepared = _preprocess(folder, kind, config["vision_cfg"]["image_size"])
    return replace(model, config=config, preprocess=preprocess, prepared=prepared)


def _complete(read: Mapping[str, Any], kind: Kind) -> Any:
    """Fill in what the configuration leaves out as transformers does; its files hold what differs from a default."""
    import transformers

    texts = {} if kind.name == "CLIPModel" else {"bos_token_id": None, "eos_token_id": None}  # of another vocabulary
    whole = {**read, "text_config": {**(read.get("text_config") or {}), **texts}}
    return getattr(transformers, kind.name.replace("Model", "Config")).from_dict(whole)


def _refuse_others(read: Mapping[str, Any], kind: Kind, folder: Path) -> None:
    """Refuse what other weights, other heads or code of its own would make of the same configuration."""
    other, named = read.get("architectures"), f"Load the {kind.name} that it was made from."
    what = ", ".join(map(str, other)) if isinstance(other, list) else other
    refused = (
        (read.get("auto_map"), "has code of its own (auto_map), which is never run", "Take another model."),
        (read.get("quantization_config"), "holds quantised weights", "Take the model that it was made from."),
        (other and other != [kind.name], f"is a {what}", named),
    )
    for wrong, got, fix in refused:
        if wrong:
            raise ModelNameError(f"The model in {folder} {got}", expected=f"a {kind.name}", fix=fix)


def _preprocess(folder: Path, kind: Kind, side: int) -> tuple[dict[str, Any], str]:
    """Read how images are made ready; where no file says it, as the kind's own processor does it unless told."""
    square = {"height": side, "width": side}
    if any((folder / name).is_file() for name in PROCESSORS):
        ready, prepared = preprocess_in(folder), ""
    else:
        usual = {"size": {"shortest_edge": side}, "crop_size": square} if kind.crops else {"size": square}
        ready = preprocess_of({"image_processor_type": kind.processor, **usual})
        prepared = f"what a {kind.processor} does unless told otherwise"
    # of SigLIP 2 the size is that of the tower's own table, however many patches the processor would make
    any_size = kind.name == "Siglip2Model" and ready.resize_mode == "squash" and not ready.before_crop
    if ready.size != (side, side) and not any_size:
        got = f"The image processor in {folder} makes images of {ready.size} px for a tower that reads {side} x {side}"
        raise GeometryError(got, expected="the processor of this model", fix="Copy it from the model's page.")
    names = ("mean", "std", "interpolation", "resize_mode", "before_crop")
    return {name: getattr(ready, name) for name in names}, prepared


def _clip(config: Any) -> Described:
    """Describe a CLIPModel: its text ends at the highest token where the configuration is of the first version."""
    text, eos = config.text_config, config.text_config.eos_token_id
    _require(is_whole(eos), "text_config", "eos_token_id", eos, "a whole number")
    pool = {"pool_type": "argmax"} if eos == 2 else {"pool_type": "eos", "eos_id": eos}
    texts = {**_blocks(text, "text_config"), **_words(text), "heads": text.num_attention_heads, **pool}
    image, parts = _class_token_image(config), {}
    quick, quick_image = (_GATES[tower.hidden_act][0] for tower in (text, config.vision_config))
    if quick != quick_image:
        parts["visual"] = partial(image_tower, config.projection_dim, image, quick_image)
        image = {**image, "act_kwargs": {}}  # what stands there until then is built with the texts' activation
    whole = {"embed_dim": config.projection_dim, "quick_gelu": quick, "vision_cfg": image, "text_cfg": texts}
    return Described(whole, parts)


def _chinese_clip(config: Any) -> Described:
    """Describe a ChineseCLIPModel: CLIP's image tower, and a BERT whose class token is projected."""
    text, width, image = config.text_config, config.projection_dim, _class_token_image(config)
    whole = {"embed_dim": width, "quick_gelu": _GATES[config.vision_config.hidden_act][0], "custom_text": True}
    whole |= {"vision_cfg": image, "text_cfg": {**_SMALLEST_TEXT, **_words(text)}}
    return Described(whole, {"text": partial(bert, width, {name: getattr(text, name) for name in _BERT})})


def _siglip(config: Any) -> Described:
    """Describe a SiglipModel: a latent query pools the image, and the last place of the context is the text's."""
    text, image = config.text_config, config.vision_config
    has_head = getattr(image, "vision_use_head", True)  # older transformers have it where it is false alone
    _require(has_head, "vision_config", "vision_use_head", has_head, "true")
    width, same = text.projection_size, image.hidden_size
    _require(width == same, "text_config", "projection_size", width, f"{same}, as wide as the image tower")
    blocks, side = _blocks(image, "vision_config"), _side(image, "image_size")
    trunk = partial(
        latent_query_trunk,
        img_size=side,
        patch_size=_side(image, "patch_size"),
        embed_dim=image.hidden_size,
        depth=image.num_hidden_layers,
        num_heads=image.num_attention_heads,
        mlp_ratio=blocks["mlp_ratio"],
        epsilon=image.layer_norm_eps,
        gate=_GATES[image.hidden_act],
    )
    words = {**_blocks(text, "text_config"), **_words(text), "heads": text.num_attention_heads}
    words |= {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    whole = {"embed_dim": same, "custom_text": True, "quick_gelu": _GATES[text.hidden_act][0]}
    whole |= {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}
    whole |= {"vision_cfg": {**_SMALLEST_TRUNK, "image_size": side}, "text_cfg": words}
    return Described(whole, {"visual.trunk": trunk})


def _siglip2(config: Any) -> Described:
    """Describe a Siglip2Model at the one size whose table of positions it holds; it would read others too."""
    image = config.vision_config
    grid = math.isqrt(image.num_patches)
    _require(grid**2 == image.num_patches, "vision_config", "num_patches", image.num_patches, "a square number")
    image.image_size = side = grid * _side(image, "patch_size")
    note = f"images are squashed to {side} x {side} px, where the model's own processor keeps their shape"
    return replace(_siglip(config), notes=(note,))


def _class_token_image(config: Any) -> dict[str, Any]:
    image = config.vision_config
    heads = {"head_width": image.hidden_size // image.num_attention_heads}
    sizes = {"image_size": _side(image, "image_size"), "patch_size": _side(image, "patch_size")}
    return {**_blocks(image, "vision_config"), **heads, **sizes}


def _blocks(tower: Any, where: str) -> dict[str, Any]:
    """Say what the blocks of a tower are."""
    _require(tower.hidden_act in _GATES, where, "hidden_act", tower.hidden_act, f"one of {', '.join(_GATES)}")
    if where == "vision_config":
        _require(tower.num_channels == 3, where, "num_channels", tower.num_channels, "3")
    quick, approximate = _GATES[tower.hidden_act]
    return {
        "width": tower.hidden_size,
        "layers": tower.num_hidden_layers,
        "mlp_ratio": (tower.intermediate_size + 0.5) / tower.hidden_size,  # rounded down, it is the size again
        "act_kwargs": {} if quick else {"approximate": approximate},
        "norm_kwargs": {"eps": tower.layer_norm_eps},
    }


def _words(text: Any) -> dict[str, int]:
    return {"context_length": text.max_position_embeddings, "vocab_size": text.vocab_size}


def _side(image: Any, name: str) -> int:
    side = getattr(image, name)
    _require(is_whole(side, 1), "vision_config", name, side, "one whole number of pixels")
    return int(side)


def _require(holds: bool, where: str, name: str, value: object, expected: str) -> None:
    if not holds:
        fix = "Other settings would not be followed exactly, so they are refused."
        raise ModelNameError(f"{name} in {where} is {value!r}", expected=expected, fix=fix)


KINDS: Mapping[str, Kind] = {
    "clip": Kind("CLIPModel", "CLIPImageProcessor", True, _clip),
    "siglip": Kind("SiglipModel", "SiglipImageProcessor", False, _siglip),
    "siglip2": Kind("Siglip2Model", "Siglip2ImageProcessor", False, _siglip2),
    "chinese_clip": Kind("ChineseCLIPModel", "ChineseCLIPImageProcessor", True, _chinese_clip),
}
