"""From a name, tag or file to a model with the right activation, and its provenance."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from torch import nn

from denseclip_viz.clip.load.facts import Fact, describe_origins, facts_of, warn_undecided, warn_unprepared
from denseclip_viz.clip.load.lone_file import architecture_of, is_lone_file
from denseclip_viz.clip.load.pretrained import SEED, Weights, choose_weights
from denseclip_viz.clip.load.shards import files_of, read_weights
from denseclip_viz.clip.load.source import Source, find_source
from denseclip_viz.clip.load.switches import activation_of, apply_switches, find_switches
from denseclip_viz.clip.load.tokenizer import read_tokenizer, text_config
from denseclip_viz.clip.load.transformers_config import unbuildable
from denseclip_viz.clip.load.transformers_names import in_open_clips_names
from denseclip_viz.clip.load.transformers_towers import put_in
from denseclip_viz.clip.load.weights import Checkpoint, Drawn, fill, hash_start, require_finite, says_random
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.text.disk_cache import weights_print
from denseclip_viz.clip.text.tokenize import Tokenizer
from denseclip_viz.errors import DeviceError, ModelNameError, first_line
from denseclip_viz.geometry import Preprocess

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model ready to be asked: in eval mode, on its device, and where it came from."""

    clip: nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocess
    provenance: dict[str, str | int]
    live: bool = False  # somebody else holds the model too, and may train it

    def described(self) -> dict[str, str | int]:
        """Give the provenance, with the hash of the weights as they are now where somebody else may train them."""
        return {**self.provenance, "weights_hash": weights_print(self.clip)[:16]} if self.live else self.provenance


def load_clip(
    name: str | os.PathLike[str],
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
    cache_dir: str | None = None,
) -> Loaded:
    """Load an open_clip model with the activation and preparation that its weights were trained with.

    Where those are known from is in `facts.facts_of`. The global random state stays as it is. In half precision
    `logit_scale` and `logit_bias` stay fp32: rounding the scale scales every logit by up to 1 %. A file alone is a
    model too (`lone_file.architecture_of`). Options are those of `denseclip_viz.load`.

    Returns:
        The model in eval mode, its tokenizer and preprocessing, and provenance: model, weights, weights_hash,
        activation, preprocess, known_from, notes, dtype, device, preset, switches, random_weights (0 or 1), versions.

    Raises:
        ModelNameError: An unknown name, tag or switch.
        DeviceError: A device that is not here, or a dtype that it does not compute in.
        WeightsError: Weights not named, not here, broken, or of another architecture.
        GeometryError: A folder's preprocessing that cannot be.
        OutOfMemoryError: The model does not fit.

    Warns:
        UserWarning: A file that does not say what its weights were trained with, where tags of the name differ.

    Example:
        >>> load_clip("ViT-B-61", pretrained="random")
        Traceback (most recent call last):
        denseclip_viz.errors.ModelNameError: There is no model 'ViT-B-61'. ... closest names: ViT-B-16, ...
    """
    where = choose_device(device)
    kind = choose_dtype(dtype, where)
    prepare: dict[str, Any] = {"mean": mean, "std": std, "interpolation": interpolation, "resize_mode": resize_mode}
    switches = find_switches(preset, activation=activation, layer_norm_eps=layer_norm_eps, **prepare)
    known_by = ""
    if pretrained is None and is_lone_file(name):
        (name, known_by), pretrained = architecture_of(name), name
    source = find_source(name)
    text = text_config(source, cache_dir=cache_dir)
    weights = choose_weights(source, pretrained, cache_dir=cache_dir)
    checkpoint = in_open_clips_names(read_weights(weights.file)) if weights.file else None
    facts = facts_of(source, weights, checkpoint.tensors if checkpoint else ())
    clip, tokenizer = _build(source, text, facts, checkpoint), read_tokenizer(text, cache_dir=cache_dir)
    resized = fill(clip, checkpoint, name=source.name) if checkpoint else ""
    done = apply_switches(clip, switches, name=source.name)
    settle(clip, where, kind)
    if checkpoint:
        require_finite(clip, checkpoint.file)
        warn_undecided(facts, switches.settled, file=checkpoint.file.name, name=source.name)
    preprocess = _preprocess(clip, source, {fact: known.value for fact, known in facts.items()} | switches.preprocess)
    warn_unprepared(source, switches.settled)
    more = ["transformers"] if text.get("hf_model_name") or text.get("hf_tokenizer_name") else []
    provenance = describe_model(clip, source.name, weights, preprocess, kind, where, *more)
    provenance |= {"preset": switches.preset, "switches": ", ".join(done) or "none"}
    provenance |= {"weights": f"{weights.label} ({resized})"} if resized else {}
    provenance["known_from"] = describe_origins(facts, switches.settled)
    notes = (known_by, *source.notes, *(checkpoint.notes if checkpoint else ()))
    provenance["notes"] = ", ".join(filter(None, notes)) or "none"
    return Loaded(clip, tokenizer, preprocess, provenance)


def describe_model(
    clip: nn.Module,
    name: str,
    weights: Weights,
    preprocess: Preprocess,
    dtype: torch.dtype,
    device: torch.device,
    *more: str,
) -> dict[str, str | int]:
    """Say what a model that was just loaded is, before any switches; `more` are packages that it is made of."""
    return {
        "model": name,
        "weights": weights.label,
        "weights_hash": hash_start(*files_of(weights.file)) if weights.file else f"random-{SEED}",
        "activation": activation_of(clip),
        "preprocess": _describe_preprocess(preprocess),
        "dtype": str(dtype).removeprefix("torch."),
        "device": str(device),
        "preset": "none",
        "switches": "none",
        "random_weights": int(weights.file is None or says_random(weights.file)),
        "versions": _versions(more),
    }


def _describe_preprocess(preprocess: Preprocess) -> str:
    height, width = preprocess.size
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (preprocess.mean, preprocess.std))
    before = preprocess.before_crop
    cropped = f" from the middle of {before[0]} x {before[1]}" if before not in (None, preprocess.size) else ""
    how = f"{preprocess.resize_mode}, {preprocess.interpolation}"
    return f"{height} x {width} px{cropped}, {how}, mean {mean}, std {std}"


def _versions(more: Sequence[str]) -> str:
    """Give the versions that decide the numbers: "denseclip_viz … · open_clip … · torch …"."""
    import open_clip

    import denseclip_viz

    parts = {"denseclip_viz": denseclip_viz.__version__, "open_clip": open_clip.__version__, "torch": torch.__version__}
    parts |= {name: metadata.version(name) for name in more}
    return " · ".join(f"{name} {version}" for name, version in parts.items())


def choose_device(device: str | torch.device | None) -> torch.device:
    """Give the device that is meant, a GPU when there is one; DeviceError where it is not here."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None:
        return torch.device("cuda" if gpus else "cpu")
    present = ["cpu", *(f"cuda:{index}" for index in range(gpus)), *["mps"] * torch.backends.mps.is_available()]
    if str(device) in present or (gpus and str(device) == "cuda"):
        return torch.device(device)
    got, expected = f"There is no device {str(device)!r} here", f"one of {', '.join(present)} (what there is)"
    raise DeviceError(got, expected=expected, fix='Pass device="cpu".')


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Give the dtype that is meant; DeviceError for one that does not compute well on the device."""
    kind = DTYPES.get(dtype) if isinstance(dtype, str) else torch.float32 if dtype is None else dtype
    if kind is None or kind not in DTYPES.values():
        fix = 'Leave it out for "fp32".'
        raise DeviceError(f"dtype={dtype!r}", expected=f"one of {', '.join(DTYPES)}", fix=fix)
    if (kind, device.type) in ((torch.float16, "cpu"), (torch.float64, "mps")):
        got = f"{str(kind).removeprefix('torch.')} on the device {device.type}"
        fix = 'Pass dtype="bf16" or dtype="fp32".'
        raise DeviceError(got, expected="a dtype that computes well there", fix=fix)
    return kind


def _build(
    source: Source, text: Mapping[str, Any], facts: Mapping[str, Fact], checkpoint: Checkpoint | None
) -> nn.Module:
    """Build the modules: the weights' own activation, the same random numbers every time, the caller's state left.

    `open_clip.create_model` would do the same, set up the root logger, and tell it that no weights came.
    """
    from open_clip import CLIP, CoCa, CustomTextCLIP

    with _described(source), building(drawn=checkpoint is None):
        config = copy.deepcopy({**source.config, "text_cfg": dict(text)})
        config["quick_gelu"] = facts["activation"].value == "quickgelu"
        if checkpoint and "logit_bias" in checkpoint.tensors:  # trained with a sigmoid loss, whatever its name
            config.setdefault("init_logit_bias", 0.0)
        if "timm_model_name" in config["vision_cfg"]:
            config["vision_cfg"]["timm_model_pretrained"] = False
        kind = CLIP
        if config.pop("custom_text", False) or "hf_model_name" in text:
            kind = CoCa if "multimodal_cfg" in config else CustomTextCLIP
        clip: nn.Module = kind(**config)
        put_in(clip, source.parts)
    return clip


@contextmanager
def building(*, drawn: bool = True) -> Iterator[None]:
    """Let a model come out the same whatever torch's random state and default dtype; both stay the caller's.

    One that is not drawn has no numbers until every tensor is filled.
    """
    dtype = torch.get_default_dtype()
    with memory_guard("the size of the model"), Drawn(SEED, filled=drawn):
        try:
            if dtype != torch.float32:  # it is all threads' own: not touched where it is right
                torch.set_default_dtype(torch.float32)
            yield
        finally:
            if dtype != torch.float32:
                torch.set_default_dtype(dtype)


@contextmanager
def _described(source: Source) -> Iterator[None]:
    """Name a folder's configuration in errors: it is user input, and open_clip raises whatever comes up."""
    try:
        yield
    except unbuildable() as error:
        if source.folder is None:
            raise
        why = f"{type(error).__name__}: {first_line(error)}"
        got = f"The configuration in {source.folder} describes no model ({why})"
        fix = "Compare it with the one of the model that it was made from."
        raise ModelNameError(got, expected="what open_clip can build", fix=fix) from error


def settle(clip: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Bring a model that was just built to its device and dtype, in eval mode; logit scale and bias stay exact."""
    numbers = {name: p.detach().clone() for name, p in clip.named_parameters(recurse=False) if p.numel() == 1}
    with memory_guard("the size of the model"):
        clip.to(device=device, dtype=dtype)
    if dtype in (torch.float16, torch.bfloat16):
        for name, exact in numbers.items():
            clip.register_parameter(name, nn.Parameter(exact.to(device)))
    clip.eval()


def _preprocess(clip: nn.Module, source: Source, facts: Mapping[str, Any]) -> Preprocess:
    from open_clip.model import set_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    visual = clip.get_submodule("visual")
    config = merge_preprocess_dict(merge_preprocess_dict(PreprocessCfg(), source.preprocess), facts)
    config["size"] = getattr(visual, "image_size", config["size"])
    set_model_preprocess_cfg(clip, config)
    same = config["resize_mode"] == source.preprocess.get("resize_mode")
    return preprocess_of(config, source.preprocess.get("before_crop") if same else None)


def preprocess_of(config: Mapping[str, Any], before_crop: tuple[int, int] | None = None) -> Preprocess:
    """Make what a configuration says, with the names of open_clip's `PreprocessCfg`."""
    size = config["size"]
    return Preprocess(
        size=(size, size) if isinstance(size, int) else tuple(size),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        resize_mode=config["resize_mode"],
        fill_color=config["fill_color"],
        before_crop=before_crop,
    )
