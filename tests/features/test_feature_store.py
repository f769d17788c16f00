"""A store of features: images encoded once, exact about its error, never half-written."""

import json
import os
import random
import shutil
import signal
import time
import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from cloudpickle import dumps, loads
from feature_stores import folder_of, picture, quietly
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judge import held
from processes import ended, forked, result_of
from test_broken_places import almost_full
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.errors import ImageError, LayerError, OutputError, PromptError
from denseclip_viz.features import best_rows, shard_reader
from denseclip_viz.features.best_rows import BestRows
from denseclip_viz.features.image_search import lowest
from denseclip_viz.features.manifest import Manifest
from denseclip_viz.progress import traced_beside

search = dcv.features.search
PROMPTS = dcv.Prompts(["a taxi", "grass"], ["{}", "a photo of {}"])
posix = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("pictures") / "all")


@pytest.fixture(scope="module")
def store(vit, files, tmp_path_factory):
    return quietly(vit, files, tmp_path_factory.mktemp("store") / "a", path=["value", "vanilla"])


def content(place):
    """All that counts of a store: each image's facts and numbers, and the bytes of its shards."""
    opened = dcv.features.open_store(place)
    facts = [image._replace(shard=None) for image in (*opened.images, *opened.unread)]
    return facts, {shard.file: (place / shard.file).read_bytes() for shard in opened.shards}


# What is in it


def test_a_map_of_a_store_is_the_model_s_within_the_error_that_the_store_states(vit, store, files):
    assert 0 < store.error < 5e-4 and f"{store.error:.1e}" in repr(store)
    for file in (files[0], files[1], files[2]):
        trace = vit.trace(file, path=["value", "vanilla"], geometry="whole")
        ours, theirs = store.similarity(file, vit, PROMPTS), vit.similarity(trace, PROMPTS)
        assert float(abs(ours - theirs).max()) <= store.error + 1e-6
        xr.testing.assert_equal(ours.drop_vars([]).coords.to_dataset(), theirs.coords.to_dataset())
        assert (
            ours.attrs.pop("features") == f"stored as float16, cosines within {store.error:.1e}"
            and ours.attrs == theirs.attrs
        )


def test_in_single_precision_the_error_is_rounding(vit, files, tmp_path):
    exact = quietly(vit, files, tmp_path / "store", dtype="float32")
    assert exact.error < 1e-6
    ours = exact.similarity(files[4], vit, PROMPTS)
    assert float(abs(ours - vit.similarity(vit.trace(files[4], geometry="whole"), PROMPTS)).max()) < 1e-6


def test_the_stated_error_bounds_the_cosine_with_any_text_and_is_no_looser_than_it_must_be(vit, store, files):
    true = torch.nn.functional.normalize(vit.trace(files[1], geometry="whole").dense.flatten(0, 1), dim=-1)
    kept = torch.nn.functional.normalize(store.trace(files[1]).dense[0].flatten(0, 1), dim=-1)
    worst = torch.nn.functional.normalize(kept - true, dim=-1)  # the text that sees the difference best
    seen = ((kept - true) * worst).sum(-1).max()
    assert store.error / 4 < float(seen) <= store.error + 1e-6


def test_a_stored_trace_serves_whatever_needs_features_alone(vit, store, files):
    stored, trace = store.trace(files[0]).with_path("value"), vit.trace(files[0], geometry="whole")
    torch.testing.assert_close(stored.global_embedding, trace.global_embedding, rtol=0, atol=2e-3)
    assert stored.geometry == trace.geometry and stored.name == trace.name
    np.testing.assert_array_equal(store.read_image(0), trace.image)
    shares = vit.classify(stored, PROMPTS)
    np.testing.assert_allclose(shares, vit.classify(trace, PROMPTS), atol=0.02)
    assert vit.segment(stored, PROMPTS).labels.shape == trace.geometry.image
    with pytest.raises(LayerError, match="that did not keep it"):
        vit.compare(stored, PROMPTS)


def test_images_are_known_by_path_name_and_number_and_others_are_refused(store, files):
    assert store.find(str(files[1])) == store.find("δύο.png") == store.find(1) == 1
    assert len(store) == 6 and store.unread[0].name == "broken.png"
    for nobody in ("broken.png", "nobody.png", -1, 6):
        held(lambda image=nobody: store.trace(image), ImageError)


def test_numbers_of_numpy_are_numbers_and_other_things_are_refused_by_name(store):
    assert store.find(np.int64(1)) == 1
    for odd in (True, 1.0, None):
        with pytest.raises(ImageError, match="its path, its name or its number"):
            store.find(odd)


def test_scenes_and_arrays_are_known_by_their_pixels(vit, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    store = quietly(vit, [array, array.copy(), array[::-1]], tmp_path / "store")
    assert len(store) == 2
    held(lambda: store.read_image(0), ImageError)
    assert len(quietly(vit, [array[:, ::-1], array], tmp_path / "store")) == 3


@pytest.mark.parametrize("keep", ["global", "dense"])
def test_what_is_not_kept_is_refused_by_name(vit, files, tmp_path, keep):
    store, other = quietly(vit, files, tmp_path / keep, keep=keep), {"global": "dense", "dense": "global"}[keep]
    assert search(store, vit, PROMPTS, k=2, by=keep).sizes["rank"] == 2
    held(lambda: search(store, vit, PROMPTS, by=other), LayerError)
    held(lambda: store.similarity(0, vit, PROMPTS) if keep == "global" else store.scores(vit, PROMPTS), LayerError)


def test_tiles_are_kept_on_one_grid(vit, tmp_path):
    file = picture(tmp_path / "wide.png", (40, 100))
    store = quietly(vit, [file], tmp_path / "store", geometry="tiles", batch_size=2)
    maps = vit.similarity(vit.trace(file, geometry="tiles", batch_size=2), PROMPTS)
    assert float(abs(store.similarity(0, vit, PROMPTS) - maps).max()) <= store.error + 1e-6


# Search


def test_search_is_what_sorting_all_scores_gives(vit, store):
    found, scores = search(store, vit, PROMPTS, k=4), store.scores(vit, PROMPTS)
    order = np.argsort(-scores.values, axis=0, kind="stable")[:4]
    np.testing.assert_array_equal(found.number, order.transpose(1, 2, 0))
    np.testing.assert_allclose(found.score, np.take_along_axis(scores.values, order, 0).transpose(1, 2, 0), atol=1e-6)
    assert found.image.values[0, 0, 0] == store.names[order[0, 0, 0]]


def test_search_by_dense_finds_the_peaks_of_the_maps(vit, store):
    found = search(store, vit, PROMPTS, k=9, by="dense", path="vanilla")
    assert found.sizes["rank"] == len(store)
    for number in range(len(store)):
        maps = store.similarity(number, vit, PROMPTS).sel(path="vanilla")
        for template, prompt in np.ndindex(2, 2):
            one, line = maps[template, prompt], found.isel(template=template, prompt=prompt)
            line = line.isel(rank=line.number.values.tolist().index(number))
            np.testing.assert_allclose(line.score, one.max(), atol=1e-6)
            y, x = store.images[number].geometry.placement().cell_at((line.y + 0.5, line.x + 0.5))
            np.testing.assert_allclose(one[y, x], one.max(), atol=1e-6)


def padded(vit, place):
    """A store of three images below the window, of two sizes, and what comparisons say of the same images."""
    files = [
        picture(place / f"{number}.png", size, number) for number, size in enumerate([(40, 35), (40, 35), (35, 64)])
    ]
    fit = dcv.Tiles(window=64, short=35)
    store = quietly(vit, files, place / "store", geometry=fit, dtype="float32")
    prompts = [f"a {word}" for word in "taxi road house tree castle bus car whale dog cat".split()]
    return store, prompts, [vit.compare(file, prompts, geometry=fit) for file in files]


def test_search_by_dense_finds_peaks_in_the_image_where_tables_of_comparisons_have_them(vit, tmp_path):
    store, prompts, comparisons = padded(vit, tmp_path)
    found = search(store, vit, prompts, k=3, by="dense").isel(template=0)
    in_padding = 0
    for number, both in enumerate(comparisons):
        table = dcv.maps.compare_table(both)
        for prompt in range(len(prompts)):
            line = found.isel(prompt=prompt)
            line = line.isel(rank=line.number.values.tolist().index(number))
            assert line.score.item() == pytest.approx(table["dense_peak"][prompt], abs=1e-5)
            assert (line.y.item(), line.x.item()) == (table["peak_y"][prompt], table["peak_x"][prompt])
            in_padding += both.dense[0, prompt].values.max() > table["dense_peak"][prompt]
    assert in_padding > 3


def test_the_lowest_cosine_of_a_store_is_that_of_images_not_of_padding(vit, tmp_path):
    store, _, _ = padded(vit, tmp_path)
    units = [F.normalize(store.trace(number).dense, dim=-1) for number in range(3)]
    corner = -units[0][-1, -1]  # the opposite of what padding is
    visible = [own[torch.from_numpy(image.geometry.in_sight)] for own, image in zip(units, store.images, strict=True)]
    low = min(float((own @ corner).min()) for own in visible)
    assert lowest(store, corner[None]) == pytest.approx(low, abs=1e-5) and low > -0.99


@settings(max_examples=60)
@given(st.data())
def test_the_best_rows_are_those_of_a_stable_sort_however_blocks_are_cut(data):
    rows, columns = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 6))
    levels, most = data.draw(st.sampled_from([1, 2, 5, 1000])), data.draw(st.integers(1, 40))
    seed = data.draw(st.integers(0, 99))
    scores = np.random.default_rng(seed).integers(-levels, levels + 1, (rows, columns)).astype(np.float32)
    best, start = BestRows(columns, min(most, rows)), 0
    room = data.draw(st.sampled_from([best_rows._ENTRIES, 5]))  # of more entries than have room in a key too
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_rows, "_ENTRIES", room)
        while start < rows:
            stop = start + data.draw(st.integers(1, 90))
            best.add(scores[start:stop], first=start)
            start = stop
    np.testing.assert_array_equal(best.numbers, np.argsort(-scores, axis=0, kind="stable")[:most].T)
    np.testing.assert_array_equal(best.scores, -np.sort(-scores, axis=0)[:most].T)


def test_given_vectors_serve_without_a_model_and_others_are_refused(vit, load_tiny, store):
    vectors = vit.texts.encode(PROMPTS)
    xr.testing.assert_equal(search(store, 4 * vectors, PROMPTS), search(store, vit, PROMPTS))
    held(lambda: search(store, vectors[:1], PROMPTS), PromptError)
    held(lambda: search(store, load_tiny("resnet"), PROMPTS), LayerError)
    held(lambda: search(store, vit, PROMPTS, k=0), PromptError)
    held(lambda: search(store, torch.full((2, len(PROMPTS), store.rows.width), torch.nan), PROMPTS), PromptError)
    held(lambda: search(store, vit, PROMPTS, by="peak"), PromptError)


def test_texts_of_another_activation_are_refused_with_how_the_model_was_loaded(vit, load_tiny, files, store, tmp_path):
    other = load_tiny("vit", activation="quickgelu")
    with pytest.raises(LayerError, match=r"texts by quickgelu\. Expected gelu, .*activation=\"gelu\" to load"):
        search(store, other, PROMPTS)
    own = quietly(other, files[:2], tmp_path / "store")
    with pytest.raises(LayerError, match="texts by gelu"):
        search(own, vit, PROMPTS)
    assert search(own, other, PROMPTS).sizes["rank"] == 2


@pytest.mark.parametrize("option", [{"preset": "maskclip-paper"}, {"mean": (0.5, 0.5, 0.5)}, {"layer_norm_eps": 1e-3}])
def test_how_images_were_prepared_and_seen_is_their_own(vit, load_tiny, files, tmp_path, option):
    other = load_tiny("vit", **option)
    store = quietly(other, files[:2], tmp_path / "store")
    xr.testing.assert_equal(search(store, vit, PROMPTS), search(store, other, PROMPTS))


@pytest.mark.parametrize("option", [{"dtype": "bf16"}, {"activation": "gelu"}, {"preset": "clip"}])
def test_options_that_leave_scores_as_they_are_or_round_them_are_no_other_model(load_tiny, store, vit, option):
    scores = (store.scores(model, PROMPTS).values for model in (vit, load_tiny("vit", **option)))
    np.testing.assert_allclose(*scores, atol=0.01)


def test_another_question_opens_no_file_again_and_what_stays_open_is_bounded(vit, files, tmp_path, monkeypatch):
    store = quietly(vit, files, tmp_path / "store")
    assert len(store.shards) == 3
    before = search(store, vit, PROMPTS)
    with monkeypatch.context() as closed:
        closed.setattr(shard_reader, "safe_open", lambda *_: pytest.fail("opened again"))
        xr.testing.assert_identical(search(store, vit, PROMPTS), before)
    for limit in ("_OPEN", "_MOST"):
        with monkeypatch.context() as small:
            small.setattr(shard_reader, limit, 1)
            fresh = dcv.features.open_store(tmp_path / "store")
            xr.testing.assert_identical(search(fresh, vit, PROMPTS), before)
            assert len(fresh.rows.reader._open) == 1


def test_what_two_threads_read_at_once_counts_once(vit, files, tmp_path, monkeypatch):
    store = quietly(vit, files, tmp_path / "store")
    reader, shard, mapped = store.rows.reader, store.shards[0], shard_reader.safe_open

    def slow(*where):
        monkeypatch.setattr(shard_reader, "safe_open", mapped)
        with ThreadPoolExecutor(1) as other:
            other.submit(reader.read, shard, "global").result()
        return mapped(*where)

    monkeypatch.setattr(shard_reader, "safe_open", slow)
    assert torch.equal(reader.read(shard, "global"), reader.read(shard, "global"))
    assert reader._bytes == sum(tensor.nbytes for tensor in reader._open.values()) > 0


def test_what_a_thread_reads_no_other_closes_meanwhile(vit, files, tmp_path, monkeypatch):
    store = quietly(vit, files, tmp_path / "store")
    reader, (first, second, *_) = store.rows.reader, store.shards
    monkeypatch.setattr(shard_reader, "_MOST", 1)
    with ThreadPoolExecutor(1) as other:

        class Slow(OrderedDict):
            def move_to_end(self, key):
                wait([other.submit(reader.read, second, "global")], timeout=0.1)  # it waits too, or closes the first
                super().move_to_end(key)

        expected = reader.read(first, "global")
        reader._open = Slow(reader._open)
        assert torch.equal(reader.read(first, "global"), expected)
    assert [file for file, _ in reader._open] == [second.file]


def test_the_rows_of_a_store_can_be_sent_to_another_process(store):
    rows = loads(dumps(store.rows))
    assert torch.equal(rows.raw(3, "global"), store.rows.raw(3, "global"))


# However the work is split


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 7), max_size=4), apart=st.booleans(), batch=st.sampled_from([1, 3, 8]))
@example(cuts=[3, 4], apart=False, batch=8)  # the same images again, beside one that cannot be read
def test_any_split_over_calls_gives_the_same_bytes(vit, files, tmp_path_factory, cuts, apart, batch):
    place = tmp_path_factory.mktemp("split")
    quietly(vit, files, place / "whole", batch_size=batch)
    ends = sorted({*cuts, 7})
    for start, end in zip([0, *ends], ends, strict=False):
        part = files[start:end] if apart else files[:end]
        with suppress(ImageError):  # of a first call with nothing but the broken one
            quietly(vit, part, place / "parts", batch_size=batch)
    assert content(place / "parts") == content(place / "whole")


def bytes_in(store):
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def killed_at_any_moment(folder, place, seed):
    """How many of sixteen runs were killed before their end; those after them left what one run leaves."""
    warnings.simplefilter("ignore")
    model, images = dcv.load(folder, device="cpu"), sorted((place / "images").iterdir())
    run = partial(dcv.features.encode, model, images, batch_size=2, progress=False)
    run(place / "whole")
    began = time.monotonic()
    run(place / "again")
    lasted, killed = time.monotonic() - began, 0
    for moment in range(8):
        store = place / str(moment)
        for _ in range(2):
            child = forked(partial(run, store))
            time.sleep(random.Random(seed + moment).uniform(0, lasted))
            os.kill(child, signal.SIGKILL)
            killed += ended(child) == -signal.SIGKILL
        run(store)
        assert bytes_in(store) == bytes_in(place / "whole"), (seed, moment)
    return killed


@pytest.mark.slow  # 26 runs in a process of its own
@posix
def test_a_kill_at_any_moment_changes_no_byte(model_folder, tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(16):
        picture(tmp_path / "images" / f"{i:02d}.png", seed=i)
    folder = str(model_folder("vit"))
    assert result_of(killed_at_any_moment, folder, tmp_path, random.randrange(1000)) >= 1, "each came to its end"


def test_a_second_call_encodes_nothing_and_tries_nothing_broken_again(vit, files, tmp_path, monkeypatch):
    quietly(vit, files, tmp_path / "store")
    before, named = content(tmp_path / "store"), []
    monkeypatch.setattr("denseclip_viz.clip.tracing.run", lambda *_: pytest.fail("encoded again"))
    quietly(vit, files, tmp_path / "store", unreadable=lambda image, error: named.append((image, str(error))))
    assert content(tmp_path / "store") == before
    assert [image for image, _ in named] == [files[3]] and "broken.png" in named[0][1]


def test_a_changed_image_is_encoded_again_with_a_word_and_one_touched_is_not(vit, tmp_path):
    files = folder_of(tmp_path / "images")
    store = quietly(vit, files, tmp_path / "store")
    before = store.similarity(1, vit, PROMPTS)
    os.utime(files[0], (1, 1))
    picture(files[1], seed=99)
    assert store.verify() == (str(files[1]),)
    with pytest.warns(UserWarning, match="δύο.png has changed since it was encoded"):
        again = quietly(vit, files, tmp_path / "store")
    assert again.names == store.names and again.verify() == ()
    after = again.similarity(1, vit, PROMPTS)
    assert after.shape != before.shape or not np.allclose(after, before)
    fresh = vit.similarity(vit.trace(files[1], geometry="whole"), PROMPTS)
    assert float(abs(after - fresh).max()) <= again.error + 1e-6
    found = search(again, vit, PROMPTS, k=6)
    np.testing.assert_array_equal(np.sort(found.number, -1), np.broadcast_to(np.arange(6), (2, 2, 6)))


def test_a_broken_image_that_was_mended_is_encoded(vit, tmp_path):
    files = folder_of(tmp_path / "images")
    quietly(vit, files, tmp_path / "store")
    picture(files[3])
    store = quietly(vit, files, tmp_path / "store")
    assert len(store) == 7 and not store.unread and store.find("broken.png") == 3


def test_what_is_stored_of_files_that_cannot_be_opened_now_stays(vit, tmp_path):
    files, named = folder_of(tmp_path / "disk"), []
    before, bytes_before = quietly(vit, files, tmp_path / "store").names, content(tmp_path / "store")[1]
    (tmp_path / "disk").rename(tmp_path / "away")
    files[0].mkdir(parents=True)  # a folder stands in its place
    new = picture(tmp_path / "new.png", seed=99)
    after = quietly(vit, [*files, new], tmp_path / "store", unreadable=lambda image, _: named.append(image))
    assert sorted(named) == sorted(files) and after.names == (*before, "new.png")
    assert bytes_before.items() <= content(tmp_path / "store")[1].items()
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "away").rename(tmp_path / "disk")
    assert quietly(vit, [*files, new], tmp_path / "store").names == after.names and after.verify() == ()


def test_what_is_stored_stays_where_files_go_before_their_batch_is_encoded_again(vit, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    files, named = [picture(tmp_path / "disk" / f"{seed}.png", seed=seed) for seed in range(2)], []
    before = quietly(vit, files, tmp_path / "store").similarity(1, vit, PROMPTS)

    def unplugged(model, groups, *rest, **options):
        for group in groups:
            (tmp_path / "disk").rename(tmp_path / "away")
            yield from traced_beside(model, [group], *rest, **options)

    monkeypatch.setattr("denseclip_viz.features.encoding_images.traced_beside", unplugged)
    files.append(picture(tmp_path / "new.png", seed=99))
    store = quietly(vit, files, tmp_path / "store", unreadable=lambda image, _: named.append(Path(image)))
    assert named == files[:2] and store.names == ("0.png", "1.png", "new.png")
    xr.testing.assert_identical(store.similarity(1, vit, PROMPTS), before)


def test_a_shard_goes_with_the_last_of_its_images_and_nobody_looks_through_all_images_for_it(vit, tmp_path):
    class Lookup(dict):
        __iter__ = keys = values = items = lambda self: pytest.fail("looked through all images")

    files = [picture(tmp_path / f"{seed}.png", seed=seed) for seed in range(6)]
    (first, second), place = quietly(vit, files, tmp_path / "store").shards, tmp_path / "store"
    lines = (place / "manifest.jsonl").read_text().splitlines()[1:]
    manifest, released = Manifest(place), []
    manifest.images = Lookup(manifest.images)
    for record in [*map(json.loads, lines), json.loads(lines[0])]:
        for part in (record["images"][:1], record["images"][1:]):
            released += manifest.take(record | {"images": part})
    assert [shard.file for shard in released] == [first.file, second.file, first.file, first.file]


def test_a_store_that_has_grown_since_it_was_opened_says_so_and_damage_is_still_damage(vit, files, tmp_path):
    old = quietly(vit, files[:2], tmp_path / "store")
    new = quietly(vit, files, tmp_path / "store")
    for ask in (lambda: search(old, vit, PROMPTS), old.verify):
        with pytest.raises(OutputError, match=r"has grown or changed .* Open it again: .*features\.open_store"):
            ask()
    assert new.verify() == () and search(new, vit, PROMPTS).sizes["rank"] == 6
    (tmp_path / "store" / new.shards[1].file).unlink()
    for store in (new, dcv.features.open_store(tmp_path / "store")):
        with pytest.raises(OutputError, match=f"{Path(new.shards[1].file).name} of the store is not what was written"):
            store.verify()
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(OutputError, match="is no store of features"):
        new.verify()


# What is refused


OTHERS = {
    "model": {"model": "resnet"},
    "weights": {"model": "changed"},
    "path": {"path": "vanilla"},
    "geometry": {"geometry": "native"},
    "keep": {"keep": "dense"},
    "dtype": {"dtype": "float32"},
    "size of batches": {"batch_size": 2},
    "preparation of images": {"model": "prepared"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_store_is_of_one_question(vit, load_tiny, files, tmp_path, what):
    quietly(vit, files, tmp_path / "store")
    before, options = content(tmp_path / "store"), dict(OTHERS[what])
    kind = options.pop("model", "vit")
    made = {"changed": lambda: load_tiny("vit"), "prepared": lambda: load_tiny("vit", mean=(0.5, 0.4, 0.5))}
    model = vit if kind == "vit" else made.get(kind, lambda: load_tiny(kind))()
    if kind == "changed":
        with torch.no_grad():
            next(iter(model.clip.visual.parameters())).flatten()[0] += 1e-3
    with pytest.raises(OutputError, match=f"another [^:]*{what}"):
        quietly(model, files, tmp_path / "store", **options)
    assert content(tmp_path / "store") == before


@pytest.mark.parametrize("at", [0.001, 0.3, 0.6, 0.95])
def test_a_flipped_byte_is_noticed_and_its_file_named_and_mended(vit, files, tmp_path, at):
    store = quietly(vit, files, tmp_path / "store")
    before, shard = content(tmp_path / "store"), store.shards[1]
    place = tmp_path / "store" / shard.file
    damaged = bytearray(place.read_bytes())
    damaged[int(at * len(damaged))] ^= 1
    place.write_bytes(damaged)
    fresh = dcv.features.open_store(tmp_path / "store")
    with pytest.raises(OutputError, match=Path(shard.file).name):
        fresh.verify()
    if at > 0.1:
        with pytest.raises(OutputError, match=Path(shard.file).name):
            [fresh.trace(number) for number in range(6)]
    place.unlink()
    with pytest.warns(UserWarning, match="1 shard .* cannot be found: encoded again"):
        mended = quietly(vit, files, tmp_path / "store")
    assert mended.verify() == () and mended.names == store.names
    facts = [[(image.number, image.digest) for image in kept] for kept, _ in (before, content(tmp_path / "store"))]
    assert facts[0] == facts[1]


@posix
def test_a_disk_that_fills_is_said_and_what_was_written_stays(vit, files, tmp_path):
    quietly(vit, files[:3], tmp_path / "store")
    before = content(tmp_path / "store")
    with almost_full(2000), pytest.raises(OutputError, match="cannot be written"):
        quietly(vit, files, tmp_path / "store")
    assert content(tmp_path / "store") == before
    quietly(vit, files, tmp_path / "store")
    quietly(vit, files, tmp_path / "whole")
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_second_writer_is_refused(vit, files, tmp_path):
    refused = []

    def nested(image, error):
        with pytest.raises(OutputError, match="another process writes"):
            quietly(vit, files, tmp_path / "store")
        refused.append(image)

    quietly(vit, files, tmp_path / "store", unreadable=nested)
    assert refused == [files[3]]


def test_other_folders_and_files_are_no_stores(vit, files, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "manifest.jsonl").write_text('{"a": 1}\n')
    for name in ("full", "file", "json"):
        held(lambda name=name: quietly(vit, files, tmp_path / name), OutputError)
        held(lambda name=name: dcv.features.open_store(tmp_path / name), OutputError)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine" and os.listdir(tmp_path / "full") != []
    held(lambda: dcv.features.open_store(tmp_path / "nothing"), OutputError)
    held(lambda: quietly(vit, [], tmp_path / "empty"), ImageError)
    held(lambda: quietly(vit, files[3:4], tmp_path / "broken"), ImageError)
    held(lambda: quietly(vit, "eins.png", tmp_path / "one"), ImageError)
    held(lambda: quietly(vit, files, "a\0b"), OutputError)
    for options in ({"keep": ()}, {"keep": "attention"}, {"dtype": "int8"}):
        held(lambda options=options: quietly(vit, files, tmp_path / "x", **options), OutputError)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nobody keeps root from writing")
def test_a_folder_that_nobody_may_write_to_is_said(vit, files, tmp_path):
    tmp_path.chmod(0o500)
    held(lambda: quietly(vit, files, tmp_path / "store"), OutputError)


def test_what_is_half_a_line_is_cut_off_and_readers_do_not_mind(vit, files, tmp_path):
    store = quietly(vit, files, tmp_path / "store")
    with open(tmp_path / "store" / "manifest.jsonl", "ab") as file:
        file.write(json.dumps({"shard": None}).encode()[:7])
    assert dcv.features.open_store(tmp_path / "store").names == store.names
    assert quietly(vit, files, tmp_path / "store").names == store.names
    assert all(map(json.loads, (tmp_path / "store" / "manifest.jsonl").read_text().splitlines()))
