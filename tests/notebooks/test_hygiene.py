"""The notebooks as they are stored: nothing of a machine or of a run, short cells, answers hidden."""

from __future__ import annotations

import shutil
import subprocess
import sys

import nbformat
import pytest
from make_notebooks import METADATA, NOTEBOOKS, ROOT, VIEW, clean, make
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_dirt import dirt

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
HIDDEN = {"tags": ["answer"], "jupyter": {"source_hidden": True, "outputs_hidden": True}}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_stored_notebook_is_clean(path):
    assert dirt(path) == []


def shown(data, metadata=None):
    return new_output("display_data", data=data, metadata=metadata or {})


@pytest.fixture
def lesson():
    """A notebook as it should be."""
    return new_notebook(
        metadata=METADATA,
        cells=[
            new_markdown_cell("# A lesson", id="title"),
            new_code_cell("x = 1\nx", id="one", execution_count=1, outputs=[shown({"text/plain": "1"})]),
            new_markdown_cell("## Exercises\n\n**1.** Add one.", id="asked"),
            new_code_cell("# Answer\nx + 1", id="told", execution_count=2, metadata=HIDDEN),
        ],
    )


def said(lesson, tmp_path):
    (tmp_path / "lesson.ipynb").write_text(nbformat.v4.writes(lesson), encoding="utf-8")  # as it is, not repaired
    return "\n".join(dirt(tmp_path / "lesson.ipynb"))


def test_a_lesson_as_it_should_be_has_no_dirt(lesson, tmp_path):
    assert said(lesson, tmp_path) == ""
    lesson.cells[0].source += "\nSee /docs, a/b, 3/4, [the paper](https://arxiv.org/abs/2112.01071), 'red' at 0x."
    assert said(lesson, tmp_path) == ""


@pytest.mark.parametrize(("output", "line"), [
    (new_output("error", ename="ValueError", evalue="no"), "an error, ValueError"),
    (new_output("stream", name="stderr", text="UserWarning: x"), "standard error: UserWarning"),
    (new_output("stream", name="stdout", text="saved /home/me/x.png"), "a path of one machine, /home/me"),
    (shown({"text/plain": "C:\\Users\\me"}), "a path of one machine, C:\\Users"),
    (shown({"text/html": "<img src='/tmp/a.png'>"}), "a path of one machine, /tmp/a.png"),
    (shown({"text/html": "<script src='https://example.invalid/a.js'></script>"}), "fetched from the network"),
    (shown({"text/html": f"<table><tr>{'<th>a</th>' * 11}</tr></table>"}), "a table of 11 columns"),
    (shown({"text/plain": "<f at 0x7f3a2b1c>"}), "an address in memory"),
    (shown({"text/plain": "VBox(children=(Label(value='a'),))"}), "a widget without a still image"),
    (shown({VIEW: {"model_id": "1"}, "image/png": "aaaa"}), "a live widget's id"),
    (shown({"text/plain": "x" * 1_000_000}), "at most 1000000"),
])  # fmt: skip
def test_what_an_output_must_not_hold_is_found(lesson, tmp_path, output, line):
    lesson.cells[1].outputs = [output]
    assert line in said(lesson, tmp_path)


def test_a_image_inside_html_is_not_read_as_text(lesson, tmp_path):
    image = "<img src='data:image/png;base64,iVBORw0KGgo/tmp/home/root/AAA='>"
    lesson.cells[1].outputs = [shown({"text/html": image, "image/png": "/tmp/iVBO"})]
    assert said(lesson, tmp_path) == ""


@pytest.mark.parametrize(("spoil", "line"), [
    (lambda n: n.metadata.update(widgets={"state": {}}), "metadata that is not needed: widgets"),
    (lambda n: n.metadata.pop("kernelspec"), "no kernel python3"),
    (lambda n: n.cells[0].update(source="A lesson"), "the first cell is no title"),
    (lambda n: n.cells[1].update(execution_count=7), "execution counts [7, 2]"),
    (lambda n: n.cells[1].update(execution_count=None), "execution counts [None, 2]"),
    (lambda n: n.cells[1].metadata.update(execution={}), "metadata that is not needed: execution"),
    (lambda n: n.cells[1].update(source="\n".join("1234567")), "7 lines, at most 6"),
    (lambda n: n.cells[1].update(source=" "), "cell 1: empty"),
    (lambda n: n.cells[1].update(source="%matplotlib widget"), "%matplotlib widget"),
    (lambda n: n.cells[1].update(source="!pip install x"), "!pip"),
    (lambda n: n.cells[0].update(source="# A\n![](https://example.invalid/a.png)"), "fetched from the network"),
    (lambda n: n.cells[1].update(source="load('/root/a.png')"), "a path of one machine, /root/a.png"),
    (lambda n: n.cells.pop(3), "cell 2: exercise 1 without an answer"),
    (lambda n: n.cells[2].update(source="## Exercises\n**1. Why?** So.\n\n**2.** And?"), "cell 2: exercise 1 without"),
    (lambda n: n.cells[3].metadata.update(tags=[]), "cell 2: exercise 1 without an answer"),
    (lambda n: n.cells.insert(3, new_markdown_cell("## What next", id="more")), "cell 2: exercise 1 without"),
    (lambda n: n.cells[3].metadata.update(jupyter={"source_hidden": True}), "cell 3: an answer that is not hidden"),
    (lambda n: n.cells[3].update(source="x + 1"), "cell 3: an answer that is not headed # Answer"),
    (lambda n: n.cells[3].update(id="one"), "two cells of one id"),
    (lambda n: n.cells[3].update(id="a b"), "not a valid notebook"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::nbformat.warnings.DuplicateCellId")
def test_other_dirt_is_found(lesson, tmp_path, spoil, line):
    spoil(lesson)
    assert line in said(lesson, tmp_path)


def test_the_parameters_may_be_longer_and_an_answer_in_words_is_one(lesson, tmp_path):
    lesson.cells[1].update(source="\n".join("123456789"), metadata={"tags": ["parameters"]})
    told = "<details><summary>Answer</summary>Two.</details>"
    lesson.cells[3] = new_markdown_cell(f"{told}\n\n**2.** And?\n\n{told}\n\n## What next\n\n**1.** Rest.", id="told")
    assert said(lesson, tmp_path) == ""


def test_a_lesson_of_the_course_has_exercises(lesson, tmp_path):
    lesson.cells = lesson.cells[:2]
    assert said(lesson, tmp_path) == ""
    (tmp_path / "lesson.ipynb").rename(tmp_path / "08_lesson.ipynb")
    assert dirt(tmp_path / "08_lesson.ipynb") == ["a lesson without exercises"]


def test_cleaning_keeps_what_people_made_and_takes_out_the_run(lesson):
    view = {VIEW: {"model_id": "1"}, "image/png": "aaaa", "text/plain": "Canvas()"}
    lesson.cells[1].outputs = [
        new_output("stream", name="stdout", text="a"), new_output("stream", name="stdout", text="b"), shown(view),
    ]  # fmt: skip
    lesson.cells[1].metadata.update(execution={"iopub.status.busy": "now"}, scrolled=True, tags=["parameters"])
    lesson.metadata.update(widgets={"state": {}}, vscode=1)
    lesson.cells[2].id = lesson.cells[1].id
    kept = [cell.source for cell in lesson.cells]
    cleaned = clean(lesson)
    assert [cell.source for cell in cleaned.cells] == kept and cleaned.metadata == METADATA
    assert cleaned.cells[1].metadata == {"tags": ["parameters"]} and cleaned.cells[3].metadata == HIDDEN
    assert cleaned.cells[1].outputs[0].text == "ab" and VIEW not in cleaned.cells[1].outputs[1].data
    ids = [cell.id for cell in cleaned.cells]
    assert ids[:2] == ["title", "one"] and len(set(ids)) == 4
    assert clean(cleaned) == cleaned


def test_a_widget_without_a_still_image_is_refused(lesson):
    lesson.cells[1].outputs = [shown({VIEW: {"model_id": "1"}, "text/plain": "Canvas()"})]
    with pytest.raises(ValueError, match="cell 1: a widget without a still image"):
        clean(lesson)


def test_making_a_notebook_twice_gives_the_same_file_and_a_failing_one_stays_as_it_was(lesson, tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(lesson, path)
    assert make(path) == []
    first = path.read_bytes()
    assert make(path) == [] and path.read_bytes() == first
    lesson.cells[1].source = "1 / 0"
    nbformat.write(lesson, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        make(path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["lesson.ipynb"]


def test_ruff_reads_the_notebooks_too(lesson, tmp_path):
    """With the rules of the project, whose lint step runs over all files."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "notebooks").mkdir()
    lesson.cells[1].source = "import os\nx=1"
    nbformat.write(lesson, tmp_path / "notebooks" / "lesson.ipynb")
    for step, line in (("check", "F401"), ("format --check", "reformatted")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *step.split(), "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 1 and line in done.stdout + done.stderr
