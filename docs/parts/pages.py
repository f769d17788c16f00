"""Pages that are made of something else: lessons of notebooks, the command line's of its own help."""

import json
from functools import partial
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from denseclip_viz.cli.app import app as commands

DOCS = Path(__file__).parent.parent
LESSONS = DOCS.parent / "notebooks"


def write(path, text):
    """Write a page unless it is there as it is: what did not change is not built again."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def lesson(path):
    """Give a notebook as its page shows it: answers folded, widgets as their still images."""
    notebook = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        if "answer" in cell["metadata"].get("tags", ()):
            cell["metadata"]["tags"].append("hide-cell")
    return json.dumps(notebook, ensure_ascii=False)


def in_full(command):
    """Let a list of commands say all of a sentence, not the 45 letters that fit a terminal."""
    command.get_short_help_str = partial(command.get_short_help_str, limit=200)
    for each in getattr(command, "commands", {}).values():
        in_full(each)
    return command


def write_pages(app):
    """Write what is not kept in the repository."""
    lessons = sorted(LESSONS.glob("*.ipynb"))
    for path in lessons:
        write(DOCS / "notebooks" / path.name, lesson(path))
    contents = ["", "```{toctree}", ":hidden:", *(path.stem for path in lessons), "```", ""]
    write(DOCS / "notebooks" / "README.md", (LESSONS / "README.md").read_text("utf-8") + "\n".join(contents))
    command = in_full(typer.main.get_command(commands))
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="denseclip-viz", title="The command line")
    write(DOCS / "command-line.md", text)


def lead_to_lessons(app, name, source):
    """Let links to the course, which are right where a page is read as a file, lead to the course's pages here."""
    source[0] = source[0].replace("](../notebooks/", "](notebooks/")


def setup(app):
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages, priority=100)
    app.connect("source-read", lead_to_lessons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
