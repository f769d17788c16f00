"""The bundled models: trained on the bundled world alone, stored with the rows of the token table they know."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from denseclip_viz import toyworld
from denseclip_viz.clip.load.checkpoints import Loaded, load_clip
from denseclip_viz.clip.load.tokenizer import clips_own
from denseclip_viz.clip.load.weights import Drawn, hash_start, require_finite
from denseclip_viz.errors import ModelNameError, PromptError, WeightsError, warn
from denseclip_viz.files import make_folder, save_bytes
from denseclip_viz.prompts import template_set
from denseclip_viz.toyworld.vocabulary import plural

MODELS = Path(toyworld.__file__).parent / "models"
NAMES = ("resnet", "vit", "vit-cls")
WEIGHTS, CARD = "weights.safetensors", "card.json"
TRAINED_ON = "drawn scenes"
_TABLE, _ROWS = "token_embedding.weight", "known_ids"


def folder_of(name: str) -> Path:
    """Find the folder of a bundled model: "resnet", "vit" or "vit-cls".

    Example:
        >>> folder_of("vgg")
        Traceback (most recent call last):
        denseclip_viz.errors.ModelNameError: There is no bundled model 'vgg'. Expected resnet, vit or vit-cls. Name one.
    """
    if name not in NAMES:
        got = f"There is no bundled model {name!r}"
        raise ModelNameError(got, expected=", ".join(NAMES[:-1]) + f" or {NAMES[-1]}", fix="Name one.")
    return MODELS / name


def load_compact(folder: str | os.PathLike[str], *, label: str = "", **options: Any) -> Loaded:
    """Load a model from a folder that `export_compact` wrote; rows that were never trained are zero.

    It knows nothing but the bundled world, and warns of words that it has never read. `label` is what to call it, the
    folder's name by default; the other options are those of `load_clip`.

    Example:
        >>> load_compact("no/such/folder")
        Traceback (most recent call last):
        denseclip_viz.errors.WeightsError: There is no weights.safetensors in no/such/folder. Expected ...
    """
    file = Path(folder) / WEIGHTS
    if not file.is_file():
        got = f"There is no {WEIGHTS} in {folder}"
        fix = "Train it with `denseclip-viz toyworld train`."
        raise WeightsError(got, expected="a folder written after training", fix=fix)
    with Drawn(filled=False):
        loaded = load_clip(folder, pretrained="random", **options)
    _fill(loaded.clip.state_dict(), _tensors(file), file)
    require_finite(loaded.clip, file)
    known = {"model": label or loaded.provenance["model"], "weights": file.name, "weights_hash": hash_start(file)}
    provenance = {**loaded.provenance, **known, "random_weights": 0, "trained_on": TRAINED_ON}
    return Loaded(loaded.clip, WarningTokenizer(loaded.tokenizer), loaded.preprocess, provenance)


def _tensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}


def stored_tensors(name: str) -> dict[str, Tensor]:
    """Read the weights of a bundled model as they are stored: the known rows of the token table, and which they are.

    Example:
        >>> stored_tensors("vit")["visual.proj"].shape
        torch.Size([128, 128])
    """
    return _tensors(folder_of(name) / WEIGHTS)


def is_compact(folder: str | os.PathLike[str]) -> bool:
    """Say whether a folder holds a model as `load_compact` reads it, not one of open_clip's.

    Example:
        >>> is_compact(MODELS / "vit"), is_compact("no/such/folder")
        (True, False)
    """
    try:
        with safe_open(Path(folder) / WEIGHTS, framework="pt") as opened:
            return _ROWS in opened.keys()
    except (OSError, SafetensorError):
        return False


@torch.no_grad()
def _fill(state: Mapping[str, Tensor], stored: dict[str, Tensor], file: Path) -> None:
    rows = stored.pop(_ROWS, None)
    if rows is None or set(stored) != set(state):
        got = f"{file} does not hold the weights that its configuration describes"
        raise WeightsError(got, expected="the two from one training", fix="Export them again.")
    for key, tensor in stored.items():
        if key == _TABLE:
            state[key].zero_()
            state[key][rows.to(state[key].device)] = tensor.to(state[key])
        elif state[key].shape == tensor.shape:
            state[key].copy_(tensor)
        else:
            got = f"{key} in {file} is {tuple(tensor.shape)}"
            raise WeightsError(got, expected=f"{tuple(state[key].shape)}", fix="Export the weights again.")


def export_compact(state: Mapping[str, Tensor], folder: str | Path, *, config: Mapping[str, Any]) -> Path:
    """Write a trained model, floating point as fp16, and its configuration; see `load_compact`.

    `state` has open_clip's names, and of the token table the known rows only; `config` has `model_cfg` and
    `preprocess_cfg`.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    place = make_folder(folder)
    stored = {key: t.detach().cpu().half() if t.is_floating_point() else t.cpu() for key, t in state.items()}
    stored = {key: tensor.contiguous() for key, tensor in stored.items()}
    stored[_ROWS] = torch.from_numpy(known_ids())
    weights = save_bytes(save(stored), place / WEIGHTS, [Path(WEIGHTS).suffix], force=True)
    save_bytes((json.dumps(config, indent=2) + "\n").encode(), place / "open_clip_config.json", [".json"], force=True)
    return weights


class WarningTokenizer:
    """CLIP's tokenizer, with a warning for words that a bundled model has never read."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.sot_token_id: int = tokenizer.sot_token_id
        self.eot_token_id: int = tokenizer.eot_token_id

    def encode(self, text: str) -> list[int]:
        """Turn a text into tokens, without those for begin and end."""
        return list(self._tokenizer.encode(text))

    def decode(self, tokens: list[int]) -> str:
        """Turn tokens into text."""
        return str(self._tokenizer.decode(tokens))

    def __call__(self, texts: str | Iterable[str], context_length: int | None = None) -> Tensor:
        """Turn texts into ids, (text, context)."""
        rows = [texts] if isinstance(texts, str) else list(texts)
        unknown = list(dict.fromkeys(word for text in rows for word in unknown_words(text)))
        if unknown:
            words = ", ".join(repr(word) for word in unknown[:8])
            warn(
                f"The bundled models know only the bundled world and have never read {words}: what they say of it "
                "means nothing. toyworld.vocabulary() lists what they know."
            )
        ids: Tensor = self._tokenizer(rows, context_length)
        return ids


TEMPLATES = "maskclip-85"
_OTHER = (
    "a an the this that these those one two three four five some many and with plus of to on in at by against "
    "there is are here you can see we i it look all around somewhere showing picture photo image drawing "
    "illustration scene background standing under over beneath beside dots spots stripes checks next behind front"
)
_LATER = "no not any without nothing like"  # came with negated captions, when other rows were trained already
_PUNCTUATION = (".", ",", ":", ";", "-", "'", "&", "!", "?", "(", ")", '"')


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return clips_own(context_length=77)


@lru_cache(maxsize=65536)
def _word_ids(word: str) -> tuple[int, ...]:
    return tuple(_tokenizer().encode(word))


def _known_texts() -> list[str]:
    """List texts that together hold every word a caption or a template can use."""
    world = toyworld.vocabulary()
    names = [*world.kinds, *world.groups, *world.colours, *world.surfaces, *world.sizes, *world.stuff, *world.relations]
    names += [word for words in world.synonyms.values() for word in words]
    of_kinds = [word for kind in world.kinds for word in world.synonyms.get(kind, ())]
    names += [plural(word) for word in (*world.kinds, *world.groups, *of_kinds)]
    return [*names, _OTHER, _LATER, *_PUNCTUATION, *(t.format("") for t in template_set(TEMPLATES))]


@lru_cache(maxsize=1)
def known_ids() -> NDArray[np.int64]:
    """List the ids of CLIP's tokenizer that are trained, in order; the last two start and end a text.

    Example:
        >>> known_ids()[-2:].tolist()
        [49406, 49407]
    """
    ids = {id_ for text in _known_texts() for id_ in _tokenizer().encode(text)}
    return np.array(sorted(ids | {0, 49406, 49407}), np.int64)


@lru_cache(maxsize=1)
def later_rows() -> tuple[int, ...]:
    """Return the rows of the token table that came later than the others: their first values are drawn apart.

    Example:
        >>> len(later_rows())
        6
    """
    return tuple(_places()[id_] for id_ in _tokenizer().encode(_LATER))


@lru_cache(maxsize=1)
def _places() -> dict[int, int]:
    return {int(id_): place for place, id_ in enumerate(known_ids())}


def compact_ids(texts: Iterable[str]) -> list[list[int]]:
    """Find the rows of the trained token table for each text, from its start to its end.

    Example:
        >>> [len(row) for row in compact_ids(["a taxi", "a red taxi"])]
        [4, 5]
    """
    return [_compact(text) for text in texts]


@lru_cache(maxsize=65536)
def _compact(text: str) -> list[int]:
    places = _places()
    try:
        return [places[id_] for id_ in (49406, *_tokenizer().encode(text), 49407)]
    except KeyError:
        got, fix = f"The words {', '.join(unknown_words(text))} in {text!r}", "toyworld.vocabulary() lists them."
        raise PromptError(got, expected="words of the bundled world", fix=fix) from None


def unknown_words(text: str) -> list[str]:
    """List the words of a text that the bundled models have never read.

    Example:
        >>> unknown_words("a photo of a taxi and a submarine")
        ['submarine']
    """
    places = _places()
    words = re.findall(r"[^\W\d_]+|\d|[^\s\w]", text.lower())
    return [word for word in dict.fromkeys(words) if any(id_ not in places for id_ in _word_ids(word))]
