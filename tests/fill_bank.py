"""Processes that fill a text bank on disk and die: what tests/clip/text/test_disk_cache.py runs beside itself.

In a process of its own, because it forks: each child has the model at once. Every child ends by `os._exit`.
"""

import os
import random
import signal
import sqlite3
import time
import warnings
from contextlib import closing
from functools import partial
from pathlib import Path

import open_clip
import torch
from processes import ended, forked

from denseclip_viz.clip.text import bank
from denseclip_viz.clip.text.bank import TextBank
from denseclip_viz.clip.text.disk_cache import FILE
from denseclip_viz.clip.text.encode import encode_texts

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
PROVENANCE = {"model": "tiny", "weights_hash": "random-0", "dtype": "float32"}
TOKENIZER = open_clip.SimpleTokenizer()
BATCH = 8


def build():
    torch.manual_seed(0)
    return open_clip.CLIP(8, VISION, {"width": 16, "heads": 2, "layers": 2}).eval()


def said(turn, count=160):
    return [f"thing {number} of turn {turn}" for number in range(count)]


def bank_in(folder, clip):
    return TextBank(clip, TOKENIZER, provenance=PROVENANCE, cache=folder)


def written(folder, clip, texts):
    return len(bank_in(folder, clip)._open().recall(texts, truncate=False))


def child(work):
    """Runs `work` in a fork; a warning there is an error."""

    def strictly():
        warnings.simplefilter("error")
        work()

    return forked(strictly)


def rows(folder):
    """How many texts are written."""
    with closing(sqlite3.connect(f"{Path(folder, FILE).as_uri()}?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM vectors").fetchone()[0]


def check(folder, clip, texts):
    """The next run: what is there is read, the rest made, and all of it is right."""
    found = bank_in(folder, clip).encode(texts, batch_size=BATCH)[0]
    # float32's own error: batches of other sizes end in other bits
    assert (found - encode_texts(clip, TOKENIZER, texts)).abs().max() <= 3e-6


def kill(folder, clip, rounds):
    """Kills a process while it fills the bank: at any moment, and every other time when it has begun to write."""
    start = time.monotonic()
    assert ended(child(lambda: bank_in(folder, clip).encode(said("first"), batch_size=BATCH))) == 0
    whole, kept, killed = time.monotonic() - start, [], []
    for turn in range(rounds):
        texts, before = said(turn), rows(folder)
        number = child(lambda texts=texts: bank_in(folder, clip).encode(texts, batch_size=BATCH))
        while turn % 2 and rows(folder) == before:
            time.sleep(0.001)
        if turn % 4 != 1:  # at once after the first rows too: a quick machine is done before any wait ends
            time.sleep(random.Random(turn).uniform(0, whole / 4 if turn % 2 else whole))
        os.kill(number, signal.SIGKILL)
        killed.append(ended(number) == -signal.SIGKILL)
        kept.append(written(folder, clip, texts))
        assert ended(child(lambda texts=texts: check(folder, clip, texts))) == 0
    return {"kept": kept, "killed": killed, "of": len(said(0))}


def together(folder, clip):
    """Two processes encode the same texts into one folder at the same time; a third needs the text tower no more."""
    texts = said("both")
    assert [ended(number) for number in [child(lambda: check(folder, clip, texts)) for _ in range(2)]] == [0, 0]
    return {"kept": [written(folder, clip, texts)], "of": len(texts)}


def fill(folder, rounds):
    """What came of as many processes that were killed, and of two at once."""
    # every batch is written, each time that a bank opens its file: so a kill hits a write as often as it can
    bank.TextCache = partial(bank.TextCache, least=1, seconds=0)
    clip = build()
    return {"killed": kill(folder, clip, rounds), "together": together(Path(folder, "new"), clip)}
