"""What published code did to CLIP, as named switches on a model that was just built; the default is none."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from denseclip_viz.errors import ModelNameError
from denseclip_viz.geometry.fit import OPENCV
from denseclip_viz.presets import PRESETS
from denseclip_viz.validation import is_number

GATES = {"QuickGELU": "quickgelu", "GELU": "gelu", "GELUActivation": "gelu", "NewGELUActivation": "gelu-tanh"}
_WORDS = {
    "preset": tuple(filter(None, PRESETS)),
    "activation": ("gelu", "quickgelu", "image-gelu", "image-quickgelu"),
    "interpolation": ("bicubic", "bilinear", OPENCV),
    "resize_mode": ("shortest", "longest", "squash"),
}


@dataclass(frozen=True)
class Switches:
    """What is done to a model beside loading it; None where it stays as the weights want it.

    `requested` names those that were asked for one by one: where they change nothing, that is an error.
    """

    preset: str = "none"
    activation: str | None = None
    layer_norm_eps: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    resize_mode: str | None = None
    requested: frozenset[str] = frozenset()

    @property
    def preprocess(self) -> dict[str, Any]:
        """What is asked of the preparation of images."""
        names = ("mean", "std", "interpolation", "resize_mode")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def settled(self) -> set[str]:
        """The facts of `facts.FACTS` that need not be known: they are asked for, in both towers."""
        return {*self.preprocess, *["activation"] * (self.activation in ("gelu", "quickgelu"))}


def find_switches(
    preset: str | None,
    *,
    activation: str | None = None,
    layer_norm_eps: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    resize_mode: str | None = None,
) -> Switches:
    """Put a preset (`presets.PRESETS`) and single switches together; a single switch wins.

    Raises:
        ModelNameError: A preset or word that is not known, an eps or a mean or std that cannot be.

    Example:
        >>> find_switches("maskclip-paper", layer_norm_eps=1e-5).layer_norm_eps
        1e-05
    """
    words = {"preset": preset, "activation": activation, "interpolation": interpolation, "resize_mode": resize_mode}
    single = words | {"layer_norm_eps": layer_norm_eps, "mean": mean, "std": std, "preset": None}
    for what, word in words.items():
        if word is not None and word not in _WORDS[what]:
            raise _refused(f"{what}={word!r}", f"one of {', '.join(_WORDS[what])}")
    if layer_norm_eps is not None and not is_number(layer_norm_eps, 0, ends=False):
        raise _refused(f"layer_norm_eps={layer_norm_eps!r}", "a number above 0, like 1e-6")
    base = PRESETS[preset or ""]
    return Switches(
        preset=preset or "none",
        activation=activation or base.activation,
        layer_norm_eps=layer_norm_eps or base.layer_norm_eps,
        mean=base.mean if mean is None else _channels(mean, "mean", above=-math.inf),
        std=base.std if std is None else _channels(std, "std", above=0.0),
        interpolation=interpolation or base.interpolation,
        resize_mode=resize_mode,
        requested=frozenset(name for name, value in single.items() if value is not None),
    )


def apply_switches(clip: nn.Module, switches: Switches, *, name: str) -> list[str]:
    """Set activation and LayerNorm epsilon of a model that is still ours to build, after its weights are in.

    Returns:
        What was done, for the provenance; the preparation of images too, which is not in the model.

    Raises:
        ModelNameError: A switch was asked for that changes nothing in this model.
    """
    visual = clip.get_submodule("visual")
    done = []
    if switches.activation:
        kind, image_only = switches.activation.removeprefix("image-"), "image-" in switches.activation
        if _swap_activation(visual if image_only else clip, kind):
            done.append(f"activation {kind} ({'image' if image_only else 'both towers'})")
    own = {norm.eps for norm in visual.modules() if isinstance(norm, nn.LayerNorm)}
    if switches.layer_norm_eps and own and own != {switches.layer_norm_eps}:
        _set_layer_norm_eps(visual, switches.layer_norm_eps)
        done.append(f"layer_norm_eps {switches.layer_norm_eps:g} (image)")
    idle = {"layer_norm_eps"} if own == {switches.layer_norm_eps} else set()
    done += [f"{what} {_say(value)}" for what, value in switches.preprocess.items()]
    for what in sorted(switches.requested - idle):
        if not any(entry.startswith(what) for entry in done):
            got = f"{what}={getattr(switches, what)!r} changes nothing in {name}, which has no such layer"
            raise ModelNameError(got, expected="switches that do something", fix="Leave it out.")
    return done


def activation_of(clip: nn.Module) -> str:
    """Name the transformer blocks' activation, "quickgelu" or "gelu", of both towers where they differ.

    A ResNet image tower has ReLUs whatever the weights are; there the word is about the text tower.

    Example:
        >>> activation_of(nn.Sequential(nn.Linear(2, 2), nn.GELU()))
        'gelu'
    """
    visual = set(getattr(clip, "visual", nn.Identity()).modules())
    image = _gates(visual)
    text = _gates(module for module in clip.modules() if module not in visual)
    if image and text and image != text:
        return f"{image} (image), {text} (text)"
    return image or text or "none"


def text_facts(provenance: Mapping[str, str | int]) -> dict[str, str]:
    """Say what was set in the text tower when a model was loaded.

    Example:
        >>> text_facts({"activation": "gelu (image), quickgelu (text)"})
        {'activation': 'quickgelu'}
    """
    return {"activation": str(provenance.get("activation", "")).rpartition(", ")[2].removesuffix(" (text)")}


def tower_facts(provenance: Mapping[str, str | int]) -> dict[str, str]:
    """Say what was set in the image tower when a model was loaded, and how it has images prepared.

    Example:
        >>> tower_facts({"activation": "gelu", "switches": "mean 0 0 0, layer_norm_eps 1e-06 (image)"})
        {'activation': 'gelu', 'preparation of images': '', 'epsilon': 'layer_norm_eps 1e-06 (image)'}
    """
    switches = str(provenance.get("switches", "")).split(", ")
    return {
        "activation": str(provenance.get("activation", "")),
        "preparation of images": str(provenance.get("preprocess", "")),
        "epsilon": next((switch for switch in switches if switch.startswith("layer_norm_eps")), "of the architecture"),
    }


def _swap_activation(tower: nn.Module, kind: str) -> int:
    """Replace every GELU or QuickGELU; give how many there are."""
    from open_clip.transformer import QuickGELU

    places = [
        (parent, name)
        for parent in tower.modules()
        for name, child in parent.named_children()
        if type(child).__name__ in GATES
    ]
    for parent, name in places:
        setattr(parent, name, QuickGELU() if kind == "quickgelu" else nn.GELU())
    return len(places)


def _set_layer_norm_eps(tower: nn.Module, eps: float) -> None:
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


def _gates(modules: Iterable[nn.Module]) -> str:
    kinds = set()
    for module in modules:
        kind = GATES.get(type(module).__name__)
        if kind:
            tanh = kind == "gelu" and getattr(module, "approximate", "none") == "tanh"
            kinds.add("gelu-tanh" if tanh else kind)
    return "+".join(sorted(kinds))


def _say(value: str | tuple[float, ...]) -> str:
    return value if isinstance(value, str) else " ".join(f"{number:.4g}" for number in value)


def _channels(values: Sequence[float], what: str, *, above: float) -> tuple[float, ...]:
    numbers = tuple(values) if isinstance(values, Iterable) else ()
    if len(numbers) != 3 or not all(is_number(value, above, ends=False) for value in numbers):
        raise _refused(f"{what}={values!r}", "three numbers (red, green, blue) for pixels in 0..1, std above 0")
    return tuple(float(value) for value in numbers)


def _refused(got: str, expected: str) -> ModelNameError:
    return ModelNameError(f"{got} cannot be", expected=expected, fix="Change it, or leave it out.")
