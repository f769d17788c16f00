"""Named bundles of switches, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Native, Tiles, Whole


@dataclass(frozen=True)
class Preset:
    """Defaults that belong together: the first four for `load(preset=)`, the others for `trace` and `segment`.

    Attributes:
        activation: As for `load`; None leaves a model as its weights want it, here and in the next three.
        layer_norm_eps: As for `load`.
        mean: As for `load`.
        std: As for `load`.
        geometry: How the image is fitted to the input.
        path: The recipe for dense features.
        keys: Which keys key smoothing takes, by tower family; of another family none.
        denoise: Threshold of prompt denoising; 0 for none.
        smooth: Normalisation of key smoothing; `""` for none.
    """

    activation: str | None = None
    layer_norm_eps: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    geometry: str | Native | Whole | Tiles = "native"
    path: str = "value"
    keys: Mapping[str, str] = field(default_factory=dict)
    denoise: float = 0.0
    smooth: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.keys, Mapping):
            expected, fix = "kinds of keys by tower family", 'Try {"ViT class token": "key"}.'
            raise PromptError(f"Preset(keys={self.keys!r})", expected=expected, fix=fix)


PRESETS = {
    "": Preset(),
    # The official code of arXiv 2112.01071. Model: GELU and eps 1e-6 in a ViT image tower (configs/_base_/models,
    # backbones/vit.py), ImageNet's mean and std for all (configs/_base_/datasets). Geometry: that of VOC and
    # COCO-Stuff; Context has the long side at 520: geometry=Whole(long=520, …).
    "maskclip-paper": Preset(
        activation="image-gelu",
        layer_norm_eps=1e-6,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
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
