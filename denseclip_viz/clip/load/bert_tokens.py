"""BERT's tokenizer, out of a folder, asked as CLIP's own is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip_viz.clip.load.weights import first_line
from denseclip_viz.errors import ModelNameError, PromptError

FILES = ("tokenizer.json", "vocab.txt")


class BertTokens:
    """A BERT tokenizer of transformers: begin, the text's tokens, end, and padding up to the context.

    Words that it does not know are refused, as are control tokens: two prompts that differ only in what is
    unknown would get one vector, and padding inside a prompt would hide it from the attention.

    Args:
        folder: Holds tokenizer.json or vocab.txt, and tokenizer_config.json.

    Raises:
        ModelNameError: No tokenizer, one that cannot be read, or one of another kind.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = _read(folder)
        ids = [self.tokenizer.cls_token_id, self.tokenizer.sep_token_id, self.tokenizer.pad_token_id]
        framed = None if None in ids else self._ids("a", add_special_tokens=True)
        if framed is None or framed != [ids[0], *self._ids("a"), ids[1]]:
            got, fix = f"The tokenizer in {folder} does not frame a text as BERT does", "Copy the model's own."
            raise ModelNameError(got, expected="[CLS], the text, [SEP], and a token for padding", fix=fix)
        self.sot_token_id, self.eot_token_id, self.pad_token_id = (int(number) for number in ids)
        self.context_length, self.size = int(self.tokenizer.model_max_length), len(self.tokenizer)
        self._control = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}

    def encode(self, text: str) -> list[int]:
        """Text to tokens, without those for begin and end.

        Raises:
            PromptError: A word that is not known, or a control token.
        """
        ids = self._ids(text)
        if held := self._control & set(ids):
            got = f"The prompt {text[:60]!r} holds {self.tokenizer.convert_ids_to_tokens(min(held))}, a control token"
            raise PromptError(got, expected="words only", fix="Take it out.")
        if self.tokenizer.unk_token_id in ids:
            lost = [word for word in text.split() if self.tokenizer.unk_token_id in self._ids(word)]
            got = f"The prompt {text[:60]!r} holds {' '.join(lost or [text])[:60]!r}, which the tokenizer does not know"
            fix = "Say it in other words, or take a model that reads this language."
            raise PromptError(got, expected="a text of which nothing is lost", fix=fix)
        return ids

    def decode(self, tokens: list[int]) -> str:
        """Tokens to text."""
        return str(self.tokenizer.decode(tokens))

    def __call__(self, texts: str | Iterable[str], context_length: int | None = None) -> Tensor:
        """Texts to ids, `(text, context)`; what is too long is cut before the end."""
        length = context_length or self.context_length
        rows = [self.encode(text)[: length - 2] for text in ([texts] if isinstance(texts, str) else texts)]
        ids = torch.full((len(rows), length), self.pad_token_id)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens) + 2] = torch.tensor([self.sot_token_id, *tokens, self.eot_token_id])
        return ids

    def _ids(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Without cutting or padding, which would be settings that the tokenizer keeps, for all threads."""
        found = self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
        return [int(number) for number in found]


def _read(folder: Path) -> Any:
    from transformers import BertTokenizer

    if not any((folder / name).is_file() for name in FILES):
        fix = "Save it there: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)."
        got = f"The folder {folder} holds no tokenizer"
        raise ModelNameError(got, expected=" or ".join(FILES), fix=fix)
    expected, fix = "a BERT tokenizer, as transformers writes it", "Copy the model's own."
    try:
        kind = _said(folder / "tokenizer_config.json").get("tokenizer_class", "BertTokenizer")
        _said(folder / FILES[0], "model")  # read here first: the tokenizers' own reader has no error of its own
        if kind in ("BertTokenizer", "BertTokenizerFast"):
            return BertTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        got = f"The tokenizer in {folder} cannot be read ({first_line(error)})"
        raise ModelNameError(got, expected=expected, fix=fix) from error
    raise ModelNameError(f"The tokenizer in {folder} is a {kind!r}", expected=expected, fix=fix)


def _said(file: Path, *needed: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else dict.fromkeys(needed)
    if missing := [name for name in needed if name not in said]:
        raise LookupError(f"{file.name} says nothing of its {missing[0]}")
    return said
