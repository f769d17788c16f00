"""How fast the canvas is in a browser at 1024 px with 20 prompts, matplotlib beside it; and whether memory is flat.

Drawing is timed in the page, from the event until a pixel of the new image was read back; what a screen adds, up to
one frame, is not in it. "New prompt" is timed from the text until the page has drawn: text tower, maps, packing, the
way to the page, decoding, drawing. The way here is the browser's debugging port; in a notebook it is the kernel's.
Usage: python benchmarks/widget.py [REPEATS]
"""

import base64
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

import denseclip_viz as dcv
from denseclip_viz.canvas.payload import pack_result
from denseclip_viz.toyworld.vocabulary import COLOURS, KINDS, SIZES

SIDE, PROMPTS, TEMPLATES = 1024, 20, ["{}", "a photo of {}"]
MASKS = (12, 50)  # prompts
ROWS = (50, 300)  # prompts
FRAME = 676  # CSS pixels that the page gives to a square image
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

# Act, then read one pixel, so that what was asked of the canvas has been done when the clock is read.
TIMED = """async ([name, repeats]) => {
    const root = document.querySelector('.dcv-canvas'), image = root.querySelector('.dcv-image');
    const ctx = image.getContext('2d'), box = image.getBoundingClientRect();
    const at = (name) => root.querySelector(`.dcv-${name}`), random = (count) => Math.floor(Math.random() * count);
    const fire = (node, kind, more) => node.dispatchEvent(new PointerEvent(kind, { bubbles: true, ...more }));
    const choose = (name) => {
        const select = at(name), others = [...select.options].filter((o) => !o.selected && !o.disabled);
        return () => { select.value = others[random(others.length)].value; fire(select, 'change'); };
    };
    const acts = {
        hover: () => {
            const place = { clientX: box.x + Math.random() * box.width, clientY: box.y + Math.random() * box.height };
            return () => fire(image, 'pointermove', place);
        },
        opacity: () => () => { at('opacity').value = Math.random(); fire(at('opacity'), 'input'); },
        threshold: () => {
            const slider = at('threshold'), share = Math.random() * 0.5, low = Number(slider.min);
            return () => { slider.value = low + share * (Number(slider.max) - low); fire(slider, 'input'); };
        },
        filter: () => () => { at('filter').value = ['a', 'small', ''][random(3)]; fire(at('filter'), 'input'); },
        prompt: () => choose('prompt'), template: () => choose('template'), view: () => choose('view'),
    };
    const times = [];
    for (let i = 0; i < repeats; i++) {
        const act = acts[name](), start = performance.now();
        act();
        ctx.getImageData(i % image.width, 0, 1, 1);
        times.push(performance.now() - start);
        if (i % 10 === 9) await new Promise(requestAnimationFrame);
    }
    return times;
}"""
NEW = """async ([meta, buffers]) => {
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const opened = Object.fromEntries(Object.entries(buffers).map(([name, text]) => [name, bytes(text)]));
    const root = document.querySelector('.dcv-canvas'), before = root.dataset.version;
    const drawn = new Promise((done) => new MutationObserver((_, watch) => {
        if (root.dataset.version !== before) { watch.disconnect(); done(); }
    }).observe(root, { attributes: true, attributeFilter: ['data-version'] }));
    dcvModels[0].set('_payload', { meta, buffers: opened });
    await drawn;
}"""


def table_row(name: str, seconds: list[float]) -> str:
    times = 1000 * np.array(seconds)
    return f"{name:<44}{np.median(times):>10.1f}{np.percentile(times, 95):>10.1f}"


def opened(browser: Browser, path: Path) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, device_scale_factor=SIDE / FRAME)
    page.goto(path.as_uri())
    page.wait_for_selector(".dcv-canvas:not([data-version='0'])")
    return page


def drawing(page: Page, repeats: int) -> None:
    size = page.locator(".dcv-image").evaluate("n => [n.width, n.height]")
    print(f"\ncanvas of {size[0]} x {size[1]} px, {PROMPTS} prompts{'':<22}median, ms  p95, ms")

    def timed(label: str, name: str) -> None:
        page.evaluate(TIMED, [name, 20])
        print(table_row(label, [t / 1000 for t in page.evaluate(TIMED, [name, repeats])]), flush=True)

    for name in ("hover", "opacity", "threshold", "prompt", "template", "view"):
        timed(name, name)
    page.locator(".dcv-view").select_option("segments")
    timed("template, drawing segments", "template")
    page.locator(".dcv-view").select_option("dense")
    page.locator(".dcv-hover").check()
    timed("hover, comparing a cell with all others", "hover")
    page.locator(".dcv-hover").uncheck()


def masks(browser: Browser, model: dcv.Model, trace: dcv.Trace, folder: Path, repeats: int) -> None:
    """Independent masks, which overlap: the more prompts, the more sets of owners a row of pixels has."""
    for count in MASKS:
        names = [f"{size} {kind}" for size in ("a", "a small") for kind in KINDS if kind != "whale"][: count - 1]
        both = model.compare(trace, dcv.Prompts(names, TEMPLATES, absent=["a whale"]))
        page = opened(browser, dcv.save_html(both, folder / f"{count}.html", view="masks", limit_mb=64))
        page.evaluate(TIMED, ["template", 20])
        times = [t / 1000 for t in page.evaluate(TIMED, ["template", repeats])]
        print(table_row(f"template, drawing masks of {count} prompts", times), flush=True)
        page.close()


def heat_rows(browser: Browser, model: dcv.Model, trace: dcv.Trace, folder: Path, repeats: int) -> None:
    """Time the heat map beside the map, where every prompt is read at every place, or in every template."""
    for count in ROWS:
        every = [f"{size} {colour} {kind}" for size in SIZES for colour in COLOURS for kind in KINDS]
        both = model.similarity(trace, dcv.Prompts(every[:count], TEMPLATES))
        page = opened(browser, dcv.save_html(both, folder / f"rows {count}.html", limit_mb=64))
        for rows, names in (("places", ("hover", "opacity", "prompt", "filter")), ("templates", ("hover", "prompt"))):
            page.locator(".dcv-rows").select_option(rows)
            for name in names:
                page.evaluate(TIMED, [name, 20])
                times = [t / 1000 for t in page.evaluate(TIMED, [name, repeats])]
                print(table_row(f"{name}, rows of {count} prompts × {rows}", times), flush=True)
        page.close()


def matplotlib_beside(both: object, repeats: int) -> None:
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        one = both.dense.isel(template=0, prompt=i % PROMPTS)
        ax = dcv.plot.map(one, image=both.image.to_numpy())
        ax.figure.set_size_inches(SIDE / 100, SIDE / 100)
        ax.figure.savefig(tempfile.TemporaryFile(), format="png", dpi=100)
        times.append(time.perf_counter() - start)
    print(table_row("matplotlib: the same map as a figure, in Python", times))


def new_prompts(page: Page, model: dcv.Model, trace: dcv.Trace, repeats: int) -> None:
    texts = [f"a {size} {kind}" for size in ("small", "large") for kind in KINDS][:repeats]
    times = []
    for text in texts:
        start = time.perf_counter()
        send(page, model.compare(trace, dcv.Prompts([text, "a road"], TEMPLATES)), trace)
        times.append(time.perf_counter() - start)
    print(table_row(f"new prompt to new image, {trace.geometry.grid} cells", times))


def send(page: Page, result: object, trace: dcv.Trace) -> None:
    shown = pack_result(result, features=trace)
    buffers = {name: base64.b64encode(data).decode() for name, data in shown.buffers.items()}
    page.evaluate(NEW, [shown.meta, buffers])


def resident(pid: int | str) -> float:
    """Resident memory of a process in MB (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(page: Page, whole: CDPSession, results: list[tuple[object, dcv.Trace]]) -> None:
    own = page.context.new_cdp_session(page)
    own.send("Performance.enable")
    canvas = dcv.Canvas()

    def used() -> tuple[float, float, float]:
        own.send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(300)
        metrics = {one["name"]: one["value"] for one in own.send("Performance.getMetrics")["metrics"]}
        pids = [
            one["id"] for one in whole.send("SystemInfo.getProcessInfo")["processInfo"] if one["type"] == "renderer"
        ]
        return metrics["JSHeapUsedSize"] / 1e6, sum(map(resident, pids)), resident("self")

    def work(redraws: int, images: int) -> None:
        for name in ("prompt", "opacity", "template", "threshold", "hover"):
            page.evaluate(TIMED, [name, redraws // 5])
        for i in range(images):
            result, trace = results[i % len(results)]
            send(page, result, trace)
            canvas.show(result, trace=trace)

    print(f"\nmemory, MB{'':<34}{'page heap':>12}{'page':>10}{'kernel':>10}")
    later = "500 redraws, 50 new images later"
    for label, redraws, images in (("warm", 200, 20), (later, 500, 50), ("the same again", 500, 50)):
        work(redraws, images)
        print("{:<44}{:>12.1f}{:>10.0f}{:>10.0f}".format(label, *used()), flush=True)


def main(repeats: int) -> None:
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: others' work is in these times")
    model = dcv.load()
    scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 512)
    image = np.kron(scene.image, np.ones((SIDE // 512, SIDE // 512, 1), np.uint8))
    large = model.trace(image, geometry=dcv.Whole(short=SIDE))
    names = [f"a {kind}" for kind in KINDS][:PROMPTS]
    both = model.compare(large, dcv.Prompts(names, TEMPLATES, absent=["a whale"][: PROMPTS - len(names)]))
    small = [model.trace(dcv.toyworld.scene(f"a {kind} on grass", 256)) for kind in ("cat", "owl", "fox", "castle")]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = os.environ.get("DCV_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = opened(browser, dcv.save_html(both, Path(folder) / "x.html", trace=large, limit_mb=32))
        drawing(page, repeats)
        masks(browser, model, large, Path(folder), repeats)
        heat_rows(browser, model, large, Path(folder), repeats)
        matplotlib_beside(both, max(5, repeats // 20))
        new_prompts(page, model, small[0], 30)
        results = [(model.compare(trace, dcv.Prompts(names, TEMPLATES)), trace) for trace in (*small, large)]
        results = [(both, large), *results]
        memory(page, browser.new_browser_cdp_session(), results)
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
