"""The surface: every public name has an example that runs, and says what it returns."""

import inspect
import re

import pytest

import denseclip_viz as dcv

NAMES = (
    "load models Model Trace Prompts Whole Tiles explore template_lab layer_lens atlas Canvas link save_html"
    " show_versions DenseclipVizError"
).split()
SPACES = ("attribution", "datasets", "features", "prompts", "maps", "measure", "plot", "plus", "toyworld")


def surface():
    """What is called or created, by its name: the face, the functions of the namespaces, the methods of Model."""
    things = {name: getattr(dcv, name) for name in NAMES}
    things |= {f"Model.{name}": thing for name, thing in vars(dcv.Model).items() if not name.startswith("_")}
    for space in SPACES:
        module = getattr(dcv, space)
        things |= {f"{space}.{name}": getattr(module, name) for name in module.__all__}
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


@pytest.mark.parametrize("space", SPACES)
def test_tab_completion_shows_what_is_public_and_no_files(space):
    module = getattr(dcv, space)
    assert dir(module) == sorted(module.__all__)
