"""Text vectors on disk: found again, never half-written, never of another model, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import denseclip_viz as dcv
from denseclip_viz.clip.text.bank import TextBank, encode_texts
from denseclip_viz.clip.text.disk_cache import CacheWarning, TextCache
from denseclip_viz.errors import OutputError
from denseclip_viz.files import ENDING, clean

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
TOKENIZER = open_clip.SimpleTokenizer()
PROVENANCE = {"model": "tiny", "weights_hash": "random-0", "activation": "gelu", "switches": "none", "dtype": "float32"}
TEXTS = [f"a photo of {number} cars" for number in range(20)]


def build(seed=0, kind=open_clip.CLIP, **text):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(8, VISION, {"width": 16, "heads": 2, "layers": 1, **text}).eval()


CLIP = build()


def bank(folder, clip=CLIP, tokenizer=TOKENIZER, **provenance):
    return TextBank(clip, tokenizer, provenance={**PROVENANCE, **provenance}, cache=folder)


def encoded_by(some):
    """How many texts the next call has to encode."""
    told = []
    vectors = some.encode(TEXTS, progress=lambda done, of: told.append(of))
    assert (vectors[0] - encode_texts(CLIP, TOKENIZER, TEXTS)).abs().max() <= 1e-6
    return told[0] if told else 0


def files(folder):
    return sorted(Path(folder).glob(f"texts/*/*{ENDING}"))


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """What came of twenty processes that were killed, and of two at once."""
    if not hasattr(os, "fork"):
        pytest.skip("kill -9 is of systems that fork")
    script = [sys.executable, Path(__file__).with_name("fill_bank.py"), tmp_path_factory.mktemp("bank"), "20"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_session_encodes_nothing(tmp_path):
    assert encoded_by(bank(tmp_path)) == 20 and encoded_by(bank(tmp_path)) == 0
    first, again = bank(tmp_path), bank(tmp_path)
    assert torch.equal(first.encode(TEXTS), again.encode(TEXTS)) and len(again) == 20
    assert len(files(tmp_path)) == 1 and "kept in" in repr(again)


def test_only_what_is_new_is_encoded(tmp_path):
    bank(tmp_path).encode(TEXTS[:16])
    assert encoded_by(bank(tmp_path)) == 4


def test_a_few_texts_wait_for_more_before_a_file_is_written(tmp_path):
    ours = bank(tmp_path)
    ours.encode(TEXTS[:10])
    assert not files(tmp_path)
    ours.encode(TEXTS[10:])
    assert len(files(tmp_path)) == 1 and encoded_by(bank(tmp_path)) == 0


@pytest.mark.parametrize("changed", ["model", "weights_hash", "activation", "switches", "dtype"])
def test_what_was_said_of_the_model_is_part_of_the_key(tmp_path, changed):
    bank(tmp_path).encode(TEXTS)
    assert encoded_by(bank(tmp_path, **{changed: "another"})) == 20


def test_other_numbers_in_the_text_tower_are_another_model_whatever_its_file_was_called(tmp_path):
    bank(tmp_path).encode(TEXTS)
    clip = build(seed=1)
    vectors = bank(tmp_path, clip).encode(TEXTS)[0]
    assert (vectors - encode_texts(clip, TOKENIZER, TEXTS)).abs().max() <= 1e-6
    changed = bank(tmp_path, clip)
    changed.encode(TEXTS)
    torch.nn.init.normal_(clip.ln_final.weight)
    changed.clear()
    assert (changed.encode(TEXTS)[0] - encode_texts(clip, TOKENIZER, TEXTS)).abs().max() <= 1e-6
    torch.nn.init.normal_(clip.visual.conv1.weight)
    told = []
    bank(tmp_path, clip).encode(TEXTS, progress=lambda *numbers: told.append(numbers))
    assert not told, "the image tower does not change what texts are"


def test_a_text_that_was_cut_on_request_is_still_refused_in_the_next_session(tmp_path):
    long = [f"{'a ' * 99}{number}" for number in range(16)]
    bank(tmp_path).encode(long, truncate=True)
    assert bank(tmp_path).encode(long, truncate=True).shape == (1, 16, 8)
    with pytest.raises(dcv.DenseclipVizError, match="tokens"):
        bank(tmp_path).encode(long)


def test_a_file_cut_anywhere_is_dropped_with_a_warning_and_made_anew(tmp_path):
    bank(tmp_path).encode(TEXTS)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    for end in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        with pytest.warns(CacheWarning, match="is broken"):
            assert encoded_by(bank(tmp_path)) == 20
        assert file.read_bytes() == whole, "equal texts make an equal file"


def test_a_single_wrong_bit_is_noticed(tmp_path):
    bank(tmp_path).encode(TEXTS)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    for place in (3, 40, whole.index(b"photo"), len(whole) // 2, len(whole) - 2):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.warns(CacheWarning, match="is broken"):
            assert encoded_by(bank(tmp_path)) == 20


def test_files_that_are_none_of_ours_are_dropped_and_their_like_are_left(tmp_path):
    bank(tmp_path).encode(TEXTS)
    (file,) = files(tmp_path)
    other = bank(tmp_path, model="another")
    other.encode(TEXTS)
    (alien,) = (path for path in files(tmp_path) if path != file)
    alien.rename(file.with_name(alien.name))
    file.with_name(".half.part").write_bytes(b"half")
    with pytest.warns(CacheWarning, match="another model"):
        assert encoded_by(bank(tmp_path)) == 0
    assert file.exists() and file.with_name(".half.part").exists() and not file.with_name(alien.name).exists()


@pytest.mark.parametrize("texts", [[["a list"]], ["one too few"] * 19, "letters", 20, {"a": 1}])
def test_a_header_that_says_something_else_is_dropped_too(tmp_path, texts):
    bank(tmp_path).encode(TEXTS)
    (file,) = files(tmp_path)
    with safe_open(file, framework="pt") as opened:
        said, vectors = json.loads(opened.metadata()["denseclip_viz"]), opened.get_tensor("vectors")
    save_file({"vectors": vectors}, file, metadata={"denseclip_viz": json.dumps({**said, "texts": texts})})
    with pytest.warns(CacheWarning, match="is broken"):
        assert encoded_by(bank(tmp_path)) == 20


def test_a_file_that_another_process_deletes_is_made_anew(tmp_path):
    ours = bank(tmp_path)
    ours.encode(TEXTS)
    ours._shelf.clear()
    files(tmp_path)[0].unlink()
    assert encoded_by(ours) == 20


def test_an_interrupt_keeps_what_was_encoded(tmp_path):
    def stop(done, of):
        if done >= 16:
            raise KeyboardInterrupt

    ours = bank(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ours.encode(TEXTS, batch_size=4, progress=stop)
    assert len(ours) == 16 and encoded_by(bank(tmp_path)) == 4


def test_a_process_that_dies_while_it_writes_leaves_no_file_to_be_read(tmp_path, monkeypatch):
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                bank(tmp_path).encode(TEXTS)
        assert not files(tmp_path) and not list(tmp_path.glob("texts/*/.*"))
    assert encoded_by(bank(tmp_path)) == 20


def test_a_folder_that_cannot_be_written_is_a_warning_and_the_vectors_are_right(tmp_path):
    place = tmp_path / "a file"
    place.write_text("here")
    ours = bank(place)
    with pytest.warns(CacheWarning, match=r"cannot be kept .*DENSECLIP_VIZ_CACHE"):
        assert encoded_by(ours) == 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.encode([f"another {text}" for text in TEXTS])


def test_the_longest_unread_files_go_when_there_are_too_many(tmp_path):
    cache = TextCache(tmp_path, {"model": "one"}, least=1, most_bytes=2500)
    vectors = torch.nn.functional.normalize(torch.randn(1, 200), dim=-1)
    for number, text in enumerate("abc"):
        cache.add([text], vectors, truncate=False)
        cache.flush()
        if number == 1:
            for age, path in enumerate(sorted(files(tmp_path), key=os.path.getmtime)):
                os.utime(path, (age, age))
            assert cache.recall(["a"], truncate=False)
    assert cache.recall(["a", "b", "c"], truncate=False).keys() == {"a", "c"}
    abandoned = cache.folder / ".old.part"
    abandoned.touch()
    clean(tmp_path / "texts", 10**6)
    assert abandoned.exists()
    os.utime(abandoned, (0, time.time() - 7200))
    clean(tmp_path / "texts", 0)
    assert not list(cache.folder.iterdir())


def test_without_provenance_nothing_is_kept_and_a_folder_is_refused(tmp_path):
    assert TextBank(CLIP, TOKENIZER).cache is None
    with pytest.raises(OutputError, match="without provenance"):
        TextBank(CLIP, TOKENIZER, cache=tmp_path)


def test_a_loaded_model_keeps_its_texts_where_it_is_told(load_tiny, tmp_path):
    prompts = dcv.Prompts(TEXTS, "{}!")
    first = load_tiny("vit", cache=tmp_path).texts.encode(prompts)
    told = []
    again = load_tiny("vit", cache=tmp_path).texts.encode(prompts, progress=lambda *numbers: told.append(numbers))
    assert torch.equal(first, again) and not told and len(files(tmp_path)) == 1
    assert load_tiny("vit", cache=False).texts.cache is None


@pytest.mark.slow
def test_a_bank_that_is_killed_while_it_fills_ends_right_the_next_time(forked):
    done = forked["killed"]
    assert len(done["kept"]) == 20 and any(done["killed"])
    assert any(0 < kept < done["of"] for kept in done["kept"]), "no kill came in the middle"


@pytest.mark.slow
def test_two_processes_can_fill_one_folder_at_once(forked):
    assert forked["together"]["kept"] == [forked["together"]["of"]]
