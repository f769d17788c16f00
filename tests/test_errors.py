"""Errors as other processes get them."""

import copy

import pytest

from denseclip_viz import errors

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DenseclipVizError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_whole_out_of_another_process(kind):
    error = kind("cat.jpg is empty", expected="an image file", fix="Copy it again.")
    error.text = "a cat"
    back = copy.copy(error)  # made anew by the same rule as between processes
    assert type(back) is kind and str(back) == str(error) and vars(back) == vars(error)


def test_a_warning_finds_its_line_where_code_runs_without_a_module_name():
    with pytest.warns(UserWarning, match="heard"):
        exec("warn('heard')", {"warn": errors.warn})
