"""Every option of every command, with values that cannot be: one line that says what came, and nothing is written."""

from __future__ import annotations

import contextlib
import io
import shlex

import pytest
from commands import COMMAND, COMMANDS, command_of

from denseclip_viz import loading
from denseclip_viz.errors import WeightsError

P = "-p 'a taxi' -p grass"
LINES = f"""
compare street.jpg {P}
segment street.jpg {P}
classify street.jpg {P}
layers street.jpg {P}
templates street.jpg {P} -t '{{}}' -t 'a photo of {{}}'
evaluate toyworld --limit 1
encode street.jpg -o store
search store {P}
remove store street.jpg
taps
models
versions
lab copy --no-open
datasets
datasets check folder images
toyworld train resnet run
toyworld pack run packed
toyworld report
toyworld scene 'a taxi' new.jpg
toyworld demo demo
toyworld export exported 1
toyworld vocabulary
plus train toyworld run student
plus predict student street.jpg
plus evaluate student toyworld
plus export student student.onnx
plus show student street.jpg -o page.html
""".strip().splitlines()
WRONG = ("", "x" * 5000, "-1", "nan", "9" * 5000, "nowhere/x.csv", "a\0b")
"""Where one of these is right (any text is a prompt), the command must do its work, up to the model."""


LINE_OF = {command_of(line.split()): line for line in LINES}


@pytest.fixture
def stopped(many, monkeypatch):
    """A folder with images, where everything is done up to a model; every file that was there stays as it was."""

    def load(*arguments, **options):
        raise WeightsError("the end", expected="no more", fix="Stop.")

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr("denseclip_viz.train.contrastive.train", load)
    return many.parent


def call(words):
    """Run a command in this process; its exit code and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        COMMAND.main(words, prog_name="denseclip-viz")
    return end.value.code or 0, said.getvalue()


def test_every_command_is_walked():
    assert set(LINE_OF) == set(COMMANDS)


OPTIONS = [
    pytest.param(name, each.opts[0], id=f"{' '.join(name)} {each.opts[0]}")
    for name, command in COMMANDS.items()
    for each in command.params
    if each.param_type_name == "option" and not each.is_flag
    if each.rich_help_panel != "Model" or name == ("compare",)  # which are the same for all
]


ARGUMENTS = [
    pytest.param(name, at, id=f"{' '.join(name)} {each.name}")
    for name, command in COMMANDS.items()
    for at, each in enumerate(each for each in command.params if each.param_type_name == "argument")
    if name != ("lab",) or at == 0  # what stands behind is JupyterLab's
]


def refused_or_done(words):
    code, said = call(words)
    assert code in ((0, 1, 2) if words[:2] == ["datasets", "check"] else (0, 2)), (words, said)
    lines = [line for line in said.splitlines() if not line.startswith("wrote ")]
    assert code != 2 or (len(lines) == 1 and "Expected" in said), (words, said)
    assert len(said) < 1200 and "Error" not in said, (words, said)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_value_that_cannot_be_is_refused_in_one_line(stopped, name, option):
    words = shlex.split(LINE_OF[name])
    for value in WRONG:
        refused_or_done([*words, option, value])
    code, said = call([*words, option])
    assert code == 2 and f"'{option}' requires an argument. Expected a value behind it" in said
    assert not list(stopped.rglob(".*.part"))


@pytest.mark.parametrize(("name", "at"), ARGUMENTS)
def test_an_argument_that_cannot_be_is_refused_in_one_line(stopped, name, at):
    words = shlex.split(LINE_OF[name])
    for value in WRONG:
        refused_or_done([*words[: len(name) + at], value, *words[len(name) + at + 1 :]])
    assert not list(stopped.rglob(".*.part"))


@pytest.mark.parametrize(("line", "says"), [
    ("compre", "There is no denseclip-viz compre. Expected one such as compare."),
    ("toyworld nope", "There is no denseclip-viz toyworld nope. Expected one of train, pack,"),
    ("taps --wieghts x", "denseclip-viz taps has no option --wieghts. Expected one such as --weights."),
    ("compare", "denseclip-viz compare without IMAGES. Expected image files, or folders of them."),
    ("compare street.jpg", "denseclip-viz compare without --prompt. Expected what to look for; repeat for more."),
    ("evaluate toyworld --limit 0", "--limit '0'. Expected a number greater than or equal to 1."),
    ("evaluate toyworld --limit 1.5", "--limit '1.5'. Expected a whole number."),
    ("segment street.jpg -p a --palette web", "--palette 'web'. Expected one of 'own', 'voc'."),
    ("compare '' -p a", "IMAGES ''. Expected a name that a file system takes."),
    ("taps --json=3", "Option '--json' does not take a value. Expected no more than that."),
])  # fmt: skip
def test_wrong_usage_says_what_came_what_was_expected_and_where_to_look(here, line, says):
    code, said = call(shlex.split(line))
    assert (code, said.count("\n")) == (2, 1) and said.startswith(says)
    assert said.endswith(" --help for all that it takes.\n")
