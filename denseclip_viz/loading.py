"""The front door: a name becomes a model."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from denseclip_viz.clip.load import align_checkpoint, checkpoints, hub, in_memory
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.disk_cache import Cache
from denseclip_viz.clip.text.tokenize import Tokenizer
from denseclip_viz.errors import ModelNameError, OutputError, WeightsError
from denseclip_viz.model import Model

BUNDLED = "bundled-"


@guarded
def load(
    name: str | os.PathLike[str] | nn.Module = "bundled-resnet",
    *,
    pretrained: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    preset: str | None = None,
    activation: str | None = None,
    layer_norm_eps: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    resize_mode: str | None = None,
    tokenizer: Tokenizer | None = None,
    preprocess: object = None,
    cache: Cache = None,
    cache_dir: str | None = None,
) -> Model:
    """Load a CLIP: a bundled one, any of open_clip by a tag or a checkpoint, a folder, or a repository of the hub.

    Args:
        name: `"bundled-resnet"`, `"bundled-vit"` or `"bundled-vit-cls"` (they know only the bundled world), an
            open_clip name (`"ViT-B-16"`), a folder as open_clip or transformers writes it or one that `denseclip-viz
            toyworld pack` wrote, a weights file that says by its tensors what it is of (`"ViT-B-32.pt"`), a repository
            of the hub that is as such a folder (`"hf-hub:OWNER/NAME"`, `"hf-hub:OWNER/NAME@REVISION"`), or an ALIGN
            (`"align:kakaobrain/align-base"`, `"align:FOLDER"`, or the folder alone); or a model of open_clip or
            OpenAI's (`clip.load`) in memory, which is asked as it is and never changed.
        pretrained: A tag, a checkpoint file (safetensors, of `torch.save`, or a TorchScript archive as OpenAI's;
            nothing in it is run), or `"random"` (seed 0). A folder brings its own weights when it has some.
            What a file does not say of its training, all tags of the name say, or a warning names the choices.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`; a GPU when there is one.
        dtype: `"fp32"` (default), `"bf16"`, `"fp16"` (not on the CPU), `"fp64"`, or the torch dtype.
        preset: `"maskclip-paper"`, `"sclip"`, …: what published code does to CLIP (`denseclip_viz.presets.PRESETS`).
        activation: `"gelu"` or `"quickgelu"` in both towers, `"image-gelu"` or `"image-quickgelu"` in one.
        layer_norm_eps: The epsilon of the image tower's LayerNorms.
        mean: What is taken off each channel (red, green, blue), pixels in 0..1.
        std: What each channel is divided by.
        interpolation: How images are resized: `"bicubic"`, `"bilinear"`, or `"bilinear-opencv"`, as mmseg does.
        resize_mode: `"shortest"` (the rest is cropped), `"longest"` (the rest is padded) or `"squash"`.
        tokenizer: Of a model in memory, unless it is CLIP's own.
        preprocess: Of a model in memory: the transform for inference that came with it, or a dict like open_clip's
            `preprocess_cfg`, unless the model has that itself.
        cache: Where text vectors are kept on disk: a folder, `False` for nowhere, `None` for the folder that the
            variable DENSECLIP_VIZ_CACHE names, or the system's own. The bundled models keep none unless a folder is
            given: they encode as fast as a file is read, and say each time which words are new. Nothing is kept
            on disk of a model in memory, and in memory only until its weights change.
        cache_dir: Where open_clip and the hub keep their downloads.

    Returns:
        The model in eval mode. Activation and preparation of images are those that the weights were trained with;
        `provenance` says which these are, and in `known_from` how that is known.

    Raises:
        ModelNameError: an unknown name, tag or switch, or a switch for an ALIGN.
        DeviceError: a device that is not here, or a dtype that it does not compute in.
        WeightsError: weights that are not here, cannot be had or do not fit.
        UnsupportedTowerError: a tower whose pooling is not supported.

    Warns:
        UserWarning: a file that fits several trainings, with the switch that settles each choice.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.load(device="cpu").provenance["model"]
        'bundled-resnet'
    """
    place: dict[str, Any] = {"device": device, "dtype": dtype, "cache_dir": cache_dir}
    switches: dict[str, Any] = {"preset": preset, "activation": activation, "layer_norm_eps": layer_norm_eps}
    switches |= {"mean": mean, "std": std, "interpolation": interpolation, "resize_mode": resize_mode}
    if isinstance(name, nn.Module):
        return _in_memory(name, place | switches | {"pretrained": pretrained}, cache, tokenizer, preprocess)
    if tokenizer is not None or preprocess is not None:
        option = "preprocess" if tokenizer is None else "tokenizer"
        got, fix = f"{option}= for a model by name", "Leave it out: a name brings its own."
        raise ModelNameError(got, expected="a model in memory with it", fix=fix)
    name = os.path.expanduser(name) if isinstance(name, str | os.PathLike) else name
    if isinstance(name, str) and name.startswith(hub.PREFIX):
        name = hub.folder_of(name, cache_dir=cache_dir)
    label = name if isinstance(name, str) and name.startswith(BUNDLED) else ""
    if label and pretrained is not None:
        got, expected = f"pretrained={pretrained!r} for the bundled model {name}", "no weights: it brings its own"
        raise WeightsError(got, expected=expected, fix="Leave that out, or name another model.")
    if label or (pretrained is None and isinstance(name, str | os.PathLike) and os.path.isdir(name)):
        from denseclip_viz.clip.load import bundled  # the world is not read for other models

        folder = bundled.folder_of(label.removeprefix(BUNDLED)) if label else name
        if label or bundled.is_compact(folder):
            return Model(bundled.load_compact(folder, label=label, **place, **switches), cache=cache or False)
    if not align_checkpoint.is_align(name):
        return Model(checkpoints.load_clip(name, pretrained=pretrained, **place, **switches), cache=cache)
    if given := [switch for switch, value in switches.items() if value is not None]:
        # they say what published code did to CLIP; on ALIGN they would change nothing, or something else
        got = f"{given[0]}={switches[given[0]]!r} for an ALIGN"
        raise ModelNameError(got, expected="no switch: an ALIGN has one way of being read", fix="Leave it out.")
    return Model(align_checkpoint.load_align(name, pretrained=pretrained, **place), cache=cache)


def _in_memory(
    clip: nn.Module, options: dict[str, Any], cache: Cache, tokenizer: Tokenizer | None, preprocess: object
) -> Model:
    if cache not in (None, False):
        got, fix = f"cache={cache!r} for a model in memory", "Leave it out."
        raise OutputError(got, expected="none: its weights may change, and its text vectors with them", fix=fix)
    prepare = {name: options.pop(name) for name in ("mean", "std", "interpolation", "resize_mode")}
    loaded = in_memory.load_in_memory(clip, tokenizer=tokenizer, preprocess=preprocess, prepare=prepare, others=options)
    return Model(loaded, cache=False)
