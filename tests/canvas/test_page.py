"""The offline page as a file; how it behaves is tested in a browser."""

import re

import fake_results
import pytest

import denseclip_viz as dcv
from denseclip_viz.errors import DenseclipVizError, LayerError, OutputError, PromptError


def test_a_page_asks_for_nothing_and_lets_only_its_own_script_run(tmp_path):
    text = dcv.save_html(fake_results.comparison(), tmp_path / "x.html").read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'sha256-" in text
    assert not re.search(r"https?://|\bsrc=|url\(", text.split('<script type="application/json"')[0])


def test_what_users_typed_is_escaped_wherever_it_stands(tmp_path):
    nasty = "</script><img src=x onerror=alert(1)>"
    both = fake_results.comparison(prompts=[nasty, "grass"]).assign_attrs(image_name=nasty, model=nasty)
    text = dcv.save_html(both, tmp_path / "x.html", title=nasty, notes=nasty).read_text(encoding="utf-8")
    assert "<img" not in text
    assert text.count("</script>") == 2
    assert text.count("&lt;img src=x") >= 4


def test_ten_prompts_in_eight_templates_of_one_image_stay_below_three_megabytes(tmp_path):
    model, scene = dcv.load(), dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
    trace = model.trace(scene)
    words = ["a taxi", "a limousine", "a road", "a cat", "a fox", "an owl", "a duck", "a castle", "a whale", "a pine"]
    templates = ["{}", "a photo of {}", "a drawing of {}", "a picture of {}", "{}.", "in {}", "with {}", "this is {}"]
    both = model.compare(trace, dcv.Prompts(words, templates))
    path = dcv.save_html(both, tmp_path / "x.html", trace=trace)
    assert path.stat().st_size <= 3e6


def test_a_page_beyond_its_limit_is_refused_and_nothing_is_left(tmp_path):
    both = fake_results.comparison(layers="resnet", templates=3)
    with pytest.raises(OutputError, match="leave_out="):
        dcv.save_html(both, tmp_path / "x.html", limit_mb=0.5)
    with pytest.raises(OutputError, match="The page takes"):
        dcv.save_html([fake_results.comparison()] * 20, tmp_path / "x.html", limit_mb=0.5)
    assert list(tmp_path.iterdir()) == []
    dcv.save_html(both, tmp_path / "x.html", limit_mb=0.5, leave_out=["layers"])


@pytest.mark.parametrize("got", [None, 5, "street.jpg", [5]])
def test_what_is_no_result_is_named(tmp_path, got):
    with pytest.raises(LayerError, match=f"type {'int' if got == [5] else type(got).__name__}"):
        dcv.save_html(got, tmp_path / "x.html")


def test_a_page_that_is_there_stays_unless_told_otherwise(tmp_path):
    (tmp_path / "x.html").write_text("mine")
    with pytest.raises(OutputError, match="there already"):
        dcv.save_html(fake_results.comparison(), tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text() == "mine"
    dcv.save_html(fake_results.comparison(), tmp_path / "x.html", force=True)


def test_a_page_starts_where_it_is_told_to_or_says_what_there_is(tmp_path):
    both = fake_results.comparison()
    text = dcv.save_html(both, tmp_path / "x.html", view="gap").read_text(encoding="utf-8")
    assert '"view": "gap", "head"' in text
    with pytest.raises(PromptError, match="a whale"):
        dcv.save_html(both, tmp_path / "y.html", prompt="a whale")
    paths = both.assign(dense=both.dense.expand_dims(path=["value", "sclip"]))
    text = dcv.save_html(paths, tmp_path / "z.html", path="sclip").read_text(encoding="utf-8")
    assert '"path": "sclip", "layer"' in text
    with pytest.raises(LayerError, match="no path 'gem'"):
        dcv.save_html(paths, tmp_path / "y.html", path="gem")


def test_there_must_be_results_and_as_many_traces(tmp_path):
    both = fake_results.comparison()
    with pytest.raises(OutputError, match="No result to show"):
        dcv.save_html([], tmp_path / "x.html")
    with pytest.raises(OutputError, match="1 traces for 2 results"):
        dcv.save_html([both, both], tmp_path / "x.html", trace=[fake_results.trace(both)])
    dcv.save_html([both, fake_results.segmentation()], tmp_path / "x.html", trace=[fake_results.trace(both), None])


def test_provenance_stands_on_the_page(tmp_path):
    text = dcv.save_html(fake_results.comparison(random_weights=1), tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<td>weights_hash</td><td>3f1d2c4b5a69788796</td>" in text


@pytest.mark.parametrize("options", [
    {"limit_mb": "8"}, {"limit_mb": float("nan")}, {"limit_mb": 0}, {"leave_out": None}, {"locked": None},
    {"state": {"prompts": "grass"}},
])  # fmt: skip
def test_options_that_cannot_be_are_refused_and_nothing_is_written(tmp_path, options):
    with pytest.raises(DenseclipVizError, match=next(iter(options)).split("_mb")[0]):
        dcv.save_html(fake_results.comparison(), tmp_path / "page.html", **options)
    assert not list(tmp_path.iterdir())
