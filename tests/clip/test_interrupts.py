"""Ctrl-C at every line that hangs, removes or restores something: nothing is left on the model or in torch."""

import contextlib
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from state import torch_state

import denseclip_viz as dcv
from denseclip_viz.clip import hooks, surroundings

SCENE = dcv.toyworld.scene("a taxi on a road", 64)
ROOM = Path(hooks.__file__).parent
FILES = {
    *(hooks.__file__, surroundings.__file__, contextlib.__file__, torch.utils.hooks.__file__, torch.overrides.__file__),
    *(str(file) for file in (ROOM / "towers").glob("*.py")),
}


def traced(call, at_place):
    """Run a call, and `at_place(place)` at every line of `FILES` and at every call into them."""

    def local(frame, event, arg):
        if event == "line":
            at_place((frame.f_code.co_filename, frame.f_lineno))
        return local

    def each(frame, event, arg):
        if frame.f_code.co_filename not in FILES:
            return None
        at_place((frame.f_code.co_filename, -frame.f_lineno))
        return local

    before = sys.gettrace()
    sys.settrace(each)
    try:
        call()
    finally:
        sys.settrace(before)


def places(call):
    """How often each place is passed."""
    counts = defaultdict(int)

    def count(place):
        counts[place] += 1

    traced(call, count)
    return counts


def interrupt(call, place, nth):
    """Raise KeyboardInterrupt when a place is passed for the nth time, and once only."""
    passed = 0

    def raise_there(now):
        nonlocal passed
        passed += now == place
        if now == place and passed == nth:
            sys.settrace(None)
            raise KeyboardInterrupt

    try:
        traced(call, raise_there)
    except KeyboardInterrupt:
        return
    pytest.fail(f"the interrupt at {place} was swallowed")


def left(model):
    """What hangs on a model, or is set in torch."""
    hung = [len(table) for module in model.clip.modules() for name, table in vars(module).items() if "_hooks" in name]
    return sum(hung), len(hooks._HANGING), torch_state()


def own_pass(model):
    with model.record("pool.*") as recorded:
        model.clip.encode_image(model.pixels)
    return recorded


CALLS = {
    "trace": lambda model: model.trace(SCENE, layers=["pool.attention", "pool.output"]),
    "compare": lambda model: model.compare(SCENE, ["a taxi"], layers="all"),
    "own pass": own_pass,
}


def interrupted_everywhere(name, call, chosen):
    model = dcv.load(name)
    model.pixels = model.trace(SCENE).pixels[None]
    plain, ask = model.encode_image(model.pixels), lambda: CALLS[call](model)
    ask()
    counts, before = places(ask), left(model)
    assert before[0] == 0
    count = 0
    for place, nth in chosen(counts):
        interrupt(ask, place, nth)
        assert left(model) == before, (place, nth)
        count += 1
    assert torch.equal(model.encode_image(model.pixels), plain)
    return count


@pytest.mark.parametrize("call", CALLS)
def test_an_interrupt_at_some_lines_leaves_nothing_behind(call):
    def chosen(counts):
        return [(place, counts[place]) for place in sorted(counts)[:: max(1, len(counts) // 25)]]

    assert interrupted_everywhere("bundled-vit", call, chosen) >= 25


@pytest.mark.every
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["bundled-resnet", "bundled-vit"])
def test_an_interrupt_at_every_line_leaves_nothing_behind(name, call):
    def chosen(counts):
        return [(place, nth) for place in sorted(counts) for nth in {1, (counts[place] + 1) // 2, counts[place]}]

    print(name, call, interrupted_everywhere(name, call, chosen), "interrupts")
