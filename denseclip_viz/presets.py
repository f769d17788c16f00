"""Named bundles of switches, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Native, Tiles, Whole


@dataclass(frozen=True)
class Preset:
    """Defaults for `trace` and `segment` that belong together.

    Attributes:
        geometry: How the image is fed.
        path: The way to dense features.
        keys: Which keys key smoothing takes, by tower family.
        denoise: Threshold of prompt denoising; 0 for none.
        smooth: Normalisation of key smoothing; `""` for none.
    """

    geometry: str | Native | Whole | Tiles = "native"
    path: str = "value"
    keys: Mapping[str, str] = field(default_factory=dict)
    denoise: float = 0.0
    smooth: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.keys, Mapping):
            expected, fix = "kinds of keys by tower family", 'Try {"ViT class token": "key"}.'
            raise PromptError(f"Preset(keys={self.keys!r})", expected=expected, fix=fix)

    def keys_for(self, family: str) -> str:
        """Say which keys to record for a family of towers."""
        return self.keys.get(family, "")


PRESETS = {
    "": Preset(),
    # The official code, for VOC and COCO-Stuff (Context has the long side at 520: geometry=Whole(long=520, …)); the
    # switches inside the model (activation, LayerNorm eps, mean and std) are load(preset="maskclip-paper").
    "maskclip-paper": Preset(
        geometry=Whole(short=512, stretch=True),
        path="value-maskclip",
        keys={"ViT class token": "projected", "ResNet attention pool": "key"},
        denoise=0.5,
        smooth="official",
    ),
}


def preset_named(preset: str | Preset | None) -> Preset:
    """Find a preset by name.

    Example:
        >>> preset_named("maskclip-paper").smooth
        'official'
    """
    if isinstance(preset, Preset):
        return preset
    preset = "" if preset is None else preset
    if not isinstance(preset, str) or preset not in PRESETS:
        known = ", ".join(name for name in PRESETS if name)
        raise PromptError(f"preset {preset!r} is unknown", expected=f"one of: {known}", fix="Or pass a Preset(...).")
    return PRESETS[preset]
