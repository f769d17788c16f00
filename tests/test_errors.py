"""Errors as other processes get them."""

import copy
import threading
import warnings

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


def test_threads_that_silence_others_at_once_leave_the_filters_as_they_were():
    inside, entered, ended = (threading.Event() for _ in range(3))

    def second():
        inside.wait(20)
        with errors.silenced("nothing"):
            entered.set()
            ended.wait(20)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller's own stays
        before, other = list(warnings.filters), threading.Thread(target=second)
        other.start()
        with errors.silenced("nothing"), errors.silenced():
            inside.set()
            assert entered.wait(20)  # nobody waits for another's end
        ended.set()
        other.join()
        assert list(warnings.filters) == before
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with errors.silenced("noth"):
            warnings.warn("nothing at all", stacklevel=1)
            warnings.warn("something", stacklevel=1)
    assert [str(each.message) for each in caught] == ["something"]
