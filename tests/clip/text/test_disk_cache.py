"""Text vectors on disk: found again, never half-written, never of another model, and never in the way."""

import copy
import os
import pickle
import sqlite3
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import open_clip
import pytest
import torch
from fill_bank import fill
from processes import result_of

import denseclip_viz as dcv
from denseclip_viz.clip.text import disk_cache
from denseclip_viz.clip.text.bank import TextBank
from denseclip_viz.clip.text.disk_cache import FILE, CacheWarning, TextCache, cache_folder, tokenizer_print
from denseclip_viz.clip.text.encode import encode_texts
from denseclip_viz.errors import LayerError, OutputError

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


def ask(folder, query, *values):
    """What the database of a folder answers, and [] where there is none."""
    file = Path(folder) / FILE
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as db, db:
        return db.execute(query, values).fetchall()


def texts_in(folder):
    return [text for (text,) in ask(folder, "SELECT text FROM vectors ORDER BY text")]


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """What came of twenty processes that were killed, and of two at once."""
    if not hasattr(os, "fork"):
        pytest.skip("kill -9 is of systems that fork")
    return result_of(fill, tmp_path_factory.mktemp("bank"), 20)


def test_a_second_session_encodes_nothing(tmp_path):
    assert encoded_by(bank(tmp_path)) == 20 and encoded_by(bank(tmp_path)) == 0
    first, again = bank(tmp_path), bank(tmp_path)
    assert torch.equal(first.encode(TEXTS), again.encode(TEXTS)) and len(again) == 20
    assert texts_in(tmp_path) == sorted(TEXTS) and "kept in" in repr(again)
    assert sorted(os.listdir(tmp_path)) == [FILE] and (tmp_path / FILE).stat().st_mode & 0o77 == 0


def test_only_what_is_new_is_encoded(tmp_path):
    bank(tmp_path).encode(TEXTS[:16])
    assert encoded_by(bank(tmp_path)) == 4


def test_vectors_of_another_format_are_deleted(tmp_path):
    bank(tmp_path).encode(TEXTS)
    ask(tmp_path, "UPDATE vectors SET model = 'an older key'")
    ask(tmp_path, "PRAGMA user_version = 1")
    assert encoded_by(bank(tmp_path)) == 20 and encoded_by(bank(tmp_path)) == 0
    assert ask(tmp_path, "SELECT count(*) FROM vectors WHERE model = 'an older key'") == [(0,)]


def test_nothing_of_a_model_in_training_mode_is_kept(tmp_path):
    clip = build()
    clip.transformer.train()
    with pytest.raises(LayerError, match="training mode"):
        bank(tmp_path, clip).encode(TEXTS)
    assert texts_in(tmp_path) == []


def test_what_is_kept_under_autocast_is_exact(tmp_path):
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert bank(tmp_path).encode(TEXTS).dtype == torch.float32
    assert encoded_by(bank(tmp_path)) == 0


def test_what_shorter_products_of_float32_gave_is_not_taken_for_exact_in_memory_or_on_disk(tmp_path):
    ours = bank(tmp_path)
    ours.encode(TEXTS)
    torch.set_float32_matmul_precision("medium")
    try:
        assert encoded_by(ours) == 20 and encoded_by(bank(tmp_path)) == 0
    finally:
        torch.set_float32_matmul_precision("highest")
    assert encoded_by(ours) == 0 and len(texts_in(tmp_path)) == 2 * len(TEXTS)


def test_a_copy_of_a_bank_has_a_memory_and_a_database_of_its_own(tmp_path):
    ours = bank(tmp_path)
    vectors = ours.encode(TEXTS)
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - our own
        assert len(copied) == 0 and copied.cache == ours.cache and copied._clip is not CLIP
        assert torch.equal(copied.encode(TEXTS), vectors) and len(ours) == len(copied) == 20


def test_a_few_texts_wait_for_more_before_they_are_written(tmp_path):
    ours = bank(tmp_path)
    ours.encode(TEXTS[:10])
    assert not texts_in(tmp_path)
    ours.encode(TEXTS[10:])
    assert len(texts_in(tmp_path)) == 20 and encoded_by(bank(tmp_path)) == 0


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


WAYS = {
    "asked": lambda changed: changed,
    "cleared": lambda changed: changed.clear() or changed,
    "copied": lambda changed: copy.copy(changed),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_asked_before", [True, False])
def test_texts_of_weights_that_were_changed_by_hand_are_not_kept_as_those_of_the_file(tmp_path, is_asked_before, way):
    clip, more = build(seed=2), [f"{text}, again" for text in TEXTS]
    changed = bank(tmp_path, clip)
    if is_asked_before:
        changed.encode(TEXTS)
    with torch.no_grad():  # a few numbers, which no sample of them shows
        clip.token_embedding.weight[TOKENIZER(["photo"])[0, 1]].add_(torch.randn(16))
    changed = WAYS[way](changed)
    assert torch.equal(changed.encode(more + TEXTS[:1])[0], bank(False, clip).encode(more + TEXTS[:1])[0])
    assert not torch.equal(changed.encode(TEXTS), bank(tmp_path, build(seed=2)).encode(TEXTS))
    fresh = build(seed=2)
    assert torch.equal(bank(tmp_path, fresh).encode(more), bank(False, fresh).encode(more))


def test_settings_that_change_no_number_and_are_set_back_lose_nothing_on_disk(tmp_path):
    clip = build(seed=2)
    first = bank(tmp_path, clip)
    first.encode(TEXTS)
    clip.transformer.grad_checkpointing = True
    first.encode(["another"])
    clip.transformer.grad_checkpointing = False
    told = []
    bank(tmp_path, clip).encode(TEXTS, progress=lambda *numbers: told.append(numbers))
    assert not told and "kept in" in repr(first)


def test_a_text_that_was_cut_on_request_is_still_refused_in_the_next_session(tmp_path):
    long = [f"{number} {'a ' * 99}" for number in range(16)]  # what is left of them differs, or they were read alike
    bank(tmp_path).encode(long, truncate=True)
    assert bank(tmp_path).encode(long, truncate=True).shape == (1, 16, 8)
    with pytest.raises(dcv.DenseclipVizError, match="tokens"):
        bank(tmp_path).encode(long)


def test_a_file_cut_anywhere_is_set_aside_with_a_warning_and_made_anew(tmp_path):
    bank(tmp_path).encode(TEXTS)
    file = tmp_path / FILE
    whole = file.read_bytes()
    for end in (7, 8, 100, len(whole) // 2, len(whole) - 4096):
        file.write_bytes(whole[:end])
        with pytest.warns(CacheWarning, match="is broken"):
            assert encoded_by(bank(tmp_path)) == 20
        assert encoded_by(bank(tmp_path)) == 0 and (tmp_path / f"{FILE}.broken").read_bytes() == whole[:end]
    file.write_bytes(whole[:-1])  # the empty end of a page
    encoded_by(bank(tmp_path))
    file.write_bytes(b"")  # what SQLite has before its first write
    assert encoded_by(bank(tmp_path)) == 20 and encoded_by(bank(tmp_path)) == 0


def test_a_single_wrong_bit_is_noticed(tmp_path):
    bank(tmp_path).encode(TEXTS)
    file = tmp_path / FILE
    whole = file.read_bytes()
    ((vector, checksum),) = ask(tmp_path, "SELECT vector, checksum FROM vectors WHERE text = ?", TEXTS[3])
    for place, count in ((3, 20), (whole.index(vector) + 5, 1), (whole.index(checksum) + 7, 1)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.warns(CacheWarning, match="is broken"):
            assert encoded_by(bank(tmp_path)) == count
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert encoded_by(bank(tmp_path)) <= 1, "a lone text waits for more before it is written"


@pytest.mark.filterwarnings("ignore::denseclip_viz.clip.text.disk_cache.CacheWarning")
def test_a_wrong_bit_anywhere_never_makes_a_wrong_vector_nor_an_error(tmp_path):
    bank(tmp_path).encode(TEXTS)
    file = tmp_path / FILE
    whole = file.read_bytes()
    for place in [*range(16, 110, 7), *range(110, len(whole), 501), *(whole.index(b"photo") + at for at in (0, 2, -3))]:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        encoded_by(bank(tmp_path))


def test_rows_of_another_model_are_dropped_and_their_like_are_left(tmp_path):
    bank(tmp_path).encode(TEXTS)
    ((mine,),) = ask(tmp_path, "SELECT DISTINCT model FROM vectors")
    bank(tmp_path, model="another").encode(TEXTS[:16])
    ask(tmp_path, "DELETE FROM vectors WHERE model = ? AND text = ?", mine, TEXTS[0])
    ask(tmp_path, "UPDATE vectors SET model = ? WHERE model != ? AND text = ?", mine, mine, TEXTS[0])
    with pytest.warns(CacheWarning, match="1 text in .* is broken"):
        assert encoded_by(bank(tmp_path)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(texts_in(tmp_path)) == 19 + 15 and encoded_by(bank(tmp_path)) == 1


@pytest.mark.parametrize("change", ["vector = 'letters'", "vector = 20", "vector = NULL", "dtype = '<f2'", "dtype = 3",
                                    "checksum = NULL", "cut = 'no'", "used = 'never'"])  # fmt: skip
def test_a_row_that_says_something_else_is_dropped_too(tmp_path, change):
    bank(tmp_path).encode(TEXTS)
    ask(tmp_path, f"UPDATE vectors SET {change}")
    unseen = change.startswith(("cut", "used"))  # such a row is not found, or as good as another
    with warnings.catch_warnings() if unseen else pytest.warns(CacheWarning, match="is broken"):
        assert encoded_by(bank(tmp_path)) == (0 if change.startswith("used") else 20)


@pytest.mark.parametrize("table", ["CREATE TABLE vectors (a)", "CREATE VIEW vectors AS SELECT 1 AS model"])
def test_a_database_of_something_else_is_set_aside(tmp_path, table):
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute(table)
    with pytest.warns(CacheWarning, match="is broken.*set aside"):
        assert encoded_by(bank(tmp_path)) == 20
    assert encoded_by(bank(tmp_path)) == 0


def test_a_file_that_another_process_deletes_is_made_anew(tmp_path):
    ours = bank(tmp_path)
    ours.encode(TEXTS)
    ours._shelf.clear()
    (tmp_path / FILE).unlink()
    assert encoded_by(ours) == 20 and encoded_by(bank(tmp_path)) == 0


def test_threads_can_share_a_cache(tmp_path):
    cache = TextCache(tmp_path, {"model": "one"}, least=1, seconds=0)

    def fill(number):
        texts = [f"thing {number} {text}" for text in range(20)]
        vectors = torch.full((20, 4), float(number))
        cache.add(texts, vectors, truncate=False)
        return torch.equal(torch.stack(list(cache.recall(texts, truncate=False).values())), vectors)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fill, range(32)))
    assert len(texts_in(tmp_path)) == 640


def test_what_earlier_versions_kept_is_removed_and_what_is_not_theirs_stays(tmp_path):
    old, other = (tmp_path / "texts" / (letter * 32) for letter in "ab")
    for folder in (old, other):
        folder.mkdir(parents=True)
        (folder / f"{'c' * 32}.safetensors").write_bytes(b"vectors")
        (folder / ".half.part").write_bytes(b"half")
    (other / "mine.txt").write_text("mine")
    bank(tmp_path).encode(TEXTS)
    assert sorted(path.name for path in (tmp_path / "texts").rglob("*") if path.is_file()) == ["mine.txt"]
    assert not old.exists()


def test_an_interrupt_keeps_what_was_encoded(tmp_path):
    def stop(done, of):
        if done >= 16:
            raise KeyboardInterrupt

    ours = bank(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ours.encode(TEXTS, batch_size=4, progress=stop)
    assert len(ours) == 16 and encoded_by(bank(tmp_path)) == 4


def test_a_process_that_dies_while_it_writes_leaves_no_row_to_be_read(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        calls = iter(range(10))
        patch.setattr(disk_cache, "_checksum", lambda *_: b"" if next(calls, None) is not None else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bank(tmp_path).encode(TEXTS)
    assert not texts_in(tmp_path) and encoded_by(bank(tmp_path)) == 20


def test_a_folder_that_cannot_be_written_is_a_warning_and_the_vectors_are_right(tmp_path):
    place = tmp_path / "a file"
    place.write_text("here")
    ours = bank(place)
    with pytest.warns(CacheWarning, match=r"cannot be kept .*DENSECLIP_VIZ_CACHE"):
        assert encoded_by(ours) == 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.encode([f"another {text}" for text in TEXTS])


def lock(folder):
    """A connection that holds the lock for writing until it is closed."""
    db = sqlite3.connect(folder / FILE)
    db.execute("BEGIN IMMEDIATE")
    return db


def read_only(folder):
    """As root no folder is for reading only, so SQLite is told to say so."""
    plain = sqlite3.connect
    return lambda file, timeout: plain(f"{Path(file).as_uri()}?mode=ro", uri=True)


def test_a_lock_that_stays_leaves_the_vectors_in_memory(tmp_path, monkeypatch):
    bank(tmp_path).encode(TEXTS[:16])
    monkeypatch.setattr(disk_cache, "_PATIENCE", 0.01)
    with closing(lock(tmp_path)), pytest.warns(CacheWarning, match=r"cannot be kept .*locked.*DENSECLIP_VIZ_CACHE"):
        bank(tmp_path).encode([f"another {text}" for text in TEXTS])
    assert encoded_by(bank(tmp_path)) == 4, "what was written before is read"


def test_a_file_for_reading_only_leaves_the_vectors_in_memory(tmp_path, monkeypatch):
    bank(tmp_path).encode(TEXTS[:16])
    monkeypatch.setattr(sqlite3, "connect", read_only(tmp_path))
    ours = bank(tmp_path)
    with pytest.warns(CacheWarning, match=r"cannot be kept .*readonly.*DENSECLIP_VIZ_CACHE"):
        ours.encode([f"another {text}" for text in TEXTS])
    assert (tmp_path / FILE).exists() and encoded_by(ours) == 20


def test_a_network_folder_leaves_the_vectors_in_memory(tmp_path, monkeypatch):
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\n"
    plain = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda file, **how: mounts if "mounts" in str(file) else plain(file, **how))
    assert disk_cache.on_network(tmp_path / "deep" / "inside") and not disk_cache.on_network(tmp_path.parent)
    with pytest.warns(CacheWarning, match=r"cannot be kept .*a network folder.*DENSECLIP_VIZ_CACHE"):
        assert encoded_by(bank(tmp_path)) == 20
    assert not (tmp_path / FILE).exists()


def test_the_longest_unread_vectors_go_when_there_are_too_many(tmp_path):
    cache = TextCache(tmp_path, {"model": "one"}, least=1, most_bytes=2000)
    vectors = torch.nn.functional.normalize(torch.randn(1, 200), dim=-1)
    for number, text in enumerate("abc"):
        cache.add([text], vectors, truncate=False)
        cache.flush()
        if number == 1:
            ask(tmp_path, "UPDATE vectors SET used = rowid")
            assert cache.recall(["a"], truncate=False)
    assert cache.recall(["a", "b", "c"], truncate=False).keys() == {"a", "c"}
    nothing = TextCache(tmp_path, {"model": "two"}, least=1, most_bytes=0)
    nothing.add(["d"], vectors, truncate=False)
    nothing.flush()
    assert not texts_in(tmp_path)


def test_without_provenance_nothing_is_kept_and_a_folder_is_refused(tmp_path):
    assert TextBank(CLIP, TOKENIZER).cache is None
    with pytest.raises(OutputError, match="without provenance"):
        TextBank(CLIP, TOKENIZER, cache=tmp_path)


def test_a_loaded_model_keeps_its_texts_where_it_is_told(load_tiny, tmp_path):
    prompts = dcv.Prompts(TEXTS, "{}!")
    first = load_tiny("vit", cache=tmp_path).texts.encode(prompts)
    told = []
    again = load_tiny("vit", cache=tmp_path).texts.encode(prompts, progress=lambda *numbers: told.append(numbers))
    assert torch.equal(first, again) and not told and len(texts_in(tmp_path)) == 20
    assert load_tiny("vit", cache=False).texts.cache is None


@pytest.mark.slow
def test_a_bank_that_is_killed_while_it_fills_ends_right_the_next_time(forked):
    done = forked["killed"]
    assert len(done["kept"]) == 20 and any(done["killed"])
    assert any(0 < kept < done["of"] for kept in done["kept"]), "no kill came in the middle"


@pytest.mark.slow
def test_two_processes_can_fill_one_folder_at_once(forked):
    assert forked["together"]["kept"] == [forked["together"]["of"]]


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
