"""From recorded streams to dense features: a table of paths, and the one function that all of them are.

    y   = r · x_e + Σ_{last n blocks} O(A V)      x_e: the stream that enters the first of them; V: values, per head
    y  += MLP(y)
    F   = head(y)                 the norm and the projection that the pooled vector goes through too

A is the identity for the value path ("attend to yourself alone"), or the attention of a path (`self_attention`). A row
of the table says which parts of the sum it keeps. All rows are made of one forward pass: no path changes what the
tower computes. Source: MaskCLIP's official vit.py (`return_qkv`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from denseclip_viz.clip.changed_stream import changed_features
from denseclip_viz.clip.dense_path import DensePath, Term
from denseclip_viz.clip.given import given_mix
from denseclip_viz.clip.self_attention import Mixer, blocks_of
from denseclip_viz.clip.towers.linearize import apply
from denseclip_viz.clip.towers.tower import Streams, Tower
from denseclip_viz.errors import LayerError


def _bare(name: str, *attention: str | Term, residual: bool = False, **switches: float) -> DensePath:
    return DensePath(name, attention, residual=residual, mlp=False, **switches)  # type: ignore[arg-type]


def _smooth(name: str, attention: tuple[str | Term, ...], **switches: Any) -> DensePath:
    """Make a path whose patches are averaged with their like, before the last block and behind it."""
    like: dict[str, Any] = {"class_key": False, "smooth": (9, 4), "summed": (4, 10), "class_token": 0.3}
    return DensePath(name, attention, residual=False, mlp=False, **like, **switches)


_EVERY = tuple(range(1, 13))
_SIMILAR_AND_KEYS = (Term("similar", 0.5, (9,)), Term("kk", 0.5))
PATHS = {
    path.name: path
    for path in (
        DensePath("value"),
        DensePath("value-attention-only", residual=False, mlp=False),
        DensePath("value-positional", positional=True),
        DensePath("value-maskclip", antialias=False),
        DensePath("vanilla", ("qk",)),
        DensePath("sclip", ("qq", "kk")),
        _bare("clearclip", "qq"),
        _bare("naclip", "kk", gaussian=5.0),
        _bare("clip-surgery", "vv", residual=True, blocks=6),
        _bare("gem", *(Term(kind, 1 / 3) for kind in ("vv", "kk", "qq")), residual=True, blocks=6, iterations=1),
        _bare("resclip", Term("kk", 0.8), Term("qk", 1.2, (6, 7, 8, 9)), gaussian=5.0),
        _bare("itaclip", *(Term(k, 0.5, b) for b in ((), (7, 8, 10)) for k in ("qq", "kk")), residual=True),
        _bare("kk-all-blocks", Term("kk", 1.0, _EVERY)),
        _smooth("sc-clip", _SIMILAR_AND_KEYS, outliers="density"),
        _smooth(
            "sfp",
            tuple(Term(kind, 1 / 3, blocks) for kind, blocks in (("similar", (9,)), ("kk", ()), ("qq", ()))),
            outliers="class",
            summed_attention=(Term("similar", 1.0, (9,)),),
        ),
        _smooth("dih-clip", _SIMILAR_AND_KEYS, heads=4),
        _bare("pearl", "aligned"),
        _bare("pearl-in-five-steps", "aligned-in-five-steps"),
        _bare("cliper", Term("balanced", 1.0, _EVERY[:-1]), late=True),
        _bare("proxyclip", "features"),
        _bare("cass", "spectral", gaussian=5.0),
        _bare("cass-as-released", "spectral-as-released", gaussian=5.0),
        DensePath("textregion", ("regions-without-global",), residual=False),
        DensePath("region-means", ("regions",), residual=False),
    )
}
"""The rows by name, with block numbers of twelve. What a method does behind its features is no part of them.

`value` MaskCLIP (arXiv 2112.01071), and TIPSv2 (2604.12012); `value-maskclip` as its official code resizes positions;
`sclip` 2312.01597; `clearclip` 2407.12442; `naclip` 2404.08181; `clip-surgery` 2304.05653; `gem` 2312.00878; `resclip`
2411.15851, its attention; `itaclip` 2411.12044, one image, no definitions; `kk-all-blocks` the baseline of RF-CLIP,
2511.16170; `sc-clip` 2411.15869; `sfp` ICCV 2025, code of 7 Dec 2025; `dih-clip` ICCV 2025, pp. 22794-22803; `pearl`
2603.21528, its attention, by the polar factor, `pearl-in-five-steps` by what its code makes of it; `cliper` 2411.13836
without diffusion, features averaged in place of probabilities. Of what is given, `PATHS["proxyclip"].with_given(…)`:
`proxyclip` 2408.04883; `cass` 2411.17150, its attention, `cass-as-released` as its code has it; `textregion`
2505.23769, and `region-means`, which looks at all of a region.
"""
_SWITCHES = {switch.name: switch.default for switch in fields(DensePath) if switch.compare and switch.name != "name"}
_OF_STREAMS = {"outliers", "smooth", "summed", "summed_attention", "class_token", "late"}
_OF_BLOCKS = {"blocks", "gaussian", "iterations", "class_key", "heads"} | _OF_STREAMS


def choose_path(path: object) -> DensePath:
    """Find a path by name.

    Raises:
        LayerError: no row of the table has this name.

    Example:
        >>> choose_path("value").mlp
        True
    """
    if isinstance(path, DensePath):
        return path
    if not isinstance(path, str) or path not in PATHS:
        raise LayerError(
            f"path {path!r} is unknown", expected=f"one of {', '.join(PATHS)}", fix="Or pass a DensePath(...)."
        )
    return PATHS[path]


def paths_of(tower: Tower) -> tuple[str, ...]:
    """Name the paths that give something of their own in a tower: all that they switch is there, or attend by."""
    return tuple(path.name for path in PATHS.values() if offers(tower, path))


def paths_together(tower: Tower) -> tuple[str, ...]:
    """Name those of them that one forward pass of any size gives: all resize positions as the model does."""
    return tuple(name for name in paths_of(tower) if PATHS[name].antialias)


def offers(tower: Tower, path: DensePath) -> bool:
    """Say whether all that a path switches is there in a tower, and whatever it attends by was given."""
    return _switched(path) <= tower.switches and (path.given is not None or not path.of_given)


def _switched(path: DensePath) -> set[str]:
    changed = {name for name, default in _SWITCHES.items() if getattr(path, name) != default} - _OF_BLOCKS
    changed -= {"attention"} if path.of_given else set()  # values are all that it takes; keys too are named below
    changed -= {"residual", "mlp"} if path.of_one_layer else set()  # what is not there cannot be kept either
    return changed | set(_needs(path))


def _needs(path: DensePath) -> dict[str, str]:
    """Give the switches of a tower that a path cannot do without, and why."""
    why = {
        "layer": "other paths mix by queries, keys and values of all positions",
        "blocks": "other paths mix the blocks in front of a class token",
        "streams": "in this one blocks turn queries and keys by their places, so no other stream can enter them",
    }
    needs = {"layer": path.of_blocks, "blocks": path.of_blocks and not path.of_one_layer, "streams": path.of_streams}
    return {name: why[name] for name, needed in needs.items() if needed}


def wanted_blocks(tower: Tower, paths: Sequence[DensePath]) -> tuple[int, ...]:
    """Give the numbers, from 0, of the transformer blocks that paths are made of.

    Raises:
        LayerError: A path of blocks in a tower without a class token.
    """
    lacking = [(path, why) for path in paths for name, why in _needs(path).items() if name not in tower.switches]
    for path, why in lacking:
        got, expected = (
            f"path {path.name!r} in a tower with {tower.family}",
            f"one of {', '.join(paths_of(tower))}: {why}",
        )
        raise LayerError(got, expected=expected, fix=f"Trace with path={paths_of(tower)[0]!r}.")
    mixed = [path for path in paths if path.of_blocks or (path.cut and "residual" in tower.switches)]
    return tuple(sorted(set().union(*(blocks_of(path, _depth(tower)) for path in mixed))))


def _depth(tower: Tower) -> int:
    """Count the blocks that paths can be made of: all, or the one layer that pools."""
    return len(tower.layers) if "blocks" in tower.switches else 1


def dense_features(tower: Tower, streams: Streams, paths: Sequence[DensePath], grid: tuple[int, int]) -> list[Tensor]:
    """Make the dense features of every path, `(image, position, D)` each; what comes out the same is made once.

    Raises:
        LayerError: a path that the tower does not offer.
    """
    mixer = Mixer(streams, grid, _depth(tower))
    switches = (tower.switches | {"attention", *_OF_BLOCKS}) - {"antialias"}  # how positions are resized is one for all
    features: dict[tuple[object, ...], Tensor] = {}
    unlike = [(id(path.given), *(getattr(path, name) for name in _SWITCHES if name in switches)) for path in paths]
    for path, key in zip(paths, unlike, strict=True):
        if key not in features:
            features[key] = along_path(streams, path, mixer)
    return [features[key] for key in unlike]


def along_path(streams: Streams, path: DensePath, mixer: Mixer | None = None) -> Tensor:
    """Make the dense features of one path, `(image, position, D)`; `mixer` is for paths of blocks.

    Raises:
        LayerError: a path that the tower does not offer.
    """
    if path.of_blocks or path.of_given or (path.cut and streams.entering is not None):
        if mixer is None:
            got, expected = f"path {path.name!r} for one layer", "value, vanilla, or another that reads one layer"
            raise LayerError(got, expected=expected, fix="Trace the layers with path='value'.")
        if path.of_streams:
            return changed_features(mixer, path)
        if not path.of_blocks and path.of_given:
            return apply(streams.head, _sum_given(streams, path, mixer.grid))
        return apply(streams.head, mixer.stream(path))
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
    return _with_rest(streams, path, stream, streams.entering)


def _sum_given(streams: Streams, path: DensePath, grid: tuple[int, int]) -> Tensor:
    """Sum y up where positions attend by what was given alone."""
    mixed = given_mix(path, streams.values[:, streams.prefix :], grid, streams.heads)
    entering = None if streams.entering is None else streams.entering[:, streams.prefix :]
    return _with_rest(streams, path, apply(streams.project, mixed), entering)


def _with_rest(streams: Streams, path: DensePath, stream: Tensor, entering: Tensor | None) -> Tensor:
    if path.residual and entering is not None:
        stream = entering + stream
    return stream + apply(streams.mlp, stream) if path.mlp and streams.mlp else stream


def one_antialias(tower: Tower, pixels: Tensor, paths: Sequence[DensePath]) -> bool:
    """Say how positions are resized in the one pass for these paths.

    Raises:
        LayerError: they want it in two ways, and this input is of another size than the tower's table.
    """
    if len({path.antialias for path in paths}) > 1 and tower.resizes_positions(pixels):
        plain, smooth = ([p.name for p in paths if p.antialias is on] for on in (False, True))
        height, width = pixels.shape[-2:]
        raise LayerError(
            f"paths {', '.join(plain)} and {', '.join(smooth)} together, for an input of {height} x {width} pixels",
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
