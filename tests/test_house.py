"""Fences around the house: imports go one way, names are the field's, a file holds one noun."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "denseclip_viz"
# A room imports only from the left; an import inside a function or for types alone counts too.
ROOMS = (
    "errors versions validation files html images prompts geometry presets toyworld trace clip maps"
    " arguments model loading fingerprint progress datasets attribution features measure train plus plot canvas"
    " explorers cli __main__"
).split()
NO_NAMES = set("said came told made found seen heard laid gone kept way".split())
NAMED = (ast.Name, ast.Attribute, ast.arg, ast.keyword, ast.FunctionDef, ast.ClassDef, ast.alias)


@cache
def sources():
    """Module names, without the package's own, and their text; the face, which imports everything, is left out."""
    files = {path.relative_to(PACKAGE).with_suffix(""): path for path in sorted(PACKAGE.rglob("*.py"))}
    names = {".".join(file.parts).removesuffix(".__init__"): path for file, path in files.items()}
    return {name: path.read_text() for name, path in names.items() if name != "__init__"}


@cache
def tree(module):
    return ast.parse(sources()[module])


@cache
def imports(module):
    nodes = list(ast.walk(tree(module)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}".removeprefix("denseclip_viz.") for alias in node.names]
            names += [name if name in sources() else str(node.module) for name in full]
    return {name.removeprefix("denseclip_viz.") for name in names} & set(sources())


def room(module):
    return module.split(".")[0]


def identifiers(module):
    """Every name, argument, attribute, keyword, function, class and alias of a module, plain and in small letters."""
    nodes = [node for node in ast.walk(tree(module)) if isinstance(node, NAMED)]
    texts = [getattr(node, field, None) for node in nodes for field in ("id", "attr", "arg", "name", "asname")]
    return {text.lower().strip("_") for text in texts if text}


def test_a_room_imports_from_the_left_only():
    order = {name: number for number, name in enumerate(ROOMS)}
    assert [(a, b) for a in sources() for b in imports(a) if order[room(b)] > order[room(a)]] == []


def test_no_file_imports_in_a_circle():
    left = set(sources())
    while ends := {module for module in left if not imports(module) & left - {module}}:
        left -= ends
    assert left == set()


def test_no_two_files_have_one_name():
    stems = Counter(path.stem for path in PACKAGE.rglob("*.py") if path.stem != "__init__")
    assert [stem for stem, count in stems.items() if count > 1] == []


def test_no_file_is_long():
    assert [name for name, text in sources().items() if len(text.splitlines()) > 350] == []


def test_no_identifier_is_a_word_of_a_private_dialect():
    wrong = {name: identifiers(name) & NO_NAMES for name in sources()}
    assert {name: words for name, words in wrong.items() if words} == {}


def test_no_class_and_function_of_a_file_differ_by_a_capital_only():
    for name in sources():
        nodes = [node for node in tree(name).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        kinds = {(node.name.lower().strip("_"), type(node)) for node in nodes}
        twice = [word for word, count in Counter(word for word, _ in kinds).items() if count > 1]
        assert not twice, (name, twice)
