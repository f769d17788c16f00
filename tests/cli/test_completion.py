"""What a shell completes, asked as shells ask: by variables of the environment, one process at every Tab."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from denseclip_viz.cli import completion
from denseclip_viz.clip.load import bundled
from denseclip_viz.clip.load.models import models
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.plus.schedules import SCHEDULES

ASK = """
import os, sys
sys.argv = ["denseclip-viz"]
from denseclip_viz.cli.app import app
try:
    app(prog_name="denseclip-viz")
finally:
    print(*sorted({"torch", "open_clip", "matplotlib", "pandas"} & set(sys.modules)), file=sys.stderr)
"""


def completed(line, shell="bash"):
    """What Tab offers behind a line, and what heavy was imported for it."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    asked |= {"_DENSECLIP_VIZ_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **asked}, capture_output=True, encoding="utf-8"
    )
    return [line for line in done.stdout.split("\n") if line], done.stderr.split()


@pytest.mark.parametrize(("line", "offered"), [
    ("denseclip-viz toy", ["toyworld"]),
    ("denseclip-viz plus tr", ["train"]),
    ("denseclip-viz compare --abs", ["--absent"]),
    ("denseclip-viz compare -m bundled-v", ["bundled-vit", "bundled-vit-cls"]),
    ("denseclip-viz taps --model RN101", ["RN101", "RN101-quickgelu"]),
    ("denseclip-viz segment --preset mask", ["maskclip-paper"]),
    ("denseclip-viz segment --palette v", ["voc"]),
    ("denseclip-viz compare --path naclip --path clea", ["clearclip"]),
    ("denseclip-viz templates -t imagenet-8", ["imagenet-80"]),
    ("denseclip-viz evaluate toy", ["toyworld"]),
    ("denseclip-viz datasets check voc21", ["voc21", "voc21aug"]),
    ("denseclip-viz plus train coco-stuff run student --schedule coco-stuff-", ["coco-stuff-zero-shot"]),
    ("denseclip-viz toyworld train vit-", ["vit-cls"]),
    ("denseclip-viz compare str", []),  # so that the shell offers its files
    ("denseclip-viz compare street.jpg --out fig", []),
])  # fmt: skip
def test_bash_offers_names_and_nothing_heavy_is_imported_for_them(line, offered):
    assert completed(line) == (offered, [])


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_offer_the_same_names(shell):
    lines, heavy = completed("denseclip-viz compare -m bundled-v", shell)
    assert "bundled-vit-cls" in "\n".join(lines) and heavy == []


def test_names_that_are_listed_without_torch_are_those_that_there_are():
    handed = {name for name, path in PATHS.items() if path.of_given}
    assert set(completion.PATHS) == set(PATHS) - handed
    assert set(completion.SCHEDULES) == set(SCHEDULES) and bundled.NAMES == completion.BUNDLED


def test_models_are_those_of_the_table():
    assert completion.model_names()[3:] == list(models().index)
