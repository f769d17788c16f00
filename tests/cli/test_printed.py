"""What is printed: a table for people on a terminal, tab-separated lines in a pipe, JSON where that was asked for."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys

import pandas as pd
import pytest
import typer
from commands import COMMANDS, options_of
from rich.cells import cell_len

from denseclip_viz.cli.printed import UNREAD, Style, print_rows, printing

LONG = "a photograph of something whose name is as long as this sentence, which is not cut"


def comparison(**more):
    columns = "score contributions crowding spearman same_peak attention_in_top_decile peak_y peak_x".split()
    about = {"image": "street.jpg", "model": "bundled-resnet", "weights": "x", "random_weights": False}
    prompts = {"a taxi": 0.12345, "grass": 0.2, "고양이": float("nan")}
    return pd.DataFrame([
        {**dict.fromkeys(columns, 0.5), "prompt": name, "dense_peak": peak, "absent": False, **about, **more}
        for name, peak in prompts.items()
    ])  # fmt: skip


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("more", [{}, {"template": LONG, "absent": True}])
def test_on_a_terminal_nothing_is_cut_and_no_line_is_wider(on_a_terminal, width, more):
    lines = on_a_terminal(comparison(**more), width)
    text = "\n".join(lines)
    assert max(map(cell_len, lines)) <= width and "…" not in text
    assert all(name in text for name in ("a taxi", "고양이")) and text.count("bundled-resnet") == 1
    assert not more or set(LONG.split()) <= set(text.split())
    assert ("0.1235" in text) == (width == 200)


def test_what_does_not_fit_a_terminal_is_named(on_a_terminal, monkeypatch, capsys):
    said = []
    monkeypatch.setattr("denseclip_viz.cli.printed.say", said.append)
    on_a_terminal(comparison(), 60)
    assert "peak_x" in said[0] and "score" not in said[0] and "--json" in said[0]
    on_a_terminal(comparison(), 200)
    assert len(said) == 1


def test_in_a_pipe_every_column_has_its_whole_key_and_every_row_its_line(run):
    result = run("compare", "street.jpg", "-t", LONG + " {}", "-o", "all.csv")
    piped, kept = pd.read_csv(io.StringIO(result.stdout), sep="\t"), pd.read_csv("all.csv")
    pd.testing.assert_frame_equal(piped, kept, rtol=1e-5)


@pytest.mark.parametrize("steering", ["a\tb", "a\nb", "\x1b[2J"])
def test_a_cell_in_a_pipe_breaks_neither_its_line_nor_its_column(capsys, steering):
    print_rows([{"prompt": steering, "score": 0.5}])
    assert capsys.readouterr().out == f"prompt\tscore\n{ascii(steering)[1:-1]}\t0.5\n"


@pytest.mark.parametrize("command", ["compare", "segment", "layers", "classify"])
def test_json_is_the_table_in_full_and_nothing_else(run, command):
    result = run(command, "street.jpg", "--json", "-o", "all.csv")
    rows = pd.DataFrame(json.loads(result.stdout))
    pd.testing.assert_frame_equal(rows, pd.read_csv("all.csv"), check_dtype=False)
    assert result.stderr == "wrote all.csv\n"


def test_json_has_no_number_that_json_does_not_know(capsys):
    with printing(Style(json=True)):
        print_rows([{"iou": float("nan"), "name": "고양이"}])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [{"iou": None, "name": "고양이"}]


LISTS = (["datasets"], ["models", "RN50"], ["versions"], ["toyworld", "vocabulary"], ["taps", "-m", "bundled-resnet"])


@pytest.mark.parametrize("words", LISTS)
def test_every_list_is_json_too(run, words):
    assert json.loads(run(*words, "--json", model=None, prompts=()).stdout)


def test_every_command_can_be_quiet_and_every_one_that_prints_data_knows_json():
    options = {words: options_of(words) for words in COMMANDS}
    assert [words for words, known in options.items() if not {"--quiet", "-q", "-h"} - {"-h"} <= known] == []
    silent = {("lab",), ("encode",), ("remove",), *(("plus", name) for name in ("train", "predict", "export", "show")),
              *(("toyworld", name) for name in ("train", "pack", "scene", "demo", "export"))}  # fmt: skip
    assert {words for words, known in options.items() if "--json" not in known} == silent


def test_quiet_leaves_out_what_is_only_good_to_know(run):
    assert run("classify", "street.jpg", "-o", "x.csv", "-q").stderr == ""
    assert run("classify", "street.jpg", "-w", "random", "-q").stderr.startswith("RANDOM WEIGHTS")


@pytest.mark.parametrize(("into", "code", "says"), [
    ("> /dev/full", 2, "standard output cannot be written (No space left on device). Expected a place"),
    (">&-", 0, ""),
    ("| true", 141, ""),
])  # fmt: skip
def test_output_that_goes_nowhere_ends_the_command_without_a_word_of_python(into, code, says):
    listed = f"{shlex.quote(sys.executable)} -m denseclip_viz toyworld vocabulary"
    wait = "sleep 0.2; " if into.startswith("|") else ""  # until its reader has gone
    done = subprocess.run(["bash", "-c", f"({wait}{listed}) {into}; exit ${{PIPESTATUS[0]}}"], capture_output=True)
    assert done.returncode == code and done.stderr.decode().startswith(says) and done.stderr.count(b"\n") == bool(says)


def test_results_are_kept_before_they_are_printed(run, monkeypatch, here):
    """Which may be to a reader that has gone."""

    def unread(text):
        raise typer.Exit(UNREAD)

    run("encode", "street.jpg", "-o", "store", prompts=())
    monkeypatch.setattr("denseclip_viz.cli.printed.print_line", unread)
    run("search", "store", "-o", "hits.csv", code=UNREAD)
    run("compare", "street.jpg", "-o", "numbers.csv", code=UNREAD)
    run("evaluate", "toyworld", "--limit", "1", "-o", "iou.csv", code=UNREAD, prompts=())
    assert {"hits.csv", "numbers.csv", "iou.csv"} <= {path.name for path in here.iterdir()}
