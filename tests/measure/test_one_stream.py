"""All images of a run are one stream: the next batch is read while the model works, and batches are cut as ever."""

import os
from threading import Event, get_ident

import pytest
from contests import PROMPTS
from feature_stores import picture, quietly

import denseclip_viz as dcv
from denseclip_viz.clip import preparation, tracing
from denseclip_viz.features import encoding_images

SIZES = [(32, 32), (32, 32), (48, 32), (32, 32)]


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def templates(tiny):
    return dcv.measure.template_candidates(tiny, PROMPTS)


@pytest.fixture
def files(tmp_path):
    return [picture(tmp_path / f"{i}.png", SIZES[i % 4], i) for i in range(11)]


@pytest.fixture
def reading(monkeypatch):
    """Say by an event that an image has been read in another thread than the caller's."""
    here, read, begun = get_ident(), preparation.read_remarked, {}

    def noted(image):
        if get_ident() != here:
            begun.setdefault(os.fspath(image), Event()).set()
        return read(image)

    monkeypatch.setattr(preparation, "read_remarked", noted)
    return lambda image: begun.setdefault(os.fspath(image), Event()).wait(30)


def features(maps, example, trace):
    return {"dense": (("position", "D"), trace.dense.flatten(0, 1)[:4])}


@pytest.fixture
def passes(monkeypatch):
    """What has gone through the tower: the pixels of each forward pass."""
    seen, plain = [], tracing.run

    def noted(tower, inputs, options):
        seen.append(inputs.numpy().tobytes())
        return plain(tower, inputs, options)

    monkeypatch.setattr(tracing, "run", noted)
    return seen


@pytest.mark.parametrize("broken", [(), (0,), (2, 3), (3, 4, 5, 6, 7), (10,)])
def test_batches_are_cut_at_the_same_images_whatever_cannot_be_read(tiny, templates, files, broken, tmp_path, passes):
    for at in broken:
        files[at].write_bytes(b"no image")
    options = {"geometry": "whole", "batch_size": 4}
    for at in range(0, 11, 4):
        list(tiny.trace_many(files[at : at + 4], unreadable=lambda *_: None, **options))
    apart = passes.copy()
    passes.clear()
    options |= {"progress": False, "unreadable": lambda *_: None}
    first = dcv.measure.evaluate(tiny, files, templates, features, store=tmp_path / "store", **options)
    assert passes == apart and first.attrs["unread"] == [files[at].name for at in broken]
    passes.clear()
    lines = (tmp_path / "store").read_bytes().splitlines(keepends=True)
    (tmp_path / "store").write_bytes(b"".join(line for line in lines if b'"values"' not in line))
    again = dcv.measure.evaluate(tiny, files, templates, features, store=tmp_path / "store", **options)
    assert passes == apart, "what could not be read then is not tried again, and batches are cut as they were"
    assert again.dense.values.tobytes() == first.dense.values.tobytes()
    passes.clear()
    dcv.features.encode(tiny, files, tmp_path / "features", **options)
    assert passes == apart


def test_a_batch_that_a_kill_has_cut_is_traced_as_it_was(tiny, templates, files, tmp_path):
    store, square = tmp_path / "store.jsonl", [file for i, file in enumerate(files) if i % 4 != 2]
    options = {"batch_size": 4, "progress": False}
    whole = dcv.measure.evaluate(tiny, square, templates, features, store=store, **options)
    lines = store.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith((b'{"image": 1,', b'{"image": 6,'))]
    assert len(kept) == len(lines) - 2
    store.write_bytes(b"".join(kept))
    again = dcv.measure.evaluate(tiny, square, templates, features, store=store, **options)
    assert again.dense.values.tobytes() == whole.dense.values.tobytes()


def test_the_next_images_are_read_while_these_are_measured_and_no_more_than_two_batches(
    tiny, templates, files, reading
):
    asked, measured = [], []

    def stream():
        for file in files:
            asked.append(file)
            yield file

    def waits(maps, example, trace):
        at = len(measured)
        measured.append(example.image)
        assert at % 3 or at + 3 >= len(files) or reading(files[at + 3]), "nobody reads the next batch"
        assert len(asked) <= (at // 3 + 2) * 3 + 1, "more than two batches lie in memory"
        return maps.max((1, 2, 3))

    dcv.measure.evaluate(tiny, stream(), templates, waits, batch_size=3, progress=False)
    assert measured == files


def test_a_store_of_features_is_written_while_the_next_images_are_read(tiny, files, reading, tmp_path, monkeypatch):
    add, begun = encoding_images.StoreWriter.add, []

    def waits(writer, images, *rest):
        begun.append([image.name for image in images])
        behind = len(begun) * 3
        assert behind >= len(files) or reading(files[behind]), "nobody reads on"
        add(writer, images, *rest)

    monkeypatch.setattr(encoding_images.StoreWriter, "add", waits)
    store = quietly(tiny, [*files, files[0], files[9]], tmp_path / "store")
    assert [len(batch) for batch in begun] == [3, 3, 3, 2] and store.names == tuple(file.name for file in files)
