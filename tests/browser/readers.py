"""What people meet who read by ear or walk by keys: axe's faults, and where Tab leads."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe

FOCUSABLE = "a[href], button, input, select, summary, textarea, [tabindex]"
CONTROLS = f"""root => [...root.querySelectorAll('{FOCUSABLE}')].filter(
    node => node.tabIndex >= 0 && !node.disabled && node.checkVisibility({{visibilityProperty: true}}))"""
NAMES = f"root => ({CONTROLS})(root).map(node => node.dcvName = `${{node.tagName}} ${{node.className}}`)"
# Whatever draws the focus, drawing differs from the same control without it.
LOOK = "['outline', 'boxShadow', 'borderColor', 'backgroundColor'].map(name => getComputedStyle(seen)[name]).join('; ')"
FOCUSED = f"""root => {{
    const node = document.activeElement;
    if (node === document.body || !root.contains(node)) return null;
    const seen = node.closest('.dcvx-drop') ?? node; // a file's input is too small to be drawn around
    const focused = {LOOK};
    node.blur();
    const bare = {LOOK};
    node.focus({{preventScroll: true, focusVisible: true}});
    return [node.dcvName, focused !== bare];
}}"""


def faults(page, selector="body"):
    """What axe calls serious or critical below a selector; a page on which it looked at nothing fails."""
    answer = Axe().run(page, context=selector, options={"resultTypes": ["violations", "passes"]}).response
    assert sum(len(rule["nodes"]) for rule in answer["passes"]) > 0, "axe looked at nothing"
    worst = [rule for rule in answer["violations"] if rule["impact"] in ("serious", "critical")]
    return [f"{rule['id']}: {rule['help']}: {node['html']}" for rule in worst for node in rule["nodes"]]


def walk(page, root):
    """Press Tab through a root: the names of its controls in order, those that Tab reached, those not seen to be."""
    controls = root.evaluate(NAMES)
    root.evaluate(f"root => ({CONTROLS})(root)[0].focus({{focusVisible: true}})")
    reached, unseen = [], []
    while (now := root.evaluate(FOCUSED)) and len(reached) <= len(controls):
        reached.append(now[0])
        unseen += [] if now[1] else [now[0]]
        page.keyboard.press("Tab")
    return controls, reached, unseen
