"""What an explorer says of a result: what was shown to what, what has to be known of it, how prompts were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from denseclip_viz.clip.load.bundled import WarningTokenizer, unknown_words
from denseclip_viz.clip.text.tokenize import unread
from denseclip_viz.explorers.query import Query
from denseclip_viz.images import describe
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.prompts.articles import fill
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many, short

if TYPE_CHECKING:
    import xarray as xr


def status_of(query: Query, trace: Trace) -> str:
    """Tell in one line what was shown to what."""
    y, x = trace.geometry.grid
    refined = [name for name, on in (("denoised", query.denoise), ("smoothed", query.smooth)) if on]
    along = f" along {trace.paths[0]}" if trace.has_path_axis else ""
    parts = [
        query.image.name or describe(query.image.source),
        query.model,
        f"output of {y} × {x} cells · fit: {query.fit}",
        f"{many(len(query.prompts), 'prompt')} × {many(len(query.prompts.templates), 'template')}",
        *([many(len(trace.paths), "path")] if trace.has_path_axis else []),
        *([f"segments {' and '.join(refined)}{along}"] if refined else []),
    ]
    return " · ".join(parts)


def warning_of(model: Model, query: Query, trace: Trace, segments: xr.Dataset | None) -> str:
    """Write what the package would warn of on the command line."""
    warnings = [*query.warned, *([str(trace.provenance["caution"])] if "caution" in trace.provenance else [])]
    if isinstance(model.tokenizer, WarningTokenizer):
        texts = (text for row in query.prompts.texts for text in row)
        unknown = list(dict.fromkeys(word for text in texts for word in unknown_words(text)))
        more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
        if unknown:
            words = ", ".join(short(word) for word in unknown[:4])
            warnings.append(f"{query.model} has never read {words}{more}: what it says of that means nothing.")
    elif apart := unread(model.tokenizer, (text for row in query.prompts.texts for text in row)):
        warnings.append(apart)
    if segments is not None and bool((segments["labels"] < 0).all()):
        by_cut, rule = "cosine_cut" in segments.attrs, segments.attrs["background"]
        removed = "Prompt denoising removed every prompt: none is likely anywhere."
        warnings.append(f"No pixel is named. {rule.capitalize()}." if by_cut else removed)
    elif segments is not None and segments.sizes["label"] == 1 and "cosine_cut" not in segments.attrs:
        warnings.append("One prompt alone has no competitor: name others beside it, or absent ones.")
    return " ".join(warnings)


def note_of(prompts: Prompts) -> str:
    """Say how the prompts were read, where people may mean them, or Python take them, otherwise."""
    listed = next((name for name in prompts.prompts if "," in name), "")
    notes = [f"“{listed}” is one prompt; several go one a line."] if listed else []
    names = [text for synonyms in prompts.synonyms for text in synonyms]
    written = [fill(one, text, articles=False, plural=prompts.plural) for one in prompts.templates for text in names]
    sent = [text for row in prompts.texts for text in row]
    if changed := next((pair for pair in zip(sent, written, strict=True) if pair[0] != pair[1]), None):
        notes.append('Articles are set right, as with articles="right" in Python: “{}”, not “{}”.'.format(*changed))
    return " ".join(notes)
