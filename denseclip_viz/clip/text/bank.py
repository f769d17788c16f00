"""Prompts to unit text vectors, with a memory of what was encoded, also on disk."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from denseclip_viz.clip.surroundings import guarded, products_of_float32
from denseclip_viz.clip.text.disk_cache import Cache, TextCache, cache_folder, identity, live_print
from denseclip_viz.clip.text.encode import Progress, context_length, encoded, mean_over_synonyms
from denseclip_viz.clip.text.tokenize import Tokenizer, token_ids, unread
from denseclip_viz.errors import OutputError, PromptError, warn
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.validation import many, short


class _Rows:
    """The vectors of texts in their order, each copied to its places as it comes: nothing else is held of them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            self.places.setdefault(text, []).append(place)
        self.missing = dict.fromkeys(self.places)
        self.vectors, self._count = torch.empty(0), len(texts)

    def put(self, text: str, vector: Tensor) -> None:
        if not self.vectors.numel():
            self.vectors = vector.new_empty(self._count, len(vector))
        for place in self.places[text]:
            self.vectors[place] = vector
        self.missing.pop(text, None)


@guarded
class TextBank:
    """Unit text vectors by text: what was encoded once is not encoded again.

    In memory the least used go first. On disk (`disk_cache.TextCache`) vectors outlive the session: in the folder
    that `cache` or the variable DENSECLIP_VIZ_CACHE names ("off": nowhere), else in the system's folder for caches;
    at most 2 GiB, the longest unread deleted first, and the file may be deleted at any time. The key is the text and
    everything else that its vector depends on (`disk_cache.identity`).

    Args:
        clip: An open_clip model whose weights stay as they are (call `clear` when they changed).
        tokenizer: Its tokenizer.
        size: How many texts are kept in memory: 16384 of width 1024 are 64 MiB.
        provenance: What `load_clip` says of the model; without it nothing is kept on disk.
        cache: A folder, False for none, None for the default.
        live: Somebody else holds the model and may train it: all is forgotten when its numbers change.

    Raises:
        OutputError: A folder that cannot be one, or one without provenance.

    Example:
        >>> import open_clip
        >>> vision = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
        >>> clip = open_clip.CLIP(4, vision, {"width": 16, "heads": 2, "layers": 1}).eval()
        >>> bank = TextBank(clip, open_clip.SimpleTokenizer())
        >>> bank.encode(["a red car", "grass"]).shape, len(bank)  # (template, prompt, D)
        (torch.Size([1, 2, 4]), 2)
    """

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Tokenizer,
        *,
        size: int = 16384,
        provenance: Mapping[str, str | int] | None = None,
        cache: Cache = None,
        live: bool = False,
    ) -> None:
        self._clip, self._tokenizer, self._size = clip, tokenizer, size
        self._shelf = VectorShelf(size)
        self._lock = threading.Lock()
        self._live, self._numbers = live, ""
        self._provenance = dict(provenance or {})
        self.cache = cache_folder(cache) if self._provenance.get("weights_hash") else None
        self._disk: TextCache | None = None
        self._printed = "" if self.cache is None else live_print(clip)
        self._warnings: set[str] = {""}
        if cache and self.cache is None and not self._provenance.get("weights_hash"):
            got, expected = f"cache={str(cache)!r} without provenance", "what load_clip says of the model"
            raise OutputError(got, expected=expected, fix="Pass provenance=loaded.provenance.")

    def encode(
        self,
        prompts: Prompts | Named,
        *,
        batch_size: int = 256,
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> Tensor:
        """Give the unit vector of every prompt in every template, never averaged (`ensemble` does that).

        Only the synonyms of one prompt are averaged, where `Prompts` has some. An interrupt loses the batch that
        was running and nothing else. Options are those of `encode_texts`, of the texts that are new.

        Returns:
            (template, prompt, D) on the CPU, as `encode_texts`.

        Raises:
            PromptError: As `Prompts` and `encode_texts`; of a text that is too long, the prompt and the templates; two
                prompts that the tokenizer reads alike, as they would be one competitor twice.
            OutOfMemoryError: A batch does not fit.

        Warns:
            UserWarning: As `encode_texts`.
        """
        prompts = Prompts.of(prompts)
        table = prompts.texts
        rows = self._recall([text for texts in table for text in texts], truncate)
        if rows.missing:
            try:
                self._encode(list(rows.missing), rows, batch_size, truncate, progress)
            except PromptError as error:
                if (named := self._name_prompt(error, prompts, truncate)) is None:
                    raise
                raise named from error
        vectors = rows.vectors.reshape(len(table), len(table[0]), -1)
        self._refuse_alike(prompts, vectors, truncate)
        self._warn(unread(self._tokenizer, rows.places))
        return mean_over_synonyms(vectors, prompts.prompt_index)

    def identity_of(self, prompts: Prompts) -> str:
        """Say what the vectors of prompts are of: the texts, and all else that they depend on (`disk_cache.identity`).

        The vectors themselves do not say it: their last bits differ with the texts that share a batch, and from one
        processor to another.
        """
        tower = identity(self._clip, self._tokenizer, self._provenance)
        return hashlib.sha256(repr((tower, prompts.texts, prompts.prompt_index)).encode()).hexdigest()

    def clear(self) -> None:
        """Forget every vector in memory, for when the weights of the text tower changed; on disk the key is new."""
        self._forget()
        self._printed = "" if self.cache is None else live_print(self._clip)

    def _forget(self) -> None:
        with self._lock:
            self._shelf.clear()
            self._disk = None

    def __len__(self) -> int:
        return len(self._shelf)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a copy, also in another process, start with an empty memory, and a lock and a database of its own."""
        bank = partial(
            type(self), size=self._size, provenance=self._provenance, cache=self.cache or False, live=self._live
        )
        return bank, (self._clip, self._tokenizer)

    def __repr__(self) -> str:
        where = f", kept in {self.cache}" if self.cache else ", not kept on disk"
        return f"TextBank({len(self)} of at most {self._size} texts{where})"

    def _encode(
        self, new: Sequence[str], into: _Rows, batch_size: int, truncate: bool, progress: Progress | None
    ) -> None:
        disk, done = self._open(), 0
        batches = encoded(self._clip, self._tokenizer, new, batch_size=batch_size, truncate=truncate)
        try:
            for rows, vectors in batches:
                texts = [new[row] for row in rows.tolist()]
                self._keep(into, texts, vectors, truncate)
                if disk is not None:
                    disk.add(texts, vectors, truncate=truncate)
                done += len(texts)
                if progress is not None:
                    progress(done, len(new))
        finally:
            if disk is not None:
                disk.flush()

    def _warn(self, caution: str) -> None:
        """Warn once; Python's own memory of what was said is lost wherever filters of warnings change."""
        if caution not in self._warnings:
            self._warnings.add(caution)
            warn(caution)

    def _open(self) -> TextCache | None:
        """Open the cache at the first use, not before: what the key needs of the weights is read then."""
        with self._lock:
            if self._disk is None and self.cache is not None:
                self._disk = TextCache(self.cache, identity(self._clip, self._tokenizer, self._provenance))
            return self._disk

    def _recall(self, texts: Sequence[str], truncate: bool) -> _Rows:
        """Take what is known; a text that was cut on request is still refused without the request, hence the key."""
        self._forget_other_numbers(f"{products_of_float32()} {live_print(self._clip) if self._live else ''}")
        rows = self._remembered(texts, truncate)
        if rows.missing and self.cache is not None and self._printed != live_print(self._clip):
            self.clear()  # nobody was to change it, but no other model may read its texts as those of the file
            rows = self._remembered(texts, truncate)
        disk = self._open() if rows.missing else None
        if disk is not None:
            read = disk.recall(list(rows.missing), truncate=truncate)
            self._keep(rows, list(read), read.values(), truncate)
        return rows

    def _forget_other_numbers(self, numbers: str) -> None:
        if numbers != self._numbers:
            self._forget()
            self._numbers = numbers

    def _remembered(self, texts: Sequence[str], truncate: bool) -> _Rows:
        rows = _Rows(texts)
        with self._lock:
            for text in list(rows.missing):
                vector = self._shelf.get((text, truncate))
                if vector is not None:
                    rows.put(text, vector)
        return rows

    def _keep(self, rows: _Rows, texts: Sequence[str], vectors: Iterable[Tensor], truncate: bool) -> None:
        with self._lock:
            for text, vector in zip(texts, vectors, strict=True):
                rows.put(text, vector)
                self._shelf.put((text, truncate), vector)

    def _refuse_alike(self, prompts: Prompts, vectors: Tensor, truncate: bool) -> None:
        """Refuse two prompts with the same token ids; only texts whose vectors are alike need to be read again."""
        context, prompt_index = context_length(self._clip, self._tokenizer), prompts.prompt_index
        for template, rows in zip(prompts.templates, vectors, strict=True):
            if not (suspects := alike(rows, prompt_index)):
                continue
            filled = prompts.texts_of(template)
            ids = token_ids(self._tokenizer, [filled[at] for at in suspects], context=context, truncate=truncate)
            owners: dict[tuple[int, ...], int] = {}
            for at, row in zip(suspects, ids.tolist(), strict=True):
                first = owners.setdefault(tuple(row), at)
                one, other = (prompts.prompts[prompt_index[place]] for place in (first, at))
                if one != other:
                    raise _read_alike(one, other, filled[first], filled[at], template)

    def _name_prompt(self, error: PromptError, prompts: Prompts, truncate: bool) -> PromptError | None:
        """Name the prompt that cannot be read, and in which templates, where that is not the text itself."""
        columns = (texts.index(error.text) for texts in prompts.texts if error.text in texts)
        if prompts.templates == ("{}",) or (column := next(columns, None)) is None:
            return None
        fits = [self._fits(texts[column], truncate) for texts in prompts.texts]
        if not (bad := fits.count(False)):
            return None
        where = f"in the template {short(prompts.templates[fits.index(False)])}"
        where += f" and {bad - 1} more" if bad > 1 else ""
        good = f"; it fits into the other {many(len(fits) - bad, 'template')}" if any(fits) else ""
        got = f"{error.got} (the prompt {short(prompts.prompts[prompts.prompt_index[column]])} {where}{good})"
        return PromptError(got, expected=error.expected, fix=error.fix)

    def _fits(self, text: str, truncate: bool) -> bool:
        try:
            token_ids(self._tokenizer, [text], context=context_length(self._clip, self._tokenizer), truncate=truncate)
        except PromptError:
            return False
        return True


_ALIKE = 0.999  # cosine: what half precision and other company in a batch can make of the vector of one text


def alike(vectors: Tensor, owners: Sequence[int]) -> list[int]:
    """Find the vectors, (text, D), that are nearly the same as one of another owner, (text,).

    Example:
        >>> alike(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), [0, 1, 2])
        [0, 2]
    """
    whose = torch.tensor(owners)
    blocks = zip(vectors.split(_BLOCK), whose.split(_BLOCK), strict=True)
    same = [((block @ vectors.T > _ALIKE) & (mine[:, None] != whose)).any(1) for block, mine in blocks]
    return torch.cat(same).nonzero().flatten().tolist()


def _read_alike(one: str, other: str, first: str, second: str, template: str) -> PromptError:
    where = "" if template == "{}" else f" in the template {short(template)}"
    texts = "" if (first, second) == (one, other) else f" ({short(first)} and {short(second)})"
    got = f"The tokenizer reads the prompts {short(one)} and {short(other)} alike{where}{texts}"
    return PromptError(got, expected="prompts that differ to the model", fix="Take one of the two out.")


_BLOCK = 1024  # vectors


class VectorShelf:
    """Vectors of one length by key.

    They are copied into blocks of 1024. Thousands of small tensors would lie scattered among the large ones of the
    forward passes and keep the memory of those from being used again: 0.1 GB for some thousand texts. Of more than
    `size` vectors the least used are forgotten.

    Example:
        >>> shelf = VectorShelf(2)
        >>> for key in "abc":
        ...     shelf.put(key, torch.ones(3) * ord(key))
        >>> len(shelf), shelf.get("a"), shelf.get("c")
        (2, None, tensor([99., 99., 99.]))
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._slots: OrderedDict[Hashable, int] = OrderedDict()
        self._blocks: list[Tensor] = []

    def get(self, key: Hashable) -> Tensor | None:
        """Look up the vector of a key, `(D,)`, or None. It is the shelf's own: copy it before the next is put."""
        if key not in self._slots:
            return None
        self._slots.move_to_end(key)
        return self._at(self._slots[key])

    def put(self, key: Hashable, vector: Tensor) -> None:
        """Keep a copy of a vector, `(D,)`."""
        if self._size < 1:
            return
        if key not in self._slots:
            self._slots[key] = self._slot(vector)
        self._slots.move_to_end(key)
        self._at(self._slots[key]).copy_(vector)

    def __len__(self) -> int:
        return len(self._slots)

    def _slot(self, vector: Tensor) -> int:
        if len(self._slots) >= self._size:
            return self._slots.popitem(last=False)[1]
        slot, rows = len(self._slots), min(_BLOCK, self._size)
        if slot >= rows * len(self._blocks):
            self._blocks.append(torch.empty(rows, len(vector), dtype=vector.dtype))
        return slot

    def _at(self, slot: int) -> Tensor:
        rows = len(self._blocks[0])
        return self._blocks[slot // rows][slot % rows]
