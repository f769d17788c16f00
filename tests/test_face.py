"""The surface: every public name has an example that runs, and says what it returns."""

import ast
import builtins
import doctest
import inspect
import re

import pytest

import denseclip_viz as dcv

NAMES = (
    "load models Model Trace Prompts Whole Tiles explore template_lab layer_lens atlas Canvas link save_html"
    " show_versions DenseclipVizError"
).split()
SPACES = ("attribution", "datasets", "features", "prompts", "maps", "measure", "plot", "plus", "toyworld")


def spaces():
    """All that the namespaces hold."""
    modules = {space: getattr(dcv, space) for space in SPACES}
    return {f"{space}.{name}": getattr(module, name) for space, module in modules.items() for name in module.__all__}


def surface():
    """What is called or created, by its name: the face, the functions of the namespaces, the methods of Model."""
    things = {name: getattr(dcv, name) for name in NAMES}
    things |= {f"Model.{name}": thing for name, thing in vars(dcv.Model).items() if not name.startswith("_")}
    things |= spaces()
    return {name: thing for name, thing in things.items() if inspect.isroutine(thing) or name in NAMES}


def test_the_surface_is_sixteen_names_and_nine_namespaces():
    assert sorted(dcv.__all__) == sorted((*NAMES, *SPACES))


@pytest.mark.parametrize("name", sorted(surface()))
def test_a_public_name_has_an_example_and_says_what_it_returns(name):
    thing = surface()[name]
    text = inspect.getdoc(thing) or ""
    lines = [line for line in text.splitlines() if line.lstrip().startswith(">>>")]
    assert lines and not any("+SKIP" in line for line in lines), f"{name} has no example that runs"
    nothing = inspect.isclass(thing) or inspect.signature(thing).return_annotation in (None, "None")
    assert nothing or re.search(r"^Return |^(Returns|Yields):$", text, re.MULTILINE), f"{name} returns what?"


def unbound(source):
    """The names that Python lines use and do not bring."""
    bound, used = set(vars(builtins)), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    return used - bound


@pytest.mark.parametrize("name", sorted(surface()))
def test_an_example_runs_where_it_is_pasted(name):
    lines = doctest.DocTestParser().get_examples(inspect.getdoc(surface()[name]))
    assert unbound("".join(line.source for line in lines)) == set()


@pytest.mark.parametrize("name", sorted(surface()))
def test_nobody_is_sent_to_what_is_not_public(name):
    public = {*NAMES, *surface(), *spaces()}
    known = {part for each in public for part in (each, each.rpartition(".")[2])} | {"ray.init"}
    sent = re.findall(r"(?:\b[Ss]ee|\b[Aa]s for|\bAs) `([\w.]+)", inspect.getdoc(surface()[name]))
    assert set(sent) <= known


@pytest.mark.parametrize("space", SPACES)
def test_tab_completion_shows_what_is_public_and_no_files(space):
    module = getattr(dcv, space)
    assert dir(module) == sorted(module.__all__)
