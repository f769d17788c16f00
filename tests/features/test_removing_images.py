"""Images that are taken out of a store leave nothing there, and the others stay to the bit."""

import json
import os

import numpy as np
import pytest
import torch
from feature_stores import folder_of, picture, quietly
from judge import held

import denseclip_viz as dcv
from denseclip_viz.errors import ImageError, OutputError
from denseclip_viz.features import encoding_images, removing_images

remove = dcv.features.remove
PATHS = ["value", "vanilla"]


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture
def files(tmp_path):
    return folder_of(tmp_path / "all")


@pytest.fixture
def store(vit, files, tmp_path):
    return quietly(vit, files, tmp_path / "store", path=PATHS)


def numbers(store):
    """All numbers of each image, by its file."""
    traces = {image.file: store.trace(number) for number, image in enumerate(store.images)}
    return {file: (trace.geometry, trace.global_embedding, trace.dense) for file, trace in traces.items()}


def same(one, other):
    return one[0] == other[0] and torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("which", [[0], [1, 4], [0, 1, 2], [5], [0, 2, 4, 5]])
def test_the_others_keep_their_order_and_their_numbers_to_the_bit(store, which):
    before, names = numbers(store), [image.file for image in store.images]
    left = remove(store.folder, [names[number] for number in which])
    stay = [name for number, name in enumerate(names) if number not in which]
    assert [image.file for image in left.images] == stay and left.verify() == () and left.error <= store.error
    after = numbers(left)
    assert all(same(after[name], before[name]) for name in stay)


def test_nothing_that_tells_of_an_image_stays_on_the_disk(vit, files, store):
    picture(files[1], seed=9)
    with pytest.warns(UserWarning, match="has changed"):
        store = quietly(vit, files, store.folder, path=PATHS)  # its old features lie beside those of others
    gone = store.images[1]
    vector = store.rows.reader.read(gone.shard, "global")[gone.row].numpy().tobytes()
    assert vector in bytes_of(store.folder) and gone.digest.encode() in bytes_of(store.folder)
    before = {file.name for file in store.folder.rglob("*.safetensors")}
    left = remove(store.folder, files[1])
    content = bytes_of(store.folder)
    assert vector not in content and gone.digest.encode() not in content
    assert json.dumps(os.path.abspath(files[1])).encode() not in content
    assert (
        {file.name for file in store.folder.rglob("*.safetensors")}
        == {os.path.basename(shard.file) for shard in left.shards}
        != before
    )


def test_one_is_named_by_path_name_or_number_and_an_unreadable_one_by_its_path(store, files):
    assert [len(remove(store.folder, which)) for which in (str(files[0]), "δύο.png", np.int64(0))] == [5, 4, 3]
    assert len(remove(store.folder, files[3]).unread) == 0
    assert len(remove(store.folder, [])) == 3
    opened = dcv.features.open_store(store.folder)
    with pytest.raises(OutputError, match="Open it again"):
        store.trace(1)
    before = bytes_of(store.folder)
    for wrong in (7, "nobody.png", [files[0]], [None], 1.5, None, [*range(len(opened))]):
        held(lambda wrong=wrong: remove(store.folder, wrong), ImageError)
    held(lambda: remove(store.folder / "no", 0), OutputError)
    assert bytes_of(store.folder) == before and not (store.folder / "no").exists()


def test_what_was_taken_out_comes_in_again_and_the_rest_is_not_encoded(vit, files, store, monkeypatch):
    before, encoded, plain = numbers(store), [], encoding_images.packed
    monkeypatch.setattr(encoding_images, "packed", lambda traces, *rest: encoded.extend(traces) or plain(traces, *rest))
    remove(store.folder, [0, 4])
    again = quietly(vit, files, store.folder, path=PATHS)
    assert {image.file for image in again.images} == {image.file for image in store.images} and again.verify() == ()
    after = numbers(again)
    for file in before:
        assert before[file][0] == after[file][0]
        torch.testing.assert_close(before[file][2], after[file][2], rtol=0, atol=2e-3)
    assert len(encoded) == 3  # those two, and the last that was there, whose batch has room


def test_what_fails_or_is_killed_before_the_end_changes_nothing(vit, files, store, monkeypatch):
    before, listed = numbers(store), (store.folder / "manifest.jsonl").read_bytes()

    def full(*_, **__):
        raise OutputError("the disk is full", expected="room", fix="Make some.")

    with monkeypatch.context() as patch:
        patch.setattr(removing_images, "atomic_write", full)  # the new shards are there, the new list is not
        with pytest.raises(OutputError, match="the disk is full"):
            remove(store.folder, 0)
    assert (store.folder / "manifest.jsonl").read_bytes() == listed
    opened = dcv.features.open_store(store.folder)
    assert all(same(one, before[file]) for file, one in numbers(opened).items()) and len(opened) == 6
    assert len(list(store.folder.rglob("*.safetensors"))) > len(opened.shards)
    quietly(vit, files, store.folder, path=PATHS)  # whoever writes next clears it away
    assert len(list(store.folder.rglob("*.safetensors"))) == len(opened.shards)


def test_a_damaged_store_is_left_as_it_is(store):
    shard = store.folder / store.images[0].shard.file
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    before = bytes_of(store.folder)
    held(lambda: remove(store.folder, 1), OutputError)
    assert bytes_of(store.folder) == before


@pytest.mark.parametrize(
    "options", [{"keep": "global"}, {"keep": "dense"}, {"dtype": "float32"}, {"geometry": "tiles"}]
)
def test_whatever_a_store_keeps(vit, files, tmp_path, options):
    store = quietly(vit, files, tmp_path / "other", **options)
    kept = {name: store.rows.raw(number, store.keep[0]) for number, name in enumerate(store.names)}
    left = remove(store.folder, [1, 3])
    assert len(left) == 4
    for number, name in enumerate(left.names):
        assert torch.equal(left.rows.raw(number, left.keep[0]), kept[name])
