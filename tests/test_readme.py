"""Every line of Python and every command of the README and of the pages behind it runs, as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
BEHIND = ("canvas", "asking", "which-models", "data-sets", "many-images", "denseclip-plus", "bundled-world")
GENERATED = ("command-line.md", "changelog.md")  # with the site
PAGES = ["README.md", *(f"docs/{page}.md" for page in BEHIND)]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)


def commands(page):
    """Every command of the command line, one a line."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("denseclip-viz")]


SHORT = " --steps 2 --batch 1 --crop 64 --limit 2"  # a training of minutes, in seconds


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_of_a_page_runs_from_its_first_line_to_its_last(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # empty, as a newcomer's
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    if page == "README.md":
        assert abs(names["total"] - names["trace"].global_embedding).max() < 1e-5
        assert names["labels"].labels.shape == (256, 256)


@pytest.mark.slow
def test_the_command_lines_run_one_after_another(tmp_path, monkeypatch):
    from denseclip_viz.cli.app import app

    monkeypatch.chdir(tmp_path)  # empty, as a newcomer's
    lines = [line for page in PAGES for line in commands(page) if "--folder" not in line]
    assert len(lines) >= 20
    for line in lines:
        short = SHORT if line.startswith("denseclip-viz plus train") else ""
        result = CliRunner().invoke(app, shlex.split(line + short)[1:])
        assert result.exit_code == 0, (line, result.output)
    written = {"street.png", "labels.png", "shares.csv", "layers.pdf", "beside.html"}
    assert written <= {path.name for path in tmp_path.iterdir()}


def test_the_commands_for_real_data_ask_for_what_they_say(tmp_path, monkeypatch):
    """With a folder that is not there, and everything before it in place: the data set, the split, the schedule."""
    from denseclip_viz import datasets, loading
    from denseclip_viz.cli.app import app
    from denseclip_viz.plus import learning, schedules, student, student_scores

    monkeypatch.chdir(tmp_path)
    asked = {}

    class Stop(Exception):
        pass

    def learn(model, images, folder, *, preset, **options):
        asked["train"] = schedules.SCHEDULES[preset].with_changes({"labels": options["labels"]})
        asked["options"] = options
        raise Stop

    def measure(taught, model, images, **options):
        asked["fit"] = options["geometry"]
        raise Stop

    monkeypatch.setattr(datasets, "read", lambda *given, **_: asked.setdefault("read", []).append(given) or [None])
    monkeypatch.setattr(loading, "load", lambda name, **given: asked.setdefault(name, given["pretrained"]))
    monkeypatch.setattr(learning, "train", learn)
    monkeypatch.setattr(student, "load", lambda folder: None)
    monkeypatch.setattr(student_scores, "evaluate", measure)
    for line in (line for page in PAGES for line in commands(page) if "--folder" in line):
        assert isinstance(CliRunner().invoke(app, shlex.split(line)[1:]).exception, Stop), line
    assert asked["read"] == [("voc20aug", Path("VOC2012"), "trainaug"), ("voc20", Path("VOC2012"), None)]
    assert (asked["train"].steps, asked["train"].led, asked["train"].labels) == (2000, 2000, "ignored")
    assert asked["RN50"] == "openai" and asked["options"]["templates"] == "maskclip-85"
    assert asked["options"]["device"] == "cuda" and asked["options"]["weights"] == Path("resnet101.pth")
    assert asked["fit"].short == 512


def test_the_make_targets_of_the_readme_exist_and_ci_runs_them():
    targets = set(re.findall(r"^make (\w+)", "\n".join(blocks("README.md", "sh")), flags=re.MULTILINE))
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    assert targets == {"test", "demo"}
    assert all(f"\n{target}:" in makefile and f"make {target}" in ci for target in targets)


def test_the_environment_file_agrees_with_the_package():
    text = (ROOT / "environment.yml").read_text()
    assert "python>=3.10" in text and "-e .[dev]" in text
    assert 'requires-python = ">=3.10"' in (ROOT / "pyproject.toml").read_text()


def test_the_import_is_light():
    heavy = ("torch", "open_clip", "matplotlib", "xarray", "pandas", "PIL", "numpy", "anywidget", "ipywidgets")
    code = f"import sys, denseclip_viz; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_everything_that_is_promised_is_there():
    import denseclip_viz as dcv

    for name in dcv.__all__:
        assert getattr(dcv, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dcv.nothing


def test_what_the_readme_and_a_page_both_say_is_said_alike():
    page = (ROOT / "docs/which-models.md").read_text("utf-8")
    section = (ROOT / "README.md").read_text("utf-8").split("## Which models")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) == 6 and [row for row in rows if row not in page] == []


def test_every_relative_link_of_the_readme_and_the_pages_leads_to_a_file_and_a_heading():
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text("utf-8")
        for link in re.findall(r"\]\(([^)\s:]+)\)", text) if page.name not in GENERATED else ():
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE) if target.suffix == ".md" else []
            known = {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}
            broken += [(page.name, link)] if not target.exists() or (anchor and anchor not in known) else []
    assert broken == []
