"""The explorer in Notebook 7, which draws widgets by the same extensions in a shell of its own."""

import pytest
from lab import EXPLORED, running
from test_explorer import Explorer

CELL = """import denseclip_viz as dcv
scene = dcv.toyworld.scene("a red taxi on a road", 160)
explorer = dcv.explore("bundled-resnet", scene, ["a taxi"])
explorer"""


@pytest.fixture(scope="module")
def notebook7(tmp_path_factory):
    private = tmp_path_factory.mktemp("notebook7")
    folder = private / "notebooks"
    folder.mkdir()
    with running(folder, private, "notebook") as started:
        yield started


@pytest.mark.engines("chromium")
def test_a_typed_prompt_is_drawn_and_its_bars_are_read(notebook7, page):
    notebook7.open(page, notebook7.write("explore.ipynb", CELL))
    notebook7.run_all(page)
    page.wait_for_function(EXPLORED)
    assert page.locator("#jp-MainLogo, #jp-NotebookLogo").count() == 1
    shown = Explorer(notebook7, page)
    shown.type("a road\na tree", enter=True)
    y, x = shown.peak()
    assert shown.bars() == {
        name: f"{value:.3f}"
        for name, value in zip(
            shown.ask("EXPLORER.result.prompt.values.tolist()"),
            shown.ask(f"EXPLORER.result.dense.values[0, :, {y}, {x}].tolist()"),
            strict=True,
        )
    }
    shown.choose("view", "gap")
    page.watch.expect("page error: .*'schema'")  # of Notebook 7's own shell, as soon as it opens
