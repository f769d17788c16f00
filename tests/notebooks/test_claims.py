"""What a lesson says in bold is computed in it and asserted, so that a lesson whose story no longer holds fails."""

from __future__ import annotations

import ast
import re

import nbformat
import numpy as np
import pytest
import torch
import xarray as xr
from make_notebooks import NOTEBOOKS

import denseclip_viz as dcv

LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
BOLD = re.compile(r"\*\*([^*\n][^*]*?)\*\*")
WORDS = 6  # of a sentence; fewer are a term, unless a full stop ends them


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def findings(text):
    """The bold sentences of a text: each is said to hold. Terms, questions and the names of exercises are none."""
    for found in BOLD.findall(text):
        sentence = " ".join(found.split())
        if re.match("[A-Z“]", sentence) and (sentence.endswith(".") or len(sentence.split()) >= WORDS):
            yield sentence.rstrip(".")


def claims(source):
    """The sentences that a cell claims, as far as they are written out."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    named = [node.args[0] for node in calls if isinstance(node.func, ast.Name) and node.func.id == "claim"]
    return [node.value.rstrip(".") for node in named if isinstance(node, ast.Constant)]


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture(params=LESSONS, ids=[path.stem for path in LESSONS])
def lesson(request):
    return request.param


def test_what_a_lesson_says_in_bold_it_claims_in_a_cell(lesson):
    claimed = {sentence for cell in cells(lesson, "code") for sentence in claims(cell.source)}
    said = [sentence for cell in cells(lesson, "markdown") for sentence in findings(cell.source)]
    assert [sentence for sentence in said if sentence not in claimed] == []
    assert len(claimed) >= 3


def test_every_claim_was_run_and_held(lesson):
    for cell in cells(lesson, "code"):
        assert all(f"✓ {sentence}" in printed(cell) for sentence in claims(cell.source)), cell.source
        assert "✗" not in printed(cell)


def test_a_claim_must_hold_with_the_switches_as_they_came_and_is_only_reported_with_any_other(lesson, capsys):
    [switches] = [cell.source for cell in cells(lesson, "code") if "parameters" in cell.metadata.get("tags", [])]
    [defined] = [cell.source for cell in cells(lesson, "code") if cell.source.startswith("def claim(")]
    exec(switches, came := {})
    exec(defined, space := dict(came))
    with pytest.raises(AssertionError, match="It holds"):
        space["claim"]("It holds.", False)
    for switch in came.keys() - {"__builtins__"}:
        exec(defined, mine := came | {switch: "mine"})
        capsys.readouterr()
        mine["claim"]("It holds.", False)
        mine["claim"]("It does.", True)
        assert capsys.readouterr().out == "✗ with your switches: It holds.\n✓ with your switches: It does.\n", switch


def test_findings_are_sentences_and_neither_terms_nor_exercises():
    text = (
        "A **term**, **1. My own.** **It\nholds.** *not* **The one that never holds, on any image**: **What?** **“a”.**"
    )
    assert list(findings(text)) == ["It holds", "The one that never holds, on any image", "“a”"]


def test_lesson_4_explains_every_number_of_its_table():
    maps = xr.DataArray(
        np.random.default_rng(0).random((2, 2, 2, 2)),
        dims=("template", "prompt", "y", "x"),
        coords={"template": ["{}", "a {}"], "prompt": ["sky", "sea"], "y": [0.5, 1.5], "x": [0.5, 1.5]},
    )
    table = dcv.measure.templates_table(maps, vectors=torch.ones(2, 2, 3))
    path = next(path for path in LESSONS if path.name.startswith("04"))
    explained = re.findall(r"`(\w+)`", next(c.source for c in cells(path, "markdown") if "| number |" in c.source))
    stored = next(cell for cell in cells(path, "code") if '"peak":"text_distance"' in cell.source)
    shown = re.findall(r"^(\w+) +[\d.-]+", stored.outputs[0].data["text/plain"], re.MULTILINE)
    assert len(shown) > 12 and set(shown) == set(explained) and set(table.columns) >= {"peak", "text_distance"}
