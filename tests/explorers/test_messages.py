"""Malformed messages of a page: none changes a widget, each is one line in the log."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import denseclip_viz as dcv

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("state", "pinned", "locked", "_payload", "_links", "status_kind", "content", "name", "refused", "x")
STATES = st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=3)
CANVAS = st.dictionaries(st.sampled_from(["prompt", "view", "head", "pinned", "opacity", "threshold", "x"]), JUNK)
UPDATES = st.fixed_dictionaries(
    {"method": st.just("update"), "state": STATES | CANVAS.map(lambda state: {"state": state}) | JUNK},
    optional={"buffer_paths": JUNK},
)
CLICKS = st.fixed_dictionaries({"method": st.just("custom")}, optional={"content": JUNK})
DATA = UPDATES | CLICKS | st.dictionaries(st.sampled_from(["method", "state"]), JUNK) | JUNK
MESSAGES = st.fixed_dictionaries(
    {"content": st.fixed_dictionaries({"data": DATA}) | JUNK}, optional={"buffers": st.lists(st.binary(max_size=3))}
)


@pytest.fixture(scope="module")
def explorer():
    panel = dcv.explore("bundled-resnet", dcv.toyworld.scene("a taxi on a road", 64), ["a taxi", "a road"])
    yield panel
    panel.close()


@settings(max_examples=280, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(message=MESSAGES)
def test_whatever_a_page_sends_the_canvas_can_be_drawn_and_nothing_is_raised(explorer, message):
    result = explorer.result
    for widget in (explorer.canvas, explorer.controls.image, explorer.status, *explorer._spec.below):
        widget._handle_msg(message)
    canvas = explorer.canvas
    canvas.state = dict(canvas.state)  # which refuses what cannot be
    assert canvas._shown.select(canvas.state)
    assert explorer.result is result or explorer.status.kind != "error"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"method": "update", "state": {"state": 5}}, "TypeError"),
        ({"method": "update", "state": {"state": {"pinned": [1, 2, 3]}}}, "ImageError|ValueError"),
        ({"state": {}}, "KeyError"),
        ({"method": "nothing"}, "ValueError"),
        ({"method": "update", "state": {"state": {"opacity": 7}}}, "ImageError"),
        ({"method": "update", "state": {"locked": [1]}}, "TraitError"),
        ({"method": "custom", "content": {"prompt": "a road"}}, "TypeError"),
        ({"method": "custom"}, "KeyError"),
    ],
)
def test_a_malformed_message_is_one_line_in_the_log_and_changes_nothing(explorer, caplog, data, kind):
    canvas = explorer.canvas
    before = dict(canvas.state), list(canvas.locked)
    with caplog.at_level(logging.WARNING):
        canvas._handle_msg({"content": {"data": data}, "buffers": []})
    [line] = caplog.records
    assert line.message.startswith("Canvas let go a malformed message: ") and line.exc_info is None
    assert any(name in line.message for name in kind.split("|")) and "\n" not in line.message
    assert before == (dict(canvas.state), list(canvas.locked))
