"""What the command line says: its own options and commands, never arguments and functions of Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import COMMANDS, options_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.cli.command import one_line_errors
from denseclip_viz.cli.wording import OPTIONS, OTHERS, in_options
from denseclip_viz.clip.load.facts import facts_of, warn_undecided
from denseclip_viz.clip.load.pretrained import Weights
from denseclip_viz.clip.load.source import find_source

P = "-p 'a taxi' -p grass"
REFUSED = f"""
compare street.jpg -p '' -p grass
compare street.jpg -p a -p ' a '
compare street.jpg -p a -a a
compare street.jpg -p a -t 'no place'
compare street.jpg -p a -t nowhere.txt
compare street.jpg -p a -t '{{}}' -t '{{}}'
compare street.jpg {P} --articles wrong
compare street.jpg {P} -g hole
compare street.jpg {P} -g whole:5
compare long.png {P} -g whole:2048
compare dance.gif {P}
compare normalised.tif {P}
compare street.jpg {P} -o there.csv
compare street.jpg {P} -m ViT-B-61
compare street.jpg {P} -m RN50
compare street.jpg {P} -m RN50 -w openia
compare street.jpg {P} -m RN50 -w list.pt
compare street.jpg {P} -m list.pt
compare street.jpg {P} -m empty
compare street.jpg {P} -m transformers
compare street.jpg {P} -m openai/clip-vit-base-patch32
compare street.jpg {P} -m hf-hub:timm/vit_base_patch32_clip_224.openai
compare street.jpg {P} -w random
compare street.jpg {P} --device tpu
compare street.jpg {P} --dtype fp8
compare street.jpg {P} --dtype fp16 --device cpu
compare street.jpg {P} --preset paper
compare street.jpg {P} --activation relu
compare street.jpg {P} --activation image-gelu
compare street.jpg {P} --mean a,b,c
compare street.jpg {P} --mean 0.5,0.5
compare street.jpg {P} --std nan,1,1
compare street.jpg {P} --layer-norm-eps 0
compare street.jpg {P} --layer-norm-eps 1e-5
compare street.jpg {P} --interpolation nearest
compare street.jpg {P} --resize-mode crop
layers street.jpg {P} -l nothing
layers street.jpg {P} -g tiles
segment street.jpg {P} --background 2
segment street.jpg {P} --background sky
segment street.jpg {P} --cosine nan
segment street.jpg {P} --cosine 3
segment street.jpg {P} --denoise nan
segment street.jpg {P} --smooth gaussian
compare street.jpg {P} --path nothing
compare street.jpg {P} --path value --path value
compare street.jpg {P} --path gem
compare long.png {P} -g whole:64 -m bundled-vit --path value --path value-maskclip
segment street.jpg {P} --path value --path vanilla
templates street.jpg {P} -t '{{}}' --path value --path vanilla
classify street.jpg {P} -o x.png
classify street.jpg {P} -g hole
evaluate toyworld --limit 1 --finer sharp
evaluate toyworld --limit 1 --finer guided --finer guided
templates street.jpg long.png {P} -t '{{}}'
templates street.jpg long.png {P} -t '{{}}' -t '{{}}.' --score best
templates street.jpg long.png {P} -t '{{}}' -t '{{}}.' --score iou
templates street.jpg {P} -t '{{}}' --threshold 0.1
templates street.jpg {P} -t '{{}}' --masks nowhere
taps -m nothing
taps -m empty
models 'nothing*'
toyworld train huge x
toyworld train resnet x --minutes -1
toyworld train resnet x --device tpu
toyworld pack empty x
toyworld report RN50
toyworld report empty
toyworld scene 'a zebra' new.jpg
toyworld scene 'a taxi' new.png
toyworld scene 'a taxi' new.jpg --size 5
toyworld export there.csv 3
toyworld export new 3 --split none
toyworld export new 3 --size 5
plus show empty street.jpg -o page.html
plus show empty street.jpg -o page.png
plus show empty nothing.jpg -o page.html
plus export empty student.onnx
plus export empty student.pt
"""
WARNED = """
compare street.jpg -p 'a giraffe' -p grass
compare street.jpg -p 'a car' -p grass -t 'a photo of a {}.'
compare street.jpg -p 'a car.' -p grass -t 'a photo of {}.'
segment street.jpg -p 'a taxi'
"""
PYTHON = (
    r"\w=[\w\"'(\[{-]",  # an argument
    r"\w\(",  # a call
    r"\w\[[0-9]",  # an index
    r"\b(None|True|False|tuple|dcv|model\.\w+|result\.\w+|maps\.\w+|np\.\w+)\b",
)


@pytest.fixture
def street(here):
    """A folder with what can be wrong."""
    Image.new("RGB", (2000, 4)).save("long.png")
    Image.fromarray(np.full((9, 9), -1, np.float32)).save("normalised.tif")
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save("dance.gif", save_all=True, append_images=frames[1:])
    Path("there.csv").write_text("kept")
    torch.save([1], "list.pt")
    Path("empty").mkdir(), Path("transformers").mkdir()
    Path("transformers/config.json").write_text('{"model_type": "clip"}')


def checked(line, code):
    words = shlex.split(line)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, (result.output, result.exception)
    assert result.stderr, "nothing was said"
    said = re.sub(r"`[^`]*`", "", result.stderr.replace(line, ""))  # commands of others
    assert [found[0] for python in PYTHON if (found := re.search(python, said))] == [], said
    assert set(re.findall(r"(?<!\w)--[a-z][a-z-]*", said)) <= options_of(words), said


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_a_refusal_speaks_of_options_of_its_command(street, load_once, line):
    checked(line, 2)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("line", WARNED.strip().splitlines())
def test_a_warning_speaks_of_options_of_its_command(street, load_once, line):
    checked(line, 0)


@pytest.mark.filterwarnings("default")
def test_what_a_file_does_not_say_can_be_settled_by_the_options_that_the_warning_names(capsys):
    known = facts_of(find_source("ViT-B-32"), Weights("clip.pt", None, {}), ())
    with one_line_errors():
        warn_undecided(known, (), file="clip.pt", name="ViT-B-32")
    named = dict(re.findall(r"--([a-z-]+) ([^ ]+) \(", capsys.readouterr().err))
    assert "activation" in named and set(named) <= {option.removeprefix("--") for option in options_of(["taps"])}
    with one_line_errors():
        warn_undecided(known, {option.replace("-", "_") for option in named}, file="clip.pt", name="ViT-B-32")
    assert capsys.readouterr().err == ""


def test_every_phrase_that_is_translated_is_said_somewhere():
    package = Path(dcv.__file__).parent
    texts = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "wording.py")
    assert [phrase for phrase in OTHERS if phrase.rstrip("()") not in texts] == []


@pytest.mark.parametrize(("python", "shell"), [
    ("denoise=nan", "--denoise nan"),
    ("layer_norm_eps=1e-05", "--layer-norm-eps 1e-05"),
    ("std=(0.5, -1.0, inf)", "--std 0.5,-1.0,inf"),
    ("""geometry="it's" """, """--geometry 'it'"'"'s' """),
    ("background=['sky', 'the ground']", "--background sky --background 'the ground'"),
    (r"pretrained='C:\\models\\a.pt'", r"--weights 'C:\models\a.pt'"),
    (r"templates='\x1…'", r"--template '\x1…'"),
    ("force=True", "--force"),
    ("a name=value, my.force=True and unnamed='a'", "a name=value, my.force=True and unnamed='a'"),
])  # fmt: skip
def test_arguments_become_options(python, shell):
    assert in_options(python) == shell


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_any_value_becomes_what_a_shell_would_take_for_it(one, several):
    assert shlex.split(in_options(f"pretrained={one!r}")) == ["--weights", one]
    words = [word for text in several for word in ("--absent", text)]
    assert shlex.split(in_options(f"Pass absent={several!r}")) == ["Pass", *words]


@given(st.lists(st.floats(), min_size=3, max_size=3))
def test_any_three_numbers_come_back(numbers):
    option, text = in_options(f"mean={tuple(numbers)!r}").split(" ")
    assert option == "--mean" and repr([float(number) for number in text.split(",")]) == repr(numbers)


def test_every_argument_that_is_translated_is_an_option_of_a_command():
    assert set(OPTIONS.values()) <= set().union(*map(options_of, COMMANDS))
