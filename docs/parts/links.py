"""What the finished site is checked for: every link inside leads somewhere, and no page asks for anything outside."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util.logging import getLogger

ASKED = {"src", "srcset", "data", "poster"}


class Page(HTMLParser):
    """The anchors of a page, where it leads, and what it asks for when it is opened."""

    def __init__(self, path):
        """Read a page that was built."""
        super().__init__()
        self.anchors, self.links, self.asked = {""}, set(), set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note what a tag has to do with links."""
        for name, value in attrs:
            if name in ("id", "name"):
                self.anchors.add(value)
            elif name in ASKED or (tag, name) == ("link", "href"):
                self.asked.add(value or "")
            elif name == "href":
                self.links.add(value or "")


def outside(link):
    """Say whether a link leads off this site."""
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def broken(pages, path, link):
    """Say whether a link of a page inside the site leads nowhere."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    return not target.exists() or (target in pages and unquote(parts.fragment) not in pages[target].anchors)


def check(app, failure):
    """Warn of each broken link, and of each thing that a page would ask a network for."""
    if failure or app.builder.format != "html":
        return
    pages = {path.resolve(): Page(path) for path in Path(app.outdir).rglob("*.html") if "_static" not in path.parts}
    for path, page in pages.items():
        missing = [link for link in page.links | page.asked if not outside(link) and broken(pages, path, link)]
        remote = [link for link in page.asked if outside(link) and not link.startswith("data:")]
        for link in sorted(missing) + sorted(remote):
            getLogger(__name__).warning("%s: %s is not there, or is asked of a network", path.name, link)


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
