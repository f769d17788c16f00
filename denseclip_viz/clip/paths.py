"""From recorded streams to dense features: a table of paths, and the one function that all of them are.

    y   = r · x_e + O(A V)        x_e: the stream that enters the layer; V: each token's values, per head
    y  += MLP(y)
    F   = head(y)                 the norm and the projection that the pooled vector goes through too

A is the identity for the value path ("attend to yourself alone"), or the attention of a path. A row of the table says
which parts of the sum it keeps. All rows are made of one forward pass: no path changes what the tower computes.
Source: reference/paths.md section 1; MaskCLIP's official vit.py (`return_qkv`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from torch import Tensor

from denseclip_viz.clip.towers.linearize import apply
from denseclip_viz.clip.towers.tower import Streams, Tower
from denseclip_viz.errors import LayerError


@dataclass(frozen=True)
class DensePath:
    """A recipe for dense features: switches, so that every published variant can be named.

    Attributes:
        name: What figures and provenance call it.
        attention: What a position attends by: nothing, so to itself alone; or `("qk",)`, query · key, as the tower
            itself lets it (plain patch tokens of a ViT, every position as a query of a ResNet's pool).
        residual: Keep the position's own stream beside the attention (ViT; the official MaskCLIP does).
        mlp: Keep the MLP that is added behind the attention (ViT, where the official MaskCLIP does; latent query).
        positional: Add the pool's positional embedding to a position before its value (ResNet; the official code
            does not).
        antialias: Antialias when a positional embedding is resized (open_clip does; the official code does not).
            timm's towers resize their own, always antialiased.

    Example:
        >>> DensePath("no MLP", mlp=False).residual
        True
    """

    name: str
    attention: tuple[str, ...] = ()
    residual: bool = True
    mlp: bool = True
    positional: bool = False
    antialias: bool = True

    def __post_init__(self) -> None:
        if self.attention not in ((), ("qk",)):
            raise LayerError(f"attention={self.attention!r}", expected="() or ('qk',)", fix="() is the value path.")


PATHS = {
    path.name: path
    for path in (
        DensePath("value"),
        DensePath("value-attention-only", residual=False, mlp=False),
        DensePath("value-positional", positional=True),
        DensePath("value-maskclip", antialias=False),
        DensePath("vanilla", attention=("qk",)),
    )
}
_SWITCHES = {switch.name: switch.default for switch in fields(DensePath) if switch.name != "name"}


def choose_path(path: str | DensePath) -> DensePath:
    """Find a path by name.

    Raises:
        LayerError: no row of the table has this name.

    Example:
        >>> choose_path("value").mlp
        True
    """
    if isinstance(path, DensePath):
        return path
    if path not in PATHS:
        raise LayerError(
            f"path {path!r} is unknown", expected=f"one of {', '.join(PATHS)}", fix="Or pass a DensePath(...)."
        )
    return PATHS[path]


def paths_of(tower: Tower) -> tuple[str, ...]:
    """Name the paths that give something of their own in a tower: all that they switch is there."""

    def switched(path: DensePath) -> set[str]:
        return {name for name, default in _SWITCHES.items() if getattr(path, name) != default}

    return tuple(path.name for path in PATHS.values() if switched(path) <= tower.switches)


def dense_features(tower: Tower, streams: Streams, paths: Sequence[DensePath]) -> list[Tensor]:
    """Make the dense features of every path, `(image, position, D)` each; what comes out the same is made once.

    Raises:
        LayerError: a path that the tower does not offer.
    """
    switches = (tower.switches | {"attention"}) - {"antialias"}  # how positions are resized is one for the pass
    features: dict[tuple[object, ...], Tensor] = {}
    unlike = [tuple(getattr(path, name) for name in _SWITCHES if name in switches) for path in paths]
    for path, key in zip(paths, unlike, strict=True):
        if key not in features:
            features[key] = along_path(streams, path)
    return [features[key] for key in unlike]


def along_path(streams: Streams, path: DensePath) -> Tensor:
    """Make the dense features of one path, `(image, position, D)`.

    Raises:
        LayerError: a path that the tower does not offer.
    """
    in_stream = streams.leaving is not None and (bool(path.attention) or streams.stood_in)
    stream = streams.leaving if in_stream else _sum(streams, path)
    assert stream is not None
    return apply(streams.head, stream[:, streams.prefix :])


def _sum(streams: Streams, path: DensePath) -> Tensor:
    """Sum y up: residual, attention, MLP."""
    if path.attention and streams.attended:
        stream = streams.attended(path.name)
    elif path.positional and streams.placed:
        stream = apply(streams.project, streams.placed())
    else:
        stream = streams.alone
    if path.residual and streams.entering is not None:
        stream = streams.entering + stream
    return stream + apply(streams.mlp, stream) if path.mlp and streams.mlp else stream


def one_antialias(tower: Tower, pixels: Tensor, paths: Sequence[DensePath]) -> bool:
    """Say how positions are resized in the one pass for these paths.

    Raises:
        LayerError: they want it in two ways, and this input is of another size than the tower's table.
    """
    if len({path.antialias for path in paths}) > 1 and tower.resizes_positions(pixels):
        plain, smooth = (", ".join(p.name for p in paths if p.antialias is on) for on in (False, True))
        height, width = pixels.shape[-2:]
        raise LayerError(
            f"paths {plain} and {smooth} together, for an input of {height} x {width} pixels",
            expected="one table of positions for one forward pass; these resize it without and with antialiasing",
            fix=f"Trace twice: path={plain!r}, and path={smooth!r}.",
        )
    return paths[0].antialias


def attend_alone(paths: Sequence[DensePath]) -> bool:
    """Tell whether positions attend to themselves alone in all paths, and all else is as the tower has it."""
    return all(not path.attention and path.residual and path.mlp for path in paths)


def read_layer(tower: Tower, recorded: Mapping[str, Tensor], layer: str, path: DensePath) -> tuple[Tensor, Tensor]:
    """Read one recorded layer in text space: `(image, D)` global and `(image, position, D)` dense."""
    embedding, streams = tower.read(recorded, layer)
    return embedding, along_path(streams, path)
