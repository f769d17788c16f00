"""A notebook exported to HTML: the still image stands where the widget was, by the option that the site names."""

import ast
import base64
import re
import shlex
from pathlib import Path

import fake_results
import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from traitlets.config import Config

import denseclip_viz as dcv

PAGE = Path(__file__).parents[2] / "docs" / "where-it-runs.md"
STATE = "application/vnd.jupyter.widget-state+json"


@pytest.fixture
def notebook():
    """A notebook with a canvas in it and its state stored, as `nbconvert --execute` and JupyterLab leave it."""
    canvas = dcv.Canvas(fake_results.comparison())
    data, _ = canvas._repr_mimebundle_()
    output = nbformat.v4.new_output("execute_result", data=data, execution_count=1)
    cell = nbformat.v4.new_code_cell("canvas", execution_count=1, outputs=[output])
    stored = {"state": {canvas.model_id: {"model_name": "AnyModel"}}, "version_major": 2, "version_minor": 0}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {STATE: stored}}), data["image/png"]


def priority():
    """The value of the option, as a shell gives it to nbconvert."""
    command = re.search(r"^jupyter nbconvert .*?'\[.*?\]'$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL).group()
    [option] = [word for word in shlex.split(command) if word.startswith("--NbConvertBase.display_data_priority=")]
    return ast.literal_eval(option.partition("=")[2])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_with_the_readmes_option_the_still_image_stands_in_the_exported_page(notebook):
    config = Config({"NbConvertBase": {"display_data_priority": priority()}})
    node, still = notebook
    page, _ = HTMLExporter(config=config).from_notebook_node(node)
    plain, _ = HTMLExporter().from_notebook_node(node)
    assert still[:200] not in plain.replace("\n", "")  # without the option; else the page may be shorter
    assert base64.b64decode(still).startswith(b"\x89PNG")
    assert still[:200] in page.replace("\n", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_with_the_readmes_other_option_an_exported_lesson_has_no_answers():
    command = re.search(r"`jupyter nbconvert [^`]*TagRemove[^`]*`", PAGE.read_text("utf-8")).group()
    options = dict(word.strip("`-").split("=") for word in command.split() if word.startswith("--TagRemove"))
    enabled, tags = (options[f"TagRemovePreprocessor.{name}"] for name in ("enabled", "remove_input_tags"))
    config = Config({"TagRemovePreprocessor": {"enabled": enabled == "True", "remove_input_tags": {tags}}})
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("secret", metadata={"tags": ["answer"]})])
    shown, hidden = (HTMLExporter(config=one).from_notebook_node(node)[0] for one in (None, config))
    assert "secret" in shown and "secret" not in hidden


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_an_exported_page_fetches_what_the_site_says_and_with_its_options_nothing():
    [options] = re.findall(r"`((?:--HTMLExporter\.\w+_url= ?)+)`", PAGE.read_text("utf-8"))
    config = Config({"HTMLExporter": dict.fromkeys(re.findall(r"\.(\w+)=", options), "")})
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("A formula, $x_j$.")])
    fetching, alone = (HTMLExporter(config=one).from_notebook_node(node)[0] for one in (None, config))
    fetched = re.findall(r"""<(?:script|link|img)\b[^>]*\b(?:src|href)=["']\w+:.*?/libs/(\w[\w.]*)""", fetching)
    assert set(fetched) == {"mathjax", "require.js"}
    assert not re.search(r"""<(script|link|img)\b[^>]*\b(src|href)=["']?\w|@import""", alone) and "$x_j$" in alone
