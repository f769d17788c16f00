"""What a value is, in sixteen bytes: the same for the same in every process, and other for whatever decides more."""

import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from denseclip_viz.fingerprint import fingerprint


def functions(source, **names):
    """The functions of a module of this source."""
    module = types.ModuleType("metrics")
    exec(source, vars(module))
    vars(module).update(names)
    return vars(module)


METRIC = """
LIMIT, CLASSES, SEEN = 0.1, ("cat",), {}
def metric(maps):
    return helped(maps) > LIMIT, CLASSES, SEEN
def helped(maps):
    return [map for map in maps if other(map)]
def other(map):
    return map + 1 if map else metric(map)
"""


def test_a_function_is_what_it_reads_and_calls_in_its_module_too():
    known = fingerprint(functions(METRIC)["metric"])
    assert known == fingerprint(functions(METRIC)["metric"])
    assert known != fingerprint(functions(METRIC, LIMIT=0.3)["metric"])
    assert known != fingerprint(functions(METRIC, CLASSES=("dog",))["metric"])
    assert known != fingerprint(functions(METRIC.replace("map + 1", "map + 2"))["metric"])


def test_what_grows_while_a_function_runs_is_no_part_of_it():
    assert fingerprint(functions(METRIC)["metric"]) == fingerprint(functions(METRIC, SEEN={"cat": 1})["metric"])


def test_a_number_that_is_counted_and_a_name_of_an_attribute_are_no_constants():
    source = "count = 0\ndef metric(maps, trace):\n    note()\n    return maps, count, trace.image\n"
    source += "def note():\n    global count\n    count += 1\n"
    known = fingerprint(functions(source)["metric"])
    assert known == fingerprint(functions(source, count=7)["metric"])
    assert known == fingerprint(functions(source, image="dog.png")["metric"])


def test_paths_and_labelled_arrays_are_what_they_were_before_they_were_asked():
    path, array = Path("a/b.png"), xr.DataArray([1.0, 2.0], dims="y")
    before = fingerprint([path, array])
    assert hash(path) and str(path) and path.parts and str(array) and array.dims
    assert fingerprint([path, array]) == before != fingerprint([Path("a/c.png"), array])


def test_modules_are_names_and_cells_may_be_empty():
    def metric(maps):
        return np.mean(maps), late

    assert len(fingerprint(partial(metric, module=np))) == 32
    late = 1
    assert len(fingerprint(metric)) == 32


def test_a_value_that_is_written_short_is_told_by_all_of_it():
    one, other = (xr.DataArray(np.zeros((100, 100)), dims=("y", "x")) for _ in range(2))
    other[50, 50] = 1
    assert fingerprint(one) != fingerprint(other) and fingerprint(one.to_dataset(name="a")) != fingerprint(
        other.to_dataset(name="a")
    )


class Hidden:
    __slots__ = ("__deep", "_limit")

    def __init__(self, limit, deep=0):
        self._limit, self.__deep = limit, deep


def test_what_an_object_keeps_to_itself_counts_and_where_it_lies_does_not():
    assert fingerprint(Hidden(1)) == fingerprint(Hidden(1)) != fingerprint(Hidden(2))
    assert fingerprint(Hidden(1)) != fingerprint(Hidden(1, deep=3))
    assert fingerprint(object()) == fingerprint(object())


def test_a_constant_that_somebody_else_sets_counts_and_one_that_a_method_counts_does_not():
    source = "LIMIT = 0.5\ndef configure(x):\n    global LIMIT\n    LIMIT = x\ndef metric(m):\n    return m > LIMIT\n"
    assert fingerprint(functions(source)["metric"]) != fingerprint(functions(source, LIMIT=0.9)["metric"])
    source = "calls = 0\nclass Metric:\n    def __call__(self, m):\n        global calls\n        calls += 1\n"
    made = [functions(source, calls=calls)["Metric"]().__call__ for calls in (0, 7)]
    assert fingerprint(made[0]) == fingerprint(made[1])


def test_which_of_two_functions_comes_again_counts():
    def low(maps):
        return min(maps)

    def high(maps):
        return max(maps)

    assert fingerprint([(low,), high, low]) != fingerprint([(low,), high, high])
    assert fingerprint([[low], low]) != fingerprint([[low], high])


def test_the_order_in_which_a_set_is_gone_through_does_not_count():
    assert list({8, 0}) != list({0, 8})
    assert fingerprint({8, 0}) == fingerprint({0, 8}) != fingerprint({0, 9})
    one, other = (f"def metric(name): return name in {names}" for names in ("{8, 0}", "{0, 8}"))
    assert fingerprint(functions(one)["metric"]) == fingerprint(functions(other)["metric"])


def test_what_calls_or_holds_itself_has_an_end():
    def fold(items):
        return items[0] if len(items) == 1 else max(items[0], fold(items[1:]))

    ring = []
    ring.append(ring)
    assert len(fingerprint(fold)) == len(fingerprint(ring)) == 32


class Slotted:
    __slots__ = {"limit": "what is too much", "unset": ""}

    def __init__(self, limit):
        self.limit = limit


class Bare:
    pass


@pytest.mark.parametrize(
    ("make", "is_same"),
    [
        (lambda limit: Slotted(limit), False),
        (lambda limit: np.array([limit, "cat"], dtype=object), False),
        (lambda limit: Bare(), True),
    ],
)
def test_objects_are_what_is_in_them_not_where_they_lie(make, is_same):
    one, again, other = make(0.1), make(0.1), make(0.3)
    assert fingerprint(one) == fingerprint(again)
    assert (fingerprint(one) == fingerprint(other)) == is_same
