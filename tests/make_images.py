"""Draw the README's two images from the bundled models: `python tests/make_images.py docs`.

`compare.png` is the first figure of `denseclip-viz toyworld demo`; `explorer.png` is an explorer in a real JupyterLab.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "browser"))

from lab import EXPLORED, Lab, running
from PIL import Image, ImageOps
from playwright.sync_api import sync_playwright
from watch import launch, watched

from denseclip_viz.cli.toyworld_commands import write_demo

MARGIN = 24


def explorer(browser, lab: Lab, path):
    """Open an explorer, choose a prompt, point at a cell, and keep what it looks like."""
    with watched(browser, device_scale_factor=1.5) as page:
        page.set_viewport_size({"width": 1500, "height": 1200})
        lab.open(page, lab.write("image.ipynb", "import denseclip_viz as dcv", "dcv.explore()"))
        lab.run_all(page)
        page.wait_for_function(EXPLORED)
        shown = page.locator(".dcv-explorer").first
        shown.locator("select.dcv-prompt").select_option("a limousine")
        drawn = shown.locator("canvas.dcv-image")
        box = drawn.bounding_box()
        drawn.hover(position={"x": 0.44 * box["width"], "y": 0.8 * box["height"]})
        seen = Image.open(io.BytesIO(shown.screenshot()))
        ImageOps.expand(seen.convert("RGB"), border=MARGIN, fill="white").save(path, optimize=True)


def main(folder: Path):
    with tempfile.TemporaryDirectory() as made:
        list(write_demo(Path(made)))
        shutil.copyfile(Path(made) / "compare-resnet.png", folder / "compare.png")
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        notebooks = Path(made) / "notebooks"
        notebooks.mkdir()
        browser = launch(playwright)
        with running(notebooks, Path(made)) as lab:
            explorer(browser, lab, folder / "explorer.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
