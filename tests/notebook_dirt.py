"""What must not be in a notebook that is kept."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path

import nbformat

LARGEST, LINES, WIDEST = 1_000_000, 6, 10
PATHS = re.compile(r"""(?<![\w./:])(?:/(?:home|Users|tmp|root|work|opt|usr|var|mnt|srv)/[\w.-]+|[A-Z]:\\[\w.-]+)""")
DATA = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]+")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
WIDGET = re.compile(r"^[A-Z]\w*\((children|layout|value|description|outputs)=")
FETCHED = re.compile(
    r"""!\[[^\]]*\]\(\s*https?:|<(script|link|img|iframe)\b[^>]*\b(src|href)\s*=\s*["']?(https?:)?//|@import"""
)
MAGIC = re.compile(r"^\s*(%matplotlib (widget|notebook|ipympl)|[!%]\s*(pip|conda|uv)\b)", re.MULTILINE)
EXERCISES = re.compile(r"exercises?\b", re.IGNORECASE)
# under a heading "Exercises", each starts with its number in bold: **1.** or **1. Its name.**
SIGN = re.compile(r"^#+ +(?P<heading>.+)|^(?P<item>\*\*\d+\.)|(?P<details><details)", re.MULTILINE)
VIEW = "application/vnd.jupyter.widget-view+json"


def dirt(path):
    """Everything that is wrong with a stored notebook, a line each; an empty list is what is wanted."""
    notebook = nbformat.v4.reads(Path(path).read_text(encoding="utf-8"))  # nbformat.read would repair it
    found = [f"{size} bytes, at most {LARGEST}" for size in [Path(path).stat().st_size] if size >= LARGEST]
    try:
        nbformat.validate(deepcopy(notebook))  # which repairs it too
    except nbformat.ValidationError as error:
        return [*found, f"not a valid notebook: {error.message}"]
    if re.match(r"\d\d_", Path(path).name) and not any(EXERCISES.match(text) for text in _headings(notebook.cells)):
        found.append("a lesson without exercises")
    return [*found, *_of_the_whole(notebook), *_of_exercises(notebook.cells), *_of_cells(notebook.cells)]


def _of_the_whole(notebook):
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        yield "a format before 4.5, without cell ids"
    if len({cell.get("id") for cell in notebook.cells}) < len(notebook.cells):
        yield "two cells of one id"
    if extra := set(notebook.metadata) - {"kernelspec", "language_info"}:
        yield f"metadata that is not needed: {', '.join(sorted(extra))}"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "no kernel python3 in the metadata: JupyterLab would ask for one"
    if not notebook.cells or notebook.cells[0].cell_type != "markdown" or not notebook.cells[0].source.startswith("# "):
        yield "the first cell is no title"
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts {counts}"


def _of_exercises(cells):
    """Between an exercise and the next, or the end, lies an answer, hidden."""
    asked, inside = None, False
    for at, cell in enumerate(cells):
        for sign in SIGN.finditer(cell.source) if cell.cell_type == "markdown" else ():
            if sign["heading"]:
                inside = bool(EXERCISES.match(sign["heading"]))
            if asked and (sign["item"] or sign["heading"]):
                yield f"{asked} without an answer"
                asked = None
            if inside and sign["item"]:
                asked = f"cell {at}: exercise {sign['item'].strip('*. ')}"
            asked = None if sign["details"] else asked
        if "answer" in cell.metadata.get("tags", []):
            asked = None
            if not _hidden(cell):
                yield f"cell {at}: an answer that is not hidden"
            if cell.cell_type == "code" and not cell.source.startswith("# Answer\n"):
                yield f"cell {at}: an answer that is not headed # Answer"
    if asked:
        yield f"{asked} without an answer"


def _headings(cells):
    """The texts of all headings."""
    signs = [sign for cell in cells if cell.cell_type == "markdown" for sign in SIGN.finditer(cell.source)]
    return [sign["heading"] for sign in signs if sign["heading"]]


def _hidden(cell):
    hiding = cell.metadata.get("jupyter", {})
    return bool(hiding.get("source_hidden") and (hiding.get("outputs_hidden") or cell.cell_type != "code"))


def _of_cells(cells):
    for at, cell in enumerate(cells):
        code = cell.cell_type == "code"
        lines = len(cell.source.splitlines())
        if extra := set(cell.metadata) - {"tags", "jupyter"}:
            yield f"cell {at}: metadata that is not needed: {', '.join(sorted(extra))}"
        if not cell.source.strip():
            yield f"cell {at}: empty"
        if code and lines > LINES and "parameters" not in cell.metadata.get("tags", []):
            yield f"cell {at}: {lines} lines, at most {LINES}"
        if code and (magic := MAGIC.search(cell.source)):
            yield f"cell {at}: {magic[0].strip()}"
        yield from (f"cell {at}: {line}" for line in _of_text(cell.source))
        for output in cell.outputs if code else []:
            yield from (f"cell {at}, output: {line}" for line in _of_output(output))


def _of_output(output):
    data = output.get("data", {})
    if output.output_type == "error":
        yield f"an error, {output.ename}: {output.evalue}"
    if output.get("name") == "stderr":
        yield f"standard error: {output.text.strip()[:80]}"
    if VIEW in data:
        yield "a live widget's id, for which JupyterLab shows an error instead of the still image"
    if set(data) == {"text/plain"} and WIDGET.match(data["text/plain"]):
        yield "a widget without a still image"
    rows = re.findall(r"<tr\b.*?</tr>", data.get("text/html", ""), re.DOTALL)
    if (columns := max((len(re.findall(r"<t[hd]\b", row)) for row in rows), default=0)) > WIDEST:
        yield f"a table of {columns} columns, which runs off the page at more than {WIDEST}"
    texts = [output.get("text", ""), *(value for mime, value in data.items() if mime.startswith("text/"))]
    yield from (line for text in texts for line in _of_text(text))


def _of_text(text):
    text = DATA.sub("", text)
    yield from (f"a path of one machine, {found}" for found in sorted(set(PATHS.findall(text))))
    if ADDRESS.search(text):
        yield "an address in memory, which changes with every run"
    if FETCHED.search(text):
        yield "something that is fetched from the network"
