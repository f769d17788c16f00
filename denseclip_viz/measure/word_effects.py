"""Which words of a prompt carry its map: by leaving each out, and by gradients through the text tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import context_length
from denseclip_viz.clip.text.tokenize import token_ids
from denseclip_viz.clip.text.word_tokens import token_shares, word_places, words_of
from denseclip_viz.errors import PromptError
from denseclip_viz.maps.similarity import attributes, named
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.metrics import correlation
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_on

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import Model

_WORDS = ("template", "word", "y", "x")


@guarded
def word_attribution(
    model: Model,
    image: Any,
    prompt: str,
    templates: Any = "none",
    *,
    articles: str = "as written",
    gradient: bool = True,
) -> xr.Dataset:
    """Say which words of a prompt carry its map.

    Two answers. *Left out*: the text is read again without the word, and what the map loses is the word's. *Gradient*:
    the change of each cell's cosine as the word's token embeddings grow (gradient × embedding, summed over the word's
    tokens), through the whole text tower. They may disagree: leaving a word out also moves the words behind it.

    Args:
        model: A loaded model; nothing on it changes.
        image: An image, or a trace of it.
        prompt: Two words or more, parted by white space.
        templates: As for `Prompts`; the words of the template are in `gradient_rest`.
        articles: As for `Prompts`. A word that a template takes away by itself changes nothing when it is left out.
        gradient: Leave the second answer out with False.

    Returns:
        `dense` (template, y, x), cosines of the whole prompt; `without` and `change` = dense - without
        (template, word, y, x); `peak_change` (template, word), the highest cosine with the word less that without it;
        `same_map` (template, word), Pearson correlation of the two maps; and with gradients `gradient`
        (template, word, y, x), `gradient_rest` (template, y, x) of all other tokens, begin and end included, and
        `gradient_peak` (template, word), at the map's peak. `image` for figures.

    Raises:
        PromptError: a prompt of one word, tokens that do not part where words do, or gradients of words in a text
            whose articles were set right.
        UnsupportedTowerError: gradients of a text tower without a table of tokens.

    Example:
        >>> import denseclip_viz as dcv
        >>> scene = dcv.toyworld.scene("a red taxi on a road", 128)
        >>> words = dcv.measure.word_attribution(dcv.load(), scene, "a red taxi")
        >>> str(words.peak_change[0].idxmax().item())
        'taxi'
    """
    import xarray as xr

    prompts, gradient = _one(prompt, templates, articles), is_on(gradient, "gradient", error=PromptError)
    if gradient:
        _refuse_other_words(prompts)
    words = words_of(prompt)
    trace = (image if isinstance(image, Trace) else model.trace(image)).one_path("effects of words")
    whole = model.similarity(trace, prompts).isel(prompt=0, drop=True).drop_vars("absent", errors="ignore")
    without = np.stack([model.similarity(trace, shorter).values[:, 0] for shorter in _left_out(prompts)], axis=1)
    full, in_sight = whole.values[:, None], trace.geometry.in_sight
    data: dict[str, Any] = {
        "dense": whole,
        "without": (_WORDS, without),
        "change": (_WORDS, full - without, named("what a word adds to dense features against text")),
        "peak_change": (_WORDS[:2], full[..., in_sight].max(-1) - without[..., in_sight].max(-1)),
        "same_map": (_WORDS[:2], correlation(full[..., in_sight], without[..., in_sight])),
    }
    if gradient:
        data |= _gradients(model, trace, prompts, whole.values)
    data["image"] = (("row", "column", "rgb"), trace.image)
    attrs = {**attributes(trace), "prompt": prompt}
    return with_quantities(xr.Dataset(data, coords={"word": words}, attrs=attrs))


def _one(prompt: str, templates: Any, articles: str) -> Prompts:
    if not isinstance(prompt, str):
        got = f"prompt came as {type(prompt).__name__}"
        raise PromptError(got, expected="one prompt, as text", fix="Attribute one prompt at a time.")
    prompts = Prompts([prompt], templates, articles=articles)
    if len(prompt.split()) < 2:
        raise PromptError(
            f"The prompt {prompt!r} is one word",
            expected="two words or more, parted by spaces: something must be left when one is left out",
            fix="Say more, or write the words of a template into the prompt.",
        )
    return prompts


def _refuse_other_words(prompts: Prompts) -> None:
    for template in prompts.templates:
        text, written = prompts.texts_of(template)[0], template.replace("{}", prompts.prompts[0])
        if text != written:
            got, fix = f"Gradients of words in {written!r}, which is said as {text!r}", "Pass gradient=False."
            raise PromptError(got, expected="the words as they were written", fix=fix)


def _left_out(prompts: Prompts) -> list[Prompts]:
    """Leave out each word of a prompt in turn."""
    words = prompts.prompts[0].split()
    shorter = [" ".join(words[:at] + words[at + 1 :]) for at in range(len(words))]
    return [Prompts([text], prompts.templates, articles=prompts.articles) for text in shorter]


def _gradients(model: Model, trace: Trace, prompts: Prompts, maps: Floats) -> dict[str, Any]:
    pairs = [_shares(model, trace, template, prompts) for template in prompts.templates]
    gradient, rest = (np.stack([pair[i].numpy() for pair in pairs]) for i in (0, 1))
    flat = gradient[..., trace.geometry.in_sight]
    peaks = maps[:, trace.geometry.in_sight].argmax(-1)
    at_peak = np.take_along_axis(flat, peaks[:, None, None], -1)[..., 0]
    return {
        "gradient": (_WORDS, gradient),
        "gradient_rest": (("template", "y", "x"), rest),
        "gradient_peak": (_WORDS[:2], at_peak),
    }


def _shares(model: Model, trace: Trace, template: str, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Draw maps of the words `(word, y, x)` and of all other tokens `(y, x)` in one template."""
    prompt, length = prompts.prompts[0], context_length(model.clip, model.tokenizer)
    places = word_places(model.tokenizer, template, prompt, context=length)
    text = template.replace("{}", prompt)
    ids = token_ids(model.tokenizer, [text], context=length, truncate=False)[0]
    cells = F.normalize(trace.dense.flatten(0, 1), dim=-1)
    # a cosine is linear in the cell's direction: as many ways back as there are cells, or as text space has axes
    few = len(cells) <= cells.shape[1]
    shares = token_shares(model.clip, ids, cells if few else torch.eye(cells.shape[1], dtype=cells.dtype))
    shares = shares.to(cells.dtype) if few else cells @ shares.to(cells.dtype)
    words = torch.stack([shares[:, place].sum(-1) for place in places])
    grid = trace.dense.shape[:2]
    return words.unflatten(-1, grid), (shares.sum(-1) - words.sum(0)).unflatten(-1, grid)
