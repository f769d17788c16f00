"""`denseclip-viz lab`: a copy of the course that stays its owner's."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from denseclip_viz.cli import notebooks
from denseclip_viz.cli.app import app
from denseclip_viz.cli.notebooks import RECORD, copy_notebooks, shipped
from denseclip_viz.errors import OutputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A course of two notebooks and an image."""
    folder = tmp_path / "shipped"
    (folder / "images").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    for name in ("00_quickstart.ipynb", "01_more.ipynb", "images/a.png", ".ipynb_checkpoints/old.ipynb"):
        (folder / name).write_text(f"{name}, first edition")
    monkeypatch.setattr(notebooks, "shipped", lambda: folder)
    return folder


@pytest.fixture
def opened(monkeypatch):
    """JupyterLab is not started; how it would be is noted."""
    calls = []
    from jupyterlab.labapp import LabApp

    monkeypatch.setattr(LabApp, "launch_instance", calls.append)
    return calls


def lab(*words, code=0):
    result = CliRunner().invoke(app, ["lab", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_the_notebooks_of_this_repository_are_the_ones_that_ship():
    assert shipped() == ROOT / "notebooks"
    build = (ROOT / "pyproject.toml").read_text()
    assert '[tool.hatch.build.targets.wheel.force-include]\n"notebooks" = "denseclip_viz/notebooks"' in build
    assert 'include = ["denseclip_viz", "notebooks",' in build  # the sdist, from which wheels are built too


def test_a_wheel_brings_them_inside_the_package(tmp_path, monkeypatch):
    (tmp_path / "denseclip_viz" / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(notebooks, "__file__", str(tmp_path / "denseclip_viz" / "cli" / "notebooks.py"))
    assert shipped() == tmp_path / "denseclip_viz" / "notebooks"
    (tmp_path / "denseclip_viz" / "notebooks").rmdir()
    with pytest.raises(OutputError, match="no notebooks came with this installation"):
        shipped()


def test_everything_that_is_not_hidden_is_copied(source, tmp_path):
    copied = copy_notebooks(tmp_path / "mine" / "course")
    assert set(copied.new) == {"00_quickstart.ipynb", "01_more.ipynb", "images/a.png"}
    there = {path.relative_to(copied.folder).as_posix() for path in copied.folder.rglob("*") if path.is_file()}
    assert there == {*copied.new, RECORD}


def test_a_second_time_changes_nothing(source, tmp_path):
    copy_notebooks(tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*.ipynb")}
    again = copy_notebooks(tmp_path / "mine")
    assert (again.new, again.updated, again.edited) == ((), (), ()) and "up to date" in str(again)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*.ipynb")}


def test_a_new_edition_replaces_what_was_not_changed_and_keeps_what_was(source, tmp_path):
    mine = tmp_path / "mine"
    copy_notebooks(mine)
    (mine / "01_more.ipynb").write_text("my answers")
    for name in ("00_quickstart.ipynb", "01_more.ipynb"):
        (source / name).write_text("second edition")
    copied = copy_notebooks(mine)
    assert (copied.new, copied.updated, copied.edited) == ((), ("00_quickstart.ipynb",), ("01_more.ipynb",))
    assert (mine / "01_more.ipynb").read_text() == "my answers"
    assert (mine / "00_quickstart.ipynb").read_text() == "second edition"
    (source / "01_more.ipynb").write_text("third edition")
    assert copy_notebooks(mine).edited == ("01_more.ipynb",)  # and not only the first time


@pytest.fixture
def lesson(source):
    """A notebook that ships, as it was run once."""

    def write(path, *sources, run=1):
        cells = [nbformat.v4.new_code_cell(text, execution_count=run, outputs=[]) for text in sources]
        cells[0].outputs = [nbformat.v4.new_output("stream", text=f"run {run}")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    write(source / "01_more.ipynb", "1 + 1")
    return write


def test_to_run_a_notebook_is_not_to_change_it(source, lesson, tmp_path):
    mine = tmp_path / "mine"
    copy_notebooks(mine)
    lesson(mine / "01_more.ipynb", "1 + 1", "", run=2)  # Jupyter adds an empty cell when the last one is run
    ran = (mine / "01_more.ipynb").read_bytes()
    again = copy_notebooks(mine)
    assert again.updated == again.edited == () and (mine / "01_more.ipynb").read_bytes() == ran
    lesson(source / "01_more.ipynb", "1 + 2")
    assert copy_notebooks(mine).updated == ("01_more.ipynb",)
    assert (mine / "01_more.ipynb").read_bytes() == (source / "01_more.ipynb").read_bytes()


@pytest.mark.parametrize("cells", [("1 + 3",), ("1 + 1", "my note"), ("my note", "1 + 1")])
def test_a_notebook_with_other_cells_is_its_owners(source, lesson, tmp_path, cells):
    mine = tmp_path / "mine"
    copy_notebooks(mine)
    lesson(mine / "01_more.ipynb", *cells)
    lesson(source / "01_more.ipynb", "1 + 2")
    assert copy_notebooks(mine).edited == ("01_more.ipynb",)


def test_a_changed_notebook_that_is_moved_away_comes_fresh(source, tmp_path):
    mine = tmp_path / "mine"
    copy_notebooks(mine)
    (mine / "01_more.ipynb").rename(mine / "my_answers.ipynb")
    assert copy_notebooks(mine).new == ("01_more.ipynb",)
    assert {path.name for path in mine.glob("*.ipynb")} == {"00_quickstart.ipynb", "01_more.ipynb", "my_answers.ipynb"}


@pytest.mark.parametrize("record", ["", "no json", "[]", None, '{"01_more.ipynb": 7}'])
def test_without_a_record_everything_that_differs_is_its_owners(source, tmp_path, record):
    mine = tmp_path / "mine"
    copy_notebooks(mine)
    (mine / "01_more.ipynb").write_text("anything")
    (mine / RECORD).unlink() if record is None else (mine / RECORD).write_text(record)
    assert copy_notebooks(mine).edited == ("01_more.ipynb",)
    assert (mine / "01_more.ipynb").read_text() == "anything"


def test_what_is_no_file_stays(source, tmp_path):
    mine = tmp_path / "mine"
    (mine / "01_more.ipynb").mkdir(parents=True)
    (mine / "00_quickstart.ipynb").symlink_to(tmp_path / "nowhere")
    assert copy_notebooks(mine).edited == ("00_quickstart.ipynb", "01_more.ipynb")


def test_the_folder_of_the_notebooks_itself_is_opened_as_it_is(source, opened):
    assert lab(source).output.endswith("up to date\n")
    assert not (source / RECORD).exists() and len(opened) == 1


def test_jupyterlab_opens_at_the_quickstart_with_the_options_given(source, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "3 copied" in lab("mine", "--", "--no-browser", "--port", "8890").stderr
    assert opened == [[
        f"--ServerApp.root_dir={tmp_path / 'mine'}", "--LabApp.default_url=/lab/tree/00_quickstart.ipynb",
        "--no-browser", "--port", "8890",
    ]]  # fmt: skip


def test_without_a_folder_everything_behind_two_dashes_is_for_jupyterlab(source, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab("--", "--no-browser", "--port", "8890")
    assert opened[0][0].endswith("denseclip-viz-notebooks")
    assert opened[0][-3:] == ["--no-browser", "--port", "8890"]
    assert not (tmp_path / "--no-browser").exists()


def test_only_copying_starts_nothing_and_says_what_was_kept(source, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab("--no-open")
    (tmp_path / "denseclip-viz-notebooks" / "01_more.ipynb").write_text("mine")
    said = lab("--no-open").stderr
    assert "kept as you changed them: 01_more.ipynb (move one away to get a fresh one)" in said and opened == []


def test_without_jupyterlab_nothing_is_copied_and_the_way_out_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "find_spec", lambda name: None)
    said = lab(tmp_path / "mine", code=2).stderr
    assert 'pip install "denseclip_viz[notebooks]"' in said and "--no-open" in said and said.count("\n") == 1
    assert not (tmp_path / "mine").exists()
    assert "3 copied" in lab(tmp_path / "mine", "--no-open").stderr


def test_a_folder_that_cannot_be_made_is_one_line(source, tmp_path):
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "inside"):
        assert "cannot be made" in lab(target, "--no-open", code=2).stderr


def test_copying_imports_nothing_heavy(tmp_path):
    import subprocess

    code = (
        "import sys; from denseclip_viz.cli.notebooks import copy_notebooks; copy_notebooks(sys.argv[1]);"
        "print([m for m in ('torch', 'jupyterlab', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
