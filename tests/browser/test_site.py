"""The site as it was built, opened without a network: its front page and pages of the reference."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("index", "reference/model", "reference/plot", "reference/notebook", "notebooks/01_attention_pooling_by_hand")


@pytest.fixture(scope="module")
def site():
    """The folder of the site, built where it was not yet."""
    built = ROOT / "docs" / "_build" / "html"
    if not (built / "searchindex.js").exists():
        # whatever was changed since: to install anew empties the environment that this very test runs in
        subprocess.run(["make", "--old-file=.venv/.installed", "docs"], cwd=ROOT, check=True, capture_output=True)
    return built


def test_pages_open_without_a_network_and_none_is_wider_than_its_window(site, offline_page):
    asked = []
    offline_page.on("request", lambda request: asked.append(request.url))
    for width in (1400, 900):
        offline_page.set_viewport_size({"width": width, "height": 1000})
        for page in PAGES:
            offline_page.goto((site / f"{page}.html").as_uri())
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert offline_page.evaluate(wide) == 0, (page, width)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_search_finds_a_name_of_the_reference_without_a_server(site, offline_page):
    offline_page.goto(f"{(site / 'search.html').as_uri()}?q=word_attribution")
    found = offline_page.locator("#search-results a", has_text="word_attribution").first
    found.wait_for()
    assert "reference/measure.html" in found.get_attribute("href")
