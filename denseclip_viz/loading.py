"""The front door: a name becomes a model."""

from __future__ import annotations

import os
from typing import Any

from denseclip_viz.clip.load.align_checkpoint import is_align, load_align
from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.text.cache_key import Cache
from denseclip_viz.errors import WeightsError
from denseclip_viz.model import Model

BUNDLED = "bundled-"


def load(name: str = "bundled-resnet", *, cache: Cache = None, **options: Any) -> Model:
    """Load a CLIP: a bundled one, any open_clip model with a tag or a local checkpoint, or an ALIGN of transformers.

    Args:
        name: `"bundled-resnet"` or `"bundled-vit"` (they know only the bundled world), an open_clip name
            (`"ViT-B-16"`), a folder with an `open_clip_config.json` or one that `denseclip-viz toyworld pack` wrote, or
            an ALIGN: `"align:kakaobrain/align-base"` out of the download cache, `"align:FOLDER"`, or the folder alone.
        cache: Where text vectors are kept on disk: a folder, `False` for nowhere, `None` for the folder that the
            variable DENSECLIP_VIZ_CACHE names, or the system's own. The bundled models keep none unless a folder is
            given: they encode as fast as a file is read, and say each time which words they do not know.
        **options: As for `encode.checkpoints.load_clip`: `pretrained=` (a tag, a file, or `"random"`), `device=`,
            `dtype=`, `preset=`, and single switches; for an ALIGN as for `encode.align.load_align`.

    Raises:
        ModelNameError: an unknown name or tag.
        WeightsError: weights that are not here or do not fit.
        UnsupportedTowerError: a tower whose pooling is not supported.
    """
    if options.get("pretrained") is None and isinstance(name, str | os.PathLike) and os.path.isdir(name):
        from denseclip_viz.clip.load.bundled import is_compact, load_compact

        if is_compact(name):
            options.pop("pretrained", None)
            return Model(load_compact(name, **options), cache=cache or False)
    if isinstance(name, str) and name.startswith(BUNDLED):
        from denseclip_viz.clip.load.bundled import load_bundled

        if options.get("pretrained") is None:
            options.pop("pretrained", None)
            return Model(load_bundled(name.removeprefix(BUNDLED), **options), cache=cache or False)
        raise WeightsError(
            f"pretrained={options['pretrained']!r} for the bundled model {name}",
            expected="no weights: it brings its own",
            fix="Leave pretrained out, or name another model.",
        )
    loaded = load_align(name, **options) if is_align(name) else load_clip(name, **options)
    return Model(loaded, cache=cache)
