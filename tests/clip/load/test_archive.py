"""Archives of torch and TorchScript are read whole, and nothing in them is ever run."""

import argparse
import io
import itertools
import os
import pickle
import sys
import warnings
import zipfile
from collections import OrderedDict
from functools import partial

import pytest
import torch
from checkpoint_files import TINY, TINY_RESNET, add_name, same, state, write_archive, write_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import denseclip_viz as dcv
from denseclip_viz.clip.load.archive import read_archive
from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.load.file_kinds import read_file
from denseclip_viz.clip.load.weights import OPENAI_MARKS, read_checkpoint
from denseclip_viz.errors import DenseclipVizError, WeightsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


class Scripted(nn.Module):
    """Parts of every kind: shared, nested, with tensors that are no weights, and others that are in no state dict."""

    def __init__(self):
        super().__init__()
        self.norm, self.convolution = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 2, bias=False)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4).half()))
        self.again = self.blocks[0]
        self.mask = torch.ones(2, 2)
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.register_buffer("count", torch.tensor(3))
        self.scale = nn.Parameter(torch.randn(2, 6).t())
        self.part = nn.Parameter(torch.randn(9)[2:7])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(self.norm(x)).mean((2, 3)) + self.mask.sum() + self.passing.sum() + self.scale.sum()


def equal(one, other):
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("config", [TINY, TINY_RESNET])
def test_an_archive_as_openais_holds_what_torch_reads_from_it(config, dtype, tmp_path):
    file = write_archive(tmp_path / "openai.pt", config, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(file).state_dict()
    assert expected.keys() >= OPENAI_MARKS and equal(read_archive(file), expected)


@pytest.mark.parametrize("make", [torch.jit.script, lambda module: torch.jit.trace(module, torch.zeros(1, 3, 4, 4))])
def test_scripted_and_traced_modules_give_the_tensors_that_torch_calls_weights(make, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(Scripted().eval()).save(str(tmp_path / "m.pt"))
        expected = torch.jit.load(tmp_path / "m.pt").state_dict()
    read = read_archive(tmp_path / "m.pt")
    assert equal(read, {key: expected[key] for key in read})
    assert {"again.weight", "blocks.1.0.bias", "norm.running_var", "scale", "count"} <= read.keys()
    assert expected.keys() - read.keys() <= {"mask", "passing"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_openais_archive_loads_with_its_activation_and_in_full_precision(dtype, named, tmp_path):
    file = write_archive(tmp_path / "openai.pt", dtype=dtype)
    loaded = load_clip(named(one={"quick_gelu": True}, two={}), pretrained=file)
    assert loaded.provenance["activation"] == "quickgelu" and loaded.provenance["dtype"] == "float32"
    assert "entries that only OpenAI's files have" in loaded.provenance["known_from"]
    expected = read_archive(file)
    assert same(loaded.clip, {key: expected[key].float() for key in expected.keys() - OPENAI_MARKS})


def test_a_module_that_was_saved_whole_is_read_as_its_state_dict(tmp_path):
    module = Scripted()
    torch.save(module, tmp_path / "whole.pt")
    torch.save({"epoch": 3, "model": module}, tmp_path / "wrapped.pt")
    assert equal(read_archive(tmp_path / "whole.pt"), module.state_dict())
    assert equal(read_checkpoint(tmp_path / "wrapped.pt").tensors, module.state_dict())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read_as_torch_reads_it(protocol, tmp_path):
    base = torch.arange(24.0)
    values = {kind: torch.zeros(2, dtype=kind) for kind in (torch.bool, torch.int8, torch.bfloat16, torch.float64)}
    tensors = OrderedDict(
        {"whole": base, "part": base[3:9].view(2, 3), "turned": base.view(4, 6).t(), "none": torch.zeros(0)},
        parameter=nn.Parameter(base.half()),
        scalar=torch.tensor(3),
        **{str(kind): value for kind, value in values.items()},
    )
    tensors._metadata = {"version": 1}
    torch.save(tensors, tmp_path / "w.pt", pickle_protocol=protocol)
    read = read_archive(tmp_path / "w.pt")
    assert equal(read, tensors) and read["whole"].data_ptr() != read["part"].data_ptr()
    assert read["part"].untyped_storage().data_ptr() == read["whole"].untyped_storage().data_ptr()


def test_reading_maps_the_file_and_never_writes_to_it(tmp_path):
    torch.save({"a": torch.zeros(100)}, tmp_path / "w.pt")
    before = (tmp_path / "w.pt").read_bytes()
    read_archive(tmp_path / "w.pt")["a"] += 1
    assert (tmp_path / "w.pt").read_bytes() == before


# Hostile files


class Runs:
    """Reading this without care would write a file."""

    def __init__(self, function, marker):
        self.call = (function, (str(marker),))

    def __reduce__(self):
        return self.call


def hostile(call):
    """Bytes of every road on which a pickle could reach somebody who runs it."""
    tensors, files = state(), {}
    for name, value in {"alone": call, "beside": {**tensors, "x": call}, "lightning": {
        "state_dict": tensors, "hyper_parameters": call, "callbacks": {call: 1},
    }}.items():  # fmt: skip
        for old in (False, True):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=not old)
            files[f"{name}{' before torch 1.6' if old else ''}"] = stream.getvalue()
    files["a bare pickle"] = pickle.dumps(call)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("nested.pt", files["alone"])
    files["a zip in a zip"] = stream.getvalue()
    return files


ROADS = [*((os.mkdir, ending) for ending in ("pt", "ckpt", "bin", "safetensors")), (os.system, "pt"), (exec, "pt")]


@pytest.mark.parametrize(("function", "ending"), ROADS)
def test_nothing_in_a_file_is_run_by_any_road(function, ending, folder, tmp_path):
    marker, file = tmp_path / "ran", tmp_path / f"w.{ending}"
    words = {os.system: f"touch {marker}", exec: f"open({str(marker)!r}, 'w')"}
    for kind, content in hostile(Runs(function, words.get(function, marker))).items():
        file.write_bytes(content)
        if kind == "lightning":
            assert same(load_clip(folder, pretrained=file).clip, state())
        else:
            with pytest.raises(WeightsError):
                load_clip(folder, pretrained=file)
        with pytest.raises(DenseclipVizError):
            dcv.load(file)
        assert not marker.exists(), kind


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    place = tmp_path_factory.mktemp("archives")
    torch.save({"state_dict": {"a.weight": torch.zeros(2)}, "args": argparse.Namespace(lr=1)}, place / "saved.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(place / "traced.pt"))
    return {name: (place / name).read_bytes() for name in ("saved.pt", "traced.pt")}


@pytest.mark.parametrize("name", ["saved.pt", "traced.pt"])
@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_archives_are_errors_of_ours(name, data, archives, tmp_path):
    """Bytes changed anywhere, mostly in the pickle and in the directory, or the end lost."""
    content = bytearray(archives[name])
    places = [content.index(b"data.pkl") + 20, len(content) - 200, 0]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(places)) + data.draw(st.integers(0, 400))
        content[min(at, len(content) - 1)] = data.draw(st.integers(0, 255))
    (tmp_path / "w.pt").write_bytes(content[: data.draw(st.sampled_from([len(content)] * 4 + [len(content) // 2]))])
    try:
        read_checkpoint(tmp_path / "w.pt")
    except WeightsError as error:
        assert "w.pt" in error.got


def test_what_readers_remark_on_a_broken_name_is_not_shown(archives, tmp_path):
    content = bytearray(archives["saved.pt"])
    at = content.index(b"\x80\x02") + 2
    content[at : at + 7] = b"S'\\o'\n."
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="w.pt"):
        read_checkpoint(tmp_path / "w.pt")


@given(data=st.binary(max_size=300))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_place_of_the_pickle_are_errors_of_ours(data, tmp_path):
    rewritten(tmp_path / "w.pt", {"w/data.pkl": b"\x80\x02" + data, "w/data/0": bytes(8)})
    try:
        read_checkpoint(tmp_path / "w.pt")
    except WeightsError as error:
        assert "w.pt" in error.got


def rewritten(path, entries, *, compressed=()):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            kind = zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), content, kind)


def tensor_pickle(size, stride, offset=0, count=2, key="0", kind="FloatStorage"):
    """A dict with one tensor `a`, of numbers that torch would never write."""

    class Storage:
        pass

    Storage.__module__, Storage.__qualname__ = "torch", kind

    class Tensor:
        def __reduce__(self):
            return rebuild, (marker, offset, size, stride, False, OrderedDict())

    rebuild, marker = torch._utils._rebuild_tensor_v2, object()
    stream = io.BytesIO()

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return ("storage", torch.storage._LegacyStorage, key, "cpu", count) if value is marker else None

        def save_global(self, value, name=None):
            if value is torch.storage._LegacyStorage:
                self.write(f"ctorch\n{kind}\n".encode())
            else:
                super().save_global(value, name)

        dispatch = {**pickle._Pickler.dispatch, type: save_global}

    Pickler(stream, 2).dump({"a": Tensor()})
    return stream.getvalue()


LIES = {
    "a storage that is too short": {"count": 3},
    "a storage that is not there": {"key": "1"},
    "a storage by a path": {"key": "../../data.pkl"},
    "numbers of no kind": {"kind": "Storage"},
    "a negative count": {"count": -1},
    "more than its storage": {"size": (3,)},
    "a stride beyond": {"size": (2,), "stride": (2,)},
    "an offset beyond": {"offset": 2},
    "an offset before": {"offset": -1},
    "one number a million times": {"size": (10**6,), "stride": (0,)},
    "sizes and strides that differ": {"size": (1, 2)},
    "a size that is no number": {"size": ("2",)},
    "a size below zero": {"size": (-2,)},
    "a hundred axes": {"size": (1,) * 100, "stride": (1,) * 100},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_tensors_that_lie_about_their_numbers_are_refused(lie, tmp_path):
    usual = {"size": (2,), "stride": (1,)}
    rewritten(tmp_path / "w.pt", {"w/data.pkl": tensor_pickle(**usual), "w/data/0": bytes(8)})
    assert torch.equal(read_checkpoint(tmp_path / "w.pt").tensors["a"], torch.zeros(2))
    rewritten(tmp_path / "w.pt", {"w/data.pkl": tensor_pickle(**usual | LIES[lie]), "w/data/0": bytes(8)})
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "w.pt")


def script_of(text):
    """Entries of a TorchScript archive whose root is of the class M, with a pickle that is given in parts."""
    code = 'class M(Module):\n  __parameters__ = ["a", ]\n  __buffers__ = []\n  a : Tensor\n'
    start = b"\x80\x02c__torch__.m\nM\nq\x00)\x81q\x01"
    return {"w/data.pkl": start + text, "w/constants.pkl": b"\x80\x02).", "w/code/__torch__/m.py": code}


OTHER_END = "big" if sys.byteorder == "little" else "little"
PICKLES = {
    "a module in itself": script_of(b"}(X\x01\x00\x00\x00sh\x01ub."),
    "a class without code": {**script_of(b"}b."), "w/code/__torch__/m.py": ""},
    "no code at all": {"w/data.pkl": b"\x80\x02c__torch__.m\nM\n)\x81}b.", "w/constants.pkl": b"\x80\x02)."},
    "code of a hundred megabytes": {**script_of(b"}b."), "w/code/__torch__/m.py": "#" * 100_000_000},
    "lists in each other": {"w/data.pkl": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."},
    "tuples that double a thousand times": {"w/data.pkl": b"\x80\x02)" + b"2\x86" * 1000 + b"."},
    "tuples that double, as a key": {"w/data.pkl": b"\x80\x02})" + b"2\x86" * 1000 + b"Ns."},
    "a place in the memo beyond": {"w/data.pkl": b"\x80\x02h\xff."},
    "a memo of four billion": {"w/data.pkl": b"\x80\x02}r\xff\xff\xff\xff."},
    "a text of four gigabytes": {"w/data.pkl": b"\x80\x02X\xff\xff\xff\x7fab."},
    "an opcode of old": {"w/data.pkl": b"\x80\x02(cos\nsystem\nS'id'\no."},
    "an instance of old": {"w/data.pkl": b"(S'id'\nios\nsystem\n."},
    "no end": {"w/data.pkl": b"\x80\x02}"},
    "nothing": {"w/data.pkl": b""},
    "the other end first": {"w/data.pkl": b"\x80\x02}.", "w/byteorder": OTHER_END},
    "two archives in one": {"w/data.pkl": b"\x80\x02}.", "v/data.pkl": b"\x80\x02}."},
    "a folder too deep": {"w/x/data.pkl": b"\x80\x02}."},
}  # fmt: skip


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_that_would_never_end_or_never_were_are_refused_at_once(kind, tmp_path):
    code = [name for name in PICKLES[kind] if name.endswith(".py")]
    rewritten(tmp_path / "w.pt", PICKLES[kind], compressed=code)
    with pytest.raises(WeightsError, match="w.pt"):
        read_checkpoint(tmp_path / "w.pt")


def test_modules_that_double_at_each_step_are_refused_at_once(tmp_path):
    """Thirty modules, each holding the next one twice: a thousand million names."""
    places = [bytes([10 + number]) for number in range(30)]
    text = b"".join(b"c__torch__.m\nM\n)\x81q" + place for place in places)
    for place, after in itertools.pairwise(places):
        both = b"".join(b"X\x01\0\0\0" + name + b"h" + after for name in (b"b", b"c"))
        text += b"h" + place + b"}(" + both + b"ub0"
    entries = {**script_of(b""), "w/data.pkl": b"\x80\x02" + text + b"h\x0a."}
    rewritten(tmp_path / "w.pt", entries)
    with pytest.raises(WeightsError, match="its modules have no end"):
        read_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize("entry", ["w/data.pkl", "w/data/0"])
def test_compressed_entries_are_refused_by_name(entry, tmp_path):
    entries = {"w/data.pkl": tensor_pickle((2,), (1,)), "w/data/0": bytes(8)}
    rewritten(tmp_path / "w.pt", entries, compressed=[entry])
    with pytest.raises(WeightsError, match=f"its {entry[2:]} is compressed"):
        read_checkpoint(tmp_path / "w.pt")


def test_numbers_at_odd_places_of_a_file_are_read_too(tmp_path):
    numbers = torch.arange(2.0).numpy().tobytes()
    for name in ("w", "wo", "wor", "word"):
        rewritten(tmp_path / "w.pt", {f"{name}/data.pkl": tensor_pickle((2,), (1,)), f"{name}/data/0": numbers})
        assert read_file(tmp_path / "w.pt")["a"].tolist() == [0, 1]


@pytest.mark.parametrize("entry", ["w/data.pkl", "w/data/0"])
@pytest.mark.parametrize(
    "lie", [{"file_size": 10**6, "compress_size": 10**6}, {"file_size": 10**6}, {"header_offset": 7}]
)
def test_a_directory_that_lies_about_a_place_or_a_size_is_refused(lie, entry, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", tensor_pickle((2,), (1,)))
        archive.writestr("w/data/0", bytes(8))
        for field, value in lie.items():  # the directory is written last
            setattr(archive.getinfo(entry), field, value)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "w.pt")
