"""Rankings, disagreement and words, drawn: what stands on the figures means what the numbers say."""

import itertools
import warnings
from types import SimpleNamespace

import fake_results
import matplotlib
import numpy as np
import pytest
import torch
import xarray as xr
from drawn import everything_said, maps, texts, with_gid
from matplotlib.backends.backend_agg import FigureCanvasAgg

import denseclip_viz as dcv
from denseclip_viz import plot
from denseclip_viz.errors import LayerError, PromptError
from denseclip_viz.measure.bootstrap import Draws
from denseclip_viz.measure.candidates import TextCandidates, WithEnsembles
from denseclip_viz.measure.map_checks import columns_of
from denseclip_viz.measure.rank import ranking_of
from denseclip_viz.plot.faithfulness import BEHIND
from denseclip_viz.plot.sheet import GREY, MARGIN

NAMES = ("a photo of {}.", "{}", "사진 속의 {}", f"{fake_results.LONG} {{}}")
ATTRS = {"model": "RN50", "weights": "openai", "weights_hash": "3f1d2c4b00", "random_weights": 0}


def ranking(names=NAMES, *, random_weights=0, stopped=False):
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.9, 40)
    rows = []
    for value in base:
        scores = value - 0.05 * np.arange(len(names)) * (np.arange(len(names)) > 1) + rng.normal(0, 0.01, len(names))
        without = scores.mean() + rng.normal(0, 0.01, len(names))
        rows.append([*scores, scores.mean(), *without])
    texts = torch.zeros(len(names), 2, 3)
    candidates = TextCandidates("template", names, ("a", "b"), (False, False), (True, True), texts)
    result = xr.Dataset(
        {"score": (("image", "candidate"), np.array(rows))},
        coords={"image": [str(at) for at in range(40)], "candidate": list(WithEnsembles(candidates).names)},
        attrs={**ATTRS, "random_weights": random_weights, "unread": [], "stopped": int(stopped)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ranking_of(result, candidates, "average_precision", Draws(0.95, 500, 0))


def attribution(words=("a", "red", "car"), *, size=(240, 360), gradient=True, **options):
    whole = fake_results.similarity(prompts=("x",), size=size, **options).isel(prompt=0, drop=True).isel(template=[0])
    rng = np.random.default_rng(1)
    change = rng.normal(0, 0.1, (1, len(words), *whole.shape[-2:]))
    data = {
        "dense": whole.drop_vars("absent", errors="ignore"),
        "change": (("template", "word", "y", "x"), change),
        "peak_change": (("template", "word"), change.max((2, 3)) * np.where(np.arange(len(words)) % 2, -1, 1)),
        "image": (("row", "column", "rgb"), fake_results.image(size)),
    }
    if gradient:
        data["gradient"] = (("template", "word", "y", "x"), change / 50)
        data["gradient_rest"] = (("template", "y", "x"), change[:, 0] / 90)
        data["gradient_peak"] = (("template", "word"), change[:, :, 0, 0] / 50)
    return xr.Dataset(data, coords={"word": list(words)}, attrs={**whole.attrs, "prompt": " ".join(words)})


def climbed(*, rungs=4, masks=True, time=True, model="ViT-B-16", seed=0, **attrs):
    """A ladder drawn by hand: the second rung gains surely, the third may be noise, the last loses surely."""
    rng, names = np.random.default_rng(seed), ["value", "no MLP", "k·k", f"mine {fake_results.LONG}"][:rungs]
    gain = np.array([np.nan, 0.05, 0.0002, -0.04])[:rungs]
    values = {"change": np.r_[np.nan, rng.uniform(0, 1, rungs - 1)]}
    if masks:
        values |= {"miou": 0.3 + np.nancumsum(gain), "gain": gain}
    data = {name: ("rung", each) for name, each in values.items()}
    data |= {f"{name}_low": ("rung", each - 0.01) for name, each in values.items()}
    data |= {f"{name}_high": ("rung", each + 0.02) for name, each in values.items()}
    if time:
        data["cost"] = (("turn", "rung"), rng.uniform(1, 2, (5, rungs)))
    data["image_change"] = (("image", "rung"), np.zeros((40, rungs)))
    coords = {"rung": names, "changed": ("rung", ["", "mlp off", "attention kk", "gaussian 5"][:rungs])}
    made = {**ATTRS, "model": model, "interval": 0.95, "not_offered": [], "stopped": 0, "path": "value, no MLP"}
    return xr.Dataset(data, coords=coords, attrs=made | attrs)


WAYS = ("value", "grad-cam", "사진", "a" * 60, "random")


def held(ways=WAYS, *, images=9, missing=("pointing",), fills=("noise",), random_weights=0):
    columns = columns_of(fills)
    values = np.random.default_rng(2).normal(0.5, 0.1, (images, len(ways), len(columns)))
    values[..., [at for at, name in enumerate(columns) if name in missing]] = np.nan
    mean = values.mean(0)
    low, high = mean - 0.05, mean + 0.05
    data = {"mean": mean, "low": low, "high": high}
    data = {name: (("candidate", "column"), numbers) for name, numbers in data.items()}
    data |= {what: ("column", [getattr(column, what) for column in columns.values()]) for what in ("asks", "better")}
    data |= {"placebo": ("candidate", [name == "random" for name in ways]), "curve": ((), 0.0)}
    data["value"] = (("image", "candidate", "column"), values)
    attrs = {**ATTRS, "random_weights": random_weights, "stopped": 0, "interval": 0.9, "not_computed": list(missing)}
    return xr.Dataset(data, coords={"candidate": list(ways), "column": list(columns)}, attrs=attrs)


def learned(steps, *, led=None, asked=None):
    """A student as far as its curves go; its teacher was asked in the first `asked` steps."""
    rng = np.random.default_rng(3)
    curves = {name: rng.uniform(0.1, 0.9, steps).tolist() for name in ("loss", "confident", "agreement")}
    curves["agreement"][asked or steps :] = [np.nan] * (steps - (asked or steps))
    schedule = {"steps": steps, "guided": led, "batch": 1, "labels": "none", "path": "value"}
    settings = {"schedule": schedule, "network": {"name": "clip-fpn"}, "dataset": {"images": 1}}
    return SimpleNamespace(teacher=ATTRS, training={"settings": settings, "curves": curves})


MANY = tuple(f"word{at}" for at in range(9))
DRAWN = {
    "ranking": lambda: plot.template_ranking(ranking()),
    "ranking of two": lambda: plot.template_ranking(ranking(NAMES[:2], stopped=True)),
    "ranking of eighty": lambda: plot.template_ranking(ranking(tuple(f"say {at} {{}}" for at in range(80)))),
    "random ranking": lambda: plot.template_ranking(ranking(random_weights=1)),
    "ladder": lambda: plot.ladder(climbed()),
    "ladder without masks": lambda: plot.ladder(climbed(masks=False)),
    "ladder of two rungs": lambda: plot.ladder(climbed(rungs=2, masks=False, time=False, random_weights=1)),
    "ladders of three towers": lambda: plot.ladder(
        [climbed(), climbed(model="RN50", rungs=2, not_offered=["k·k", "mine"]), climbed(model="빨간", seed=1)]
    ),
    "faithfulness": lambda: plot.faithfulness(held()),
    "faithfulness of one": lambda: plot.faithfulness(held(WAYS[-1:], missing=(), random_weights=1)),
    "faithfulness by two fills": lambda: plot.faithfulness(held(missing=(), fills=("noise", "grey"))),
    "faithfulness by two tests": lambda: plot.faithfulness(held().sel(column=["insertion_noise", "energy"])),
    "curves of one step": lambda: plot.training_curves(learned(1)),
    "curves of two steps": lambda: plot.training_curves(learned(2)),
    "curves of many steps": lambda: plot.training_curves(learned(900, led=90, asked=90)),
    "words": lambda: plot.words(attribution()),
    "two words": lambda: plot.words(attribution(("빨간", "자동차"), random_weights=1)),
    "nine words": lambda: plot.words(attribution(MANY, size=(400, 100))),
    "long words": lambda: plot.words(attribution(("W" * 200, "car"), size=(100, 400))),
    "words left out only": lambda: plot.words(attribution(gradient=False)),
    "disagreement": lambda: plot.disagreement(fake_results.similarity(), image=fake_results.image()),
    "disagreement of many": lambda: plot.disagreement(
        fake_results.similarity(prompts=fake_results.MANY, random_weights=1)
    ),
    "disagreement of one, centred": lambda: plot.disagreement(
        dcv.measure.disagreement(fake_results.similarity(prompts=("grass",)), centred=True)
    ),
    "disagreement of long": lambda: plot.disagreement(fake_results.similarity(prompts=(fake_results.LONG, "W" * 300))),
}


@pytest.mark.parametrize("name", DRAWN)
def test_no_texts_overlap_and_none_leaves_the_sheet(name):
    drawn = DRAWN[name]()
    renderer = FigureCanvasAgg(drawn).get_renderer()
    written = [t for t in [*drawn.texts, *(t for ax in drawn.axes for t in ax.texts)] if t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in written]
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y1 <= drawn.bbox.y1, text
    for (text, a), (other, b) in itertools.combinations(boxes, 2):
        inside = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
        assert not inside, (text, other)


@pytest.mark.parametrize("name", ["ranking", "ladder", "words", "disagreement"])
def test_no_setting_of_matplotlib_is_touched_and_none_changes_a_figure(name):
    before = dict(matplotlib.rcParams)
    plain = pixels(DRAWN[name]())
    assert dict(matplotlib.rcParams) == before
    odd = {"text.usetex": True, "axes.facecolor": "black", "text.color": "white", "font.size": 30, "axes.grid": True}
    with matplotlib.rc_context(odd):
        changed = pixels(DRAWN[name]())
    assert (plain == changed).all()


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def test_a_ranking_shows_means_and_intervals_in_order_and_names_what_is_noise():
    made = ranking()
    drawn = plot.template_ranking(made)
    ties = made.table["within_noise"].tolist()
    assert ties == [True, True, False, False]
    columns = {"mean": ("score", "low", "high"), "difference": ("to_best", "to_best_low", "to_best_high")}
    for kind, line in (("mean", "interval"), ("difference", "difference interval")):
        middle, *ends = columns[kind]
        dots, lines = with_gid(drawn, kind), with_gid(drawn, line)
        assert [dot.get_xdata()[0] for dot in dots] == made.table[middle].tolist()
        assert [list(one.get_xdata()) for one in lines] == made.table[ends].to_numpy().tolist()
        colours = [dot.get_color() for dot in dots]
        assert colours[0] == colours[1] != colours[2] == colours[3]
    assert with_gid(drawn, "ensemble")[0].get_xdata()[0] == pytest.approx(made.scores.ensemble.mean().item())
    said = everything_said(drawn)
    assert "average precision on 40 images" in said and "1 more may be the best one" in said
    assert "사진 속의 {}" in said and "RN50 · weights openai (3f1d2c4b)" in said and "RANDOM" not in said
    assert not with_gid(drawn, "guide") and len(with_gid(DRAWN["ranking of eighty"](), "guide")) == 15
    assert "RANDOM WEIGHTS" in everything_said(DRAWN["random ranking"]())
    assert "interrupted" in everything_said(DRAWN["ranking of two"]())


def test_a_ladder_shows_each_rung_with_its_interval_and_tells_gains_from_noise():
    made = climbed()
    drawn = plot.ladder(made)
    for name in ("miou", "gain", "change"):
        there = np.isfinite(made[name].values)
        assert [dot.get_xdata()[0] for dot in with_gid(drawn, name)] == made[name].values[there].tolist()
        ends = np.stack([made[f"{name}_low"], made[f"{name}_high"]], 1)[there]
        assert [list(line.get_xdata()) for line in with_gid(drawn, f"{name} interval")] == ends.tolist()
    hollow = [dot.get_markerfacecolor() == "white" for dot in with_gid(drawn, "gain")]
    assert hollow == [False, True, False]
    assert [dot.get_xdata()[0] for dot in with_gid(drawn, "cost")] == np.median(made.cost, 0).tolist()
    said = everything_said(drawn)
    assert "40 images" in said and "95% intervals" in said and "mlp off" in said and "value path" not in said
    assert "+0.050   (+0.040 … +0.070)" in said and "+0.0002" in said and "−0.040" in said
    assert with_gid(drawn, "no gain")[0].get_xdata() == [0, 0]


@pytest.mark.parametrize("name", ["ladder", "ladders of three towers", "ranking", "ranking of eighty"])
def test_axes_say_round_numbers_at_even_steps(name):
    drawn = DRAWN[name]()
    for ax in drawn.axes:
        said = {t.get_text(): t.get_position()[0] for t in ax.texts if t.get_color() == GREY}
        assert all(float(text.replace("−", "-")) == pytest.approx(at, abs=1e-12) for text, at in said.items())
        steps = np.diff(sorted(said.values()))
        assert np.allclose(steps, steps[:1]) and all(f"{step:.0e}"[0] in "125" for step in steps)


def test_a_ladder_without_masks_has_no_miou():
    said = everything_said(DRAWN["ladder without masks"]())
    assert "mIoU" not in said and "Δ map" in said and "time" in said
    assert "time" not in everything_said(DRAWN["ladder of two rungs"]())


def test_towers_have_a_colour_each_and_a_rung_that_one_lacks_has_no_dot():
    drawn = DRAWN["ladders of three towers"]()
    colours = [dot.get_color() for dot in with_gid(drawn, "miou")]
    assert len(colours) == 4 + 2 + 4 and len(set(colours)) == 3
    said = everything_said(drawn)
    assert "RN50 has no switch for: k·k, mine." in said and "ViT-B-16 · 40 images" in said


def test_headings_of_towers_keep_to_the_margin():
    drawn = plot.ladder([climbed(time=False)] * 2)
    renderer = FigureCanvasAgg(drawn).get_renderer()
    end = max(t.get_window_extent(renderer).x1 for t in drawn.texts)
    assert end < drawn.bbox.x1 - 0.9 * MARGIN * drawn.dpi


@pytest.mark.parametrize("first", [0, 1])
def test_rungs_of_several_towers_keep_the_order_in_which_each_climbs(first):
    whole = climbed()
    towers = [whole, whole.isel(rung=[0, 2]).assign_attrs(model="RN50")]
    drawn = plot.ladder([towers[first], towers[1 - first]])
    rows = [text for text in texts(drawn) if text in whole.rung]
    assert rows == ["value", "no MLP", "k·k"]
    with pytest.raises(LayerError, match="'k·k' and 'no MLP' in different orders. Expected rungs in one order"):
        plot.ladder([whole, whole.isel(rung=[0, 2, 1])])


@pytest.mark.parametrize("name", ["ladder", "ladder without masks", "ladder of two rungs"])
def test_a_ladder_says_in_full_what_its_dots_and_lines_are_however_narrow_it_is(name):
    foot = " ".join(texts(DRAWN[name]()))
    assert "Dots: means. Lines: 95% intervals by bootstrap over images, paired between rungs." in foot


def test_faithfulness_shows_every_mean_with_its_interval_and_points_to_the_better_side():
    made = held()
    drawn, said = plot.faithfulness(made), everything_said(plot.faithfulness(made))
    for name in made.column.values:
        column = made.sel(column=name)
        dots, lines = with_gid(drawn, name), with_gid(drawn, f"{name} interval")
        if name == "pointing":
            assert dots == [] and "pointing" in said  # it is named below
            continue
        assert [dot.get_xdata()[0] for dot in dots] == column["mean"].values.tolist()
        assert [list(line.get_xdata()) for line in lines] == np.stack([column.low, column.high], 1).tolist()
        sign = 1 if column.better == "higher" else -1
        best = int((sign * column["mean"].values[:-1]).argmax())
        near = np.abs(column["mean"].values - column["mean"].values[best]) <= 0.1 + 1e-12
        near[-1] = False  # a placebo is never good
        blue = [dot.get_color() == dots[best].get_color() for dot in dots]
        assert blue == near.tolist() and [dot.get_markerfacecolor() == "white" for dot in dots] == [False] * 4 + [True]
    even = made.copy()
    for name in ("mean", "low", "high"):
        even[name] = xr.full_like(made[name], 0.25)
    alike = plot.faithfulness(even)
    assert len(alike.axes[0].texts) == 1  # a column of one value has one number, and not two on each other
    assert {dot.get_color() for dot in with_gid(alike, "flip")} == {BEHIND}, "where all are alike none is the best"
    assert {"deletion (noise) ←", "insertion (noise) →", "random weights ←", "flip →"} <= set(texts(drawn))
    assert "90% intervals" in said and "9 images" in said and "does it hold still?" in said


def test_faithfulness_goes_by_the_names_of_axes_and_not_by_their_order():
    made = held(missing=())
    square = made.isel(column=slice(len(WAYS)))  # as many columns as methods
    for result in (made, square):
        drawn = [pixels(plot.faithfulness(one)) for one in (result, result.transpose(*reversed(list(result.dims))))]
        np.testing.assert_array_equal(*drawn)


def test_a_question_that_one_column_answers_is_asked_in_whole_above_it():
    drawn = DRAWN["faithfulness by two fills"]()
    left = {text.get_text(): text.get_position()[0] for text in drawn.texts}
    assert left["map?"] == left["does the score follow the"] == left["insertion top-1 (grey) →"] < left["pointing →"]
    assert left["does it lie on the thing?"] == left["pointing →"]
    assert texts(drawn).count("does the score follow the map?") == 1  # over the seven of the band before


@pytest.mark.parametrize("steps", [1, 2, 900])
def test_numbers_stand_beside_the_curves_of_a_training_however_short(steps):
    for ax in plot.training_curves(learned(steps)).axes:
        numbers = [text for text in ax.texts if text.get_ha() == "right" and "step" not in text.get_text()]
        ends = [text.get_transform().transform(text.get_position())[0] for text in numbers]
        assert len(numbers) >= 2 and ends == pytest.approx([ax.bbox.x0] * len(numbers))


def test_a_curve_of_a_single_step_is_a_dot_and_its_step_is_in_the_singular():
    one, taught_by_itself = DRAWN["curves of one step"](), plot.training_curves(learned(12, led=0, asked=1))
    assert "clip-fpn · 1 step of 1 · 1 image" in texts(one) and "1 steps" not in everything_said(one)
    means = [with_gid(one, f"{name}, mean")[0] for name in ("loss", "confident", "agreement")]
    means += with_gid(taught_by_itself, "agreement, mean")
    assert [line.get_marker() for line in means] == ["o"] * 4
    assert with_gid(taught_by_itself, "loss, mean")[0].get_marker() == ""


def test_the_first_step_of_self_training_is_the_one_behind_the_dashed_line():
    drawn = plot.training_curves(learned(12, led=6))
    assert {line.get_xdata()[0] for line in with_gid(drawn, "self-training")} == {6.5}
    assert "Dashed: from step 7 the student learns from its own labels." in everything_said(drawn)


def test_disagreement_is_drawn_from_zero_on_one_scale():
    similar = fake_results.similarity()
    drawn = plot.disagreement(similar)
    spread = similar.std("template")
    images = maps(drawn, "magma", spread.shape[1:])
    assert len(images) == spread.sizes["prompt"] and {image.get_clim() for image in images} == {
        (0.0, float(spread.max()))
    }
    assert all(np.allclose(i.get_array(), spread[at]) for at, i in enumerate(images))
    assert texts(drawn) == texts(plot.disagreement(dcv.measure.disagreement(similar)))
    assert "3 templates" in everything_said(drawn)


def test_each_word_has_its_bar_and_its_map_on_a_scale_around_zero():
    found = attribution()
    drawn = plot.words(found)
    bars = with_gid(drawn, "word bar")
    heights = [*found.peak_change.values[0], *found.gradient_peak.values[0]]
    assert [bar.get_height() for bar in bars] == pytest.approx(heights)
    reds = [bar.get_facecolor()[0] > bar.get_facecolor()[2] for bar in bars]
    assert reds == [height > 0 for height in heights]
    images = maps(drawn, "RdBu_r", found.change.shape[2:])
    limits = [image.get_clim() for image in images]
    assert len(images) == 7 and len(set(limits)) == 2 and all(low == -high for low, high in limits)
    assert {"a", "red", "car", "a red car"} <= {text.strip("\u2068\u2069") for text in texts(drawn)}


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: plot.template_ranking(ranking().table), LayerError, "DataFrame.*its table"),
        (lambda: plot.ladder(ranking().scores), LayerError, "measure.ladder"),
        (lambda: plot.ladder([]), LayerError, "No result"),
        (lambda: plot.faithfulness(ranking().table), LayerError, "DataFrame.*measure.faithfulness"),
        (lambda: plot.words(fake_results.comparison()), LayerError, "word_attribution"),
        (lambda: plot.words(attribution(), template="the {}"), PromptError, "'the {}' is not in this result"),
        (lambda: plot.disagreement(fake_results.similarity().isel(template=[0])), PromptError, "One template only"),
        (lambda: plot.disagreement(fake_results.similarity()[0, 0]), PromptError, "Axes y, x"),
        (lambda: plot.disagreement(fake_results.similarity().expand_dims(path=2)), PromptError, r"isel\(path=0\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()
