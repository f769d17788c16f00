"""What kept text vectors depend on, and where they are kept."""

import open_clip
import pytest

from denseclip_viz.clip.text.disk_cache import cache_folder, tokenizer_print
from denseclip_viz.errors import OutputError


def test_the_tokenizer_is_part_of_the_key():
    plain = open_clip.SimpleTokenizer()
    keys = [
        tokenizer_print(tokenizer, 77)
        for tokenizer in (
            plain,
            open_clip.SimpleTokenizer(),
            open_clip.SimpleTokenizer(reduction_mask="simple"),
            open_clip.SimpleTokenizer(clean="canonicalize"),
            open_clip.SimpleTokenizer(additional_special_tokens=["<x>"]),
            lambda texts, context_length=77: plain(texts, context_length),
        )
    ]
    assert keys[0] == keys[1] and len({*keys, tokenizer_print(plain, 40)}) == 6


def test_the_folder_is_the_argument_or_the_variable_or_the_systems_own(monkeypatch, tmp_path):
    for off in ("off", "0", "", "No"):
        monkeypatch.setenv("DENSECLIP_VIZ_CACHE", off)
        assert cache_folder() is None and cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("DENSECLIP_VIZ_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path and cache_folder(False) is None
    monkeypatch.delenv("DENSECLIP_VIZ_CACHE")
    assert "denseclip_viz" in str(cache_folder()) and cache_folder(True) == cache_folder()
    for bad in (3, b"here", ["here"], ""):
        with pytest.raises(OutputError, match="cache="):
            cache_folder(bad)
