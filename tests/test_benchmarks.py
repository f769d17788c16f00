"""Benchmarks run: with few images and one round their numbers say nothing, and that they come out is what is asked."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
SMALL = {
    "throughput": ("bundled-resnet", "--images", "4", "--batch", "2", "--rounds", "1"),
    "sweep": ("64", "40"),
    "segment": ("3", "64"),
    "finer": ("1", "bundled-resnet"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_what_it_is_for(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, *SMALL[name]])
    monkeypatch.syspath_prepend(str(FOLDER))
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert any(letter.isdigit() for letter in capsys.readouterr().out)
