"""The site has a page for all that is public, and is built without a network."""

import re
import subprocess
import sys
from pathlib import Path

import denseclip_viz as dcv

DOCS = Path(__file__).parent.parent / "docs"
SPACES = ("attribution", "datasets", "features", "maps", "measure", "plot", "plus", "prompts", "toyworld")


def documented():
    """Every name that a page of the reference lists, in full."""
    for page in (DOCS / "reference").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for space, names in re.findall(r"```\{names\} (\S+)\n(.*?)```", text, flags=re.DOTALL):
            yield from (f"{space}.{name}" for name in names.split())
        yield from re.findall(r"^\.\. py:data:: (\S+)", text, flags=re.MULTILINE)


def test_the_reference_has_each_public_name_once():
    names = [f"denseclip_viz.{name}" for name in dcv.__all__ if name not in SPACES]
    names += [f"denseclip_viz.{space}.{name}" for space in SPACES for name in getattr(dcv, space).__all__]
    names.remove("denseclip_viz.prompts.Prompts")  # it is documented as denseclip_viz.Prompts
    listed = list(documented())
    assert sorted(set(names) - set(listed)) == [], "list them in docs/reference"
    assert sorted(name for name in set(listed) if listed.count(name) > 1) == []


def test_the_gallery_has_each_function_that_draws():
    drawing = set(dcv.plot.__all__) - {"Bar", "Row", "save", "save_labels"}
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert set(re.findall(r"```\{drawn\} (\w+)", page)) == drawing
    assert set(re.search(r"```\{thumbnails\}\n(.*?)```", page, flags=re.DOTALL)[1].split()) == drawing
    assert {path.stem for path in (DOCS / "figures").glob("*.py")} == drawing


def test_what_pages_take_of_the_readme_begins_and_ends_where_they_say():
    marks = []
    for page in DOCS.glob("*.md"):
        for file, options in re.findall(r"```\{include\} (\S+)\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL):
            text = (DOCS / file).read_text(encoding="utf-8")
            asked = re.findall(r'^:(?:start-after|end-before): "(.*)"$', options, flags=re.MULTILINE)
            marks += [(page.name, mark, text.count(mark)) for mark in asked]
    assert len(marks) >= 4 and [each for each in marks if each[2] != 1] == []


def build(folder, page):
    """Build a site of one page, checked as ours is: the code it ends with, and what it says."""
    (folder / "index.md").write_text(page, encoding="utf-8")
    settings = ["import sys", f"sys.path.insert(0, {str(DOCS)!r})", "extensions = ['myst_parser', 'parts.links']"]
    settings += ["html_theme, myst_heading_anchors = 'furo', 1"]
    (folder / "conf.py").write_text("\n".join(settings), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    built = subprocess.run([*command, folder, folder / "html"], capture_output=True, timeout=120, text=True)
    return built.returncode, built.stderr


def test_broken_links_and_a_remote_image_end_the_build(tmp_path):
    image = "<img src='https://example.org/a.png'>"
    code, said = build(tmp_path, f"# Page\n\n[gone](gone.md) <a href='#nowhere'>raw</a> {image}\n")
    assert code == 1 and all(name in said for name in ("gone.md", "#nowhere", "example.org/a.png"))


def test_a_site_in_order_is_built(tmp_path):
    assert build(tmp_path, "# Page\n\n[here](#page), [there](https://example.org)\n") == (0, "")
