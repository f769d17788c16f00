"""How the bundled models are trained: from images and captions alone, the same every time, resumable."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import killed
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.clip.load.bundled import (
    CARD,
    MODELS,
    NAMES,
    compact_ids,
    folder_of,
    known_ids,
    later_rows,
    load_compact,
    stored_tensors,
    unknown_words,
)
from denseclip_viz.errors import ModelNameError, PromptError, WeightsError, WorkerError
from denseclip_viz.toyworld import dataset, seed_of
from denseclip_viz.train import batches as batches_module
from denseclip_viz.train import contrastive
from denseclip_viz.train.batches import Batch, batches, drawn_ahead, sample_of, tokens_of
from denseclip_viz.train.card import pack
from denseclip_viz.train.contrastive import export, train
from denseclip_viz.train.loop import LOG, STATE, Checkpoint, orthogonal, read_checkpoint, whole_steps, write_checkpoint
from denseclip_viz.train.loss import contrast, encode_sets, encode_tokens, mixed_precision, normalized
from denseclip_viz.train.recipes import Recipe, build, fitted, recipe_of

TINY = recipe_of("tiny")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class OnlySaid:
    """A scene that refuses to show anything but its image and its captions."""

    def __init__(self, number: int, size: int, split: str = "train") -> None:
        assert split == "train"
        self.image = np.full((size, size, 3), number % 251, np.uint8)

    def caption(self, seed: int = 0, *, brief: bool = False, negated: bool = False) -> str:
        if negated:
            return "no bus"
        if brief:
            return f"a {('taxi', 'tree')[seed % 2]}"
        return f"a {('red', 'blue', 'green')[seed % 3]} taxi left of a tree"

    def __getattr__(self, name: str):
        raise AssertionError(f"training looked at {name}")


def test_training_reads_images_and_captions_and_nothing_else_of_a_scene(monkeypatch):
    monkeypatch.setattr(batches_module, "scene", OnlySaid)
    assert len(list(batches(TINY))) == TINY.steps
    said = sample_of(OnlySaid(3, 64), 2, 1, uses=2).captions
    assert said[0] == "a red taxi left of a tree" and said[2] == "a taxi" and said[5] == "a tree"
    assert sample_of(OnlySaid(3, 64), 1, 2, uses=1, negated=1).captions[1:] == ("a taxi", "no bus")


@pytest.mark.parametrize(("capability", "products"), [("AVX512", torch.bfloat16), ("AVX2", torch.float32)])
def test_products_are_in_bfloat16_only_where_a_processor_has_it(monkeypatch, capability, products):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    some, asked = torch.eye(3), []
    with mixed_precision("cpu"):
        assert (some @ some).dtype == products
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: asked.append(x.dtype) or torch.mm(x, y))
    assert orthogonal(some).dtype == torch.float32 and set(asked) == {products}


def test_a_batch_has_room_for_images_and_tokens_only():
    assert {field.name for field in dataclasses.fields(Batch)} == {"images", "tokens"}
    batch = next(batches(TINY))
    assert batch.images.shape == (8, 64, 64, 3) and batch.images.dtype == np.uint8
    assert batch.tokens.shape[:2] == (TINY.captions + TINY.brief, 8)


def test_the_first_steps_come_out_again_from_the_seed(tmp_path):
    states = [_trained(tmp_path / name, scenes=24) for name in ("one", "two")]
    assert _same(*states)
    other = dataclasses.replace(TINY, seed=1)
    assert not _same(states[0], _trained(tmp_path / "three", scenes=24, recipe=other))


@pytest.mark.parametrize("scenes", [8, 40, 56])
def test_a_stopped_training_goes_on_as_if_it_had_not_been_stopped(tmp_path, scenes):
    whole = _trained(tmp_path / "whole")
    _trained(tmp_path / "parts", scenes=scenes)
    assert _same(whole, _trained(tmp_path / "parts"))


def _every_step_kept(folder):
    train("tiny", folder, every=0.0, ahead=False)


def test_a_killed_training_goes_on_where_its_checkpoint_is(tmp_path):
    folder = tmp_path / "killed"
    killed((folder / "state.safetensors").is_file, _every_step_kept, folder)
    assert read_checkpoint(folder) is not None
    assert _same(_trained(tmp_path / "whole"), _trained(folder))


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_keeps_the_step_at_hand_and_a_second_one_comes_at_once(tmp_path, monkeypatch, times):
    whole, step, reached = _trained(tmp_path / "whole"), contrastive._step, []

    def interrupted(run, batch):
        if run.step == 3:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        loss = step(run, batch)
        reached.append(run.step)
        return loss

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(contrastive, "_step", interrupted)
        train(TINY, tmp_path / "stopped", ahead=False)
    found = read_checkpoint(tmp_path / "stopped")
    assert reached == [1, 2, 3, 4][: 5 - times]
    assert (found is not None and found.facts["step"] == 4) == (times == 1)
    assert _same(whole, _trained(tmp_path / "stopped"))


@pytest.mark.parametrize(("interrupt", "error"), [(True, KeyboardInterrupt), (False, WorkerError)])
def test_steps_are_kept_where_the_process_that_draws_ends_by_itself_or_at_an_interrupt(
    tmp_path, monkeypatch, interrupt, error
):
    def ending(recipe, first=0):
        yield from islice(batches(recipe, first), 3)
        if interrupt:
            signal.raise_signal(signal.SIGINT)
        raise WorkerError("It ended", expected="no end", fix="Go on.")

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(contrastive, "batches", ending)
        train(TINY, tmp_path / "ended", ahead=False)
    found = read_checkpoint(tmp_path / "ended")
    assert found is not None and found.facts["step"] == 3
    assert _same(_trained(tmp_path / "whole"), _trained(tmp_path / "ended"))


def test_a_process_that_is_to_ignore_interrupts_goes_on_to():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with whole_steps() as interrupts:
            signal.raise_signal(signal.SIGINT)
        assert interrupts == [] and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_half_written_checkpoint_is_never_the_checkpoint(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, Checkpoint({"a": torch.ones(2)}, {"step": 1}))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, Checkpoint({"a": torch.zeros(2)}, {"step": 2}))
    found = read_checkpoint(tmp_path)
    assert found is not None and found.facts == {"step": 1} and found.tensors["a"].sum() == 2


def test_starting_over_forgets_the_checkpoint(tmp_path):
    first = _trained(tmp_path, scenes=16)
    train(TINY, tmp_path, scenes=8, resume=False, ahead=False)
    found = read_checkpoint(tmp_path)
    assert first.facts["images"] == 16 and found is not None and found.facts["images"] == 8


LATER = dataclasses.replace(TINY.phases[1], size=128)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 7}, "seed 0, not 7"),
        ({"decay": 0.5, "first_scene": 500_000}, "decay 0.05, not 0.5"),
        ({"name": "small", "decay": 0.5}, "name 'tiny', not 'small'"),
        ({"phases": (TINY.phases[0], LATER)}, "size 96, not 128"),
        ({"phases": (*TINY.phases, LATER)}, "phases nothing, not {'batch': 8"),
        ({"start": "vit"}, "start nothing, not 'vit'"),
    ],
)
def test_a_training_goes_on_by_the_recipe_that_it_was_begun_with(tmp_path, changes, named):
    before = _trained(tmp_path, scenes=8)
    with pytest.raises(WeightsError, match=named):
        train(dataclasses.replace(TINY, **changes), tmp_path, ahead=False)
    after = read_checkpoint(tmp_path)
    assert after is not None and after.facts == before.facts and _same(before, after)


@pytest.mark.parametrize("scenes", [8, 24, 48, 72])
def test_the_log_of_a_stopped_training_tells_what_that_of_another_does_and_where_it_stopped(tmp_path, scenes):
    last = train(TINY, tmp_path / "whole", ahead=False)
    train(TINY, tmp_path / "parts", scenes=scenes, ahead=False)
    assert train(TINY, tmp_path / "parts", ahead=False).loss == last.loss
    whole, parts = _logged(tmp_path / "whole"), _logged(tmp_path / "parts")
    assert [step for step, _ in whole] == [6, 10]
    assert [step for step, _ in parts] == sorted({scenes // 8, 6, 10})
    assert [line for line in parts if line[0] in (6, 10)] == whole


def test_a_call_that_has_no_step_to_do_changes_nothing_and_gives_the_last_report_again(tmp_path):
    last = train(TINY, tmp_path, scenes=24, ahead=False)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert train(TINY, tmp_path, scenes=24, ahead=False) == last
    train(TINY, tmp_path, scenes=0, resume=False, ahead=False)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_log_tells_of_no_training_that_was_given_up_and_nothing_twice(tmp_path):
    _trained(tmp_path, scenes=24)
    early = (tmp_path / STATE).read_bytes()
    _trained(tmp_path)
    (tmp_path / STATE).write_bytes(early)  # as a kill at the end leaves it
    _trained(tmp_path)
    assert [step for step, _ in _logged(tmp_path)] == [3, 6, 10]
    train(TINY, tmp_path, scenes=32, resume=False, ahead=False)
    assert [step for step, _ in _logged(tmp_path)] == [4]


def test_a_checkpoint_of_an_older_version_goes_on(tmp_path):
    found = _trained(tmp_path / "old", scenes=24)
    facts = {name: fact for name, fact in found.facts.items() if name != "losses"}
    write_checkpoint(tmp_path / "old", Checkpoint(found.tensors, facts))
    assert facts != found.facts and _same(_trained(tmp_path / "whole"), _trained(tmp_path / "old"))


def test_drawing_in_another_process_gives_the_same_batches():
    with drawn_ahead(TINY, 3) as ahead:
        for ours, theirs in zip(islice(batches(TINY, 3), 4), ahead, strict=False):
            assert np.array_equal(ours.images, theirs.images)
            assert np.array_equal(ours.tokens, theirs.tokens)


def test_that_the_process_that_draws_was_killed_is_an_error_of_ours():
    with drawn_ahead(TINY) as ahead, pytest.raises(WorkerError, match="ended before the last"):
        for process in multiprocessing.active_children():
            process.kill()
        list(ahead)


@pytest.mark.slow
def test_a_script_that_trains_in_every_process_that_imports_it_is_told_of_the_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from denseclip_viz.train.contrastive import train\ntrain('tiny', 'run', scenes=8)")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, encoding="utf-8")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "WorkerError: The process that draws" in last
    assert 'below `if __name__ == "__main__":`, or pass ahead=False' in last
    assert not list((tmp_path / "run").iterdir())


@given(st.integers(0, TINY.steps - 1))
def test_any_batch_can_be_had_without_those_before_it(first):
    every = list(_all_batches())
    alone = next(batches(TINY, first))
    assert np.array_equal(alone.images, every[first].images)
    assert np.array_equal(alone.tokens, every[first].tokens)


def test_training_and_validation_never_share_a_scene():
    for name in ("resnet", "vit"):
        recipe = recipe_of(name)
        last = recipe.first_scene + sum(phase.scenes for phase in recipe.phases)
        assert seed_of(last, "train") < seed_of(0, "validation") < seed_of(0, "test")


def test_captions_and_templates_use_known_words_only():
    for scene in dataset(40, "validation", size=64):
        compact_ids(scene.captions(5))
        compact_ids(scene.caption(seed, negated=True) for seed in range(20))
    assert unknown_words("A photo of the large striped taxi, next to a queen.") == []
    assert unknown_words("a zebra on a skateboard") == ["zebra", "skateboard"]
    with pytest.raises(PromptError, match="zebra"):
        compact_ids(["a zebra"])


def test_text_rows_cut_to_the_longest_text_encode_the_same():
    model = build(TINY, 64).eval()
    tokens = torch.from_numpy(tokens_of([["a taxi", "a red taxi next to a blue whale, on grass"]])[0])
    padded = torch.nn.functional.pad(tokens, (0, 48 - tokens.shape[1]))
    torch.testing.assert_close(encode_tokens(model, tokens), model.encode_text(padded))


def test_sets_of_captions_encode_as_each_caption_alone():
    model = build(TINY, 64).eval()
    tokens = tokens_of([["a taxi", "a red taxi next to a blue whale, on grass"], ["an oak", "a taxi"]])
    alone = [[encode_tokens(model, torch.from_numpy(row[None, : row.argmax() + 1]))[0] for row in s] for s in tokens]
    torch.testing.assert_close(encode_sets(model, torch.from_numpy(tokens)), torch.stack([*map(torch.stack, alone)]))


def test_dropped_patches_are_the_same_after_a_stop(tmp_path):
    config = {**TINY.config, "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "image_size": 64}}
    phases = tuple(dataclasses.replace(phase, size=64, dropped=0.5 * (k == 0)) for k, phase in enumerate(TINY.phases))
    recipe = dataclasses.replace(TINY, config=config, phases=phases)
    whole = _trained(tmp_path / "whole", recipe=recipe)
    _trained(tmp_path / "parts", scenes=24, recipe=recipe)
    assert _same(whole, _trained(tmp_path / "parts", recipe=recipe))
    kept = dataclasses.replace(recipe, phases=tuple(dataclasses.replace(phase, dropped=0.0) for phase in phases))
    assert not _same(whole, _trained(tmp_path / "kept", recipe=kept))


def test_a_second_caption_of_a_image_is_not_a_wrong_answer():
    images = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    tokens = torch.arange(8).view(2, 4, 1)
    scale = torch.tensor(1.0)
    both = contrast(images, torch.stack([images, images]), tokens, scale)
    cosines = scale.exp() * images @ images.T
    rows = torch.logsumexp(torch.cat([cosines, cosines.masked_fill(torch.eye(4, dtype=torch.bool), -torch.inf)], 1), 1)
    columns = torch.logsumexp(cosines, 0)
    expected = ((rows + columns) / 2 - cosines.diagonal()).mean()
    torch.testing.assert_close(both, expected)


def test_the_same_words_for_two_images_are_not_wrong_answers():
    images, texts = torch.eye(3), torch.eye(3)[None]
    twins = torch.tensor([[[1], [1], [2]]])
    texts = texts.clone()
    texts[0, 1] = texts[0, 0]
    apart = contrast(images, texts, torch.tensor([[[1], [3], [2]]]), torch.tensor(4.0))
    assert contrast(images, texts, twins, torch.tensor(4.0)) < apart


def test_words_that_came_later_change_no_other_first_weight(monkeypatch):
    with_them = build(TINY, 64).state_dict()
    later = list(later_rows())
    monkeypatch.setattr("denseclip_viz.train.recipes.known_ids", lambda: np.delete(known_ids(), later))
    monkeypatch.setattr("denseclip_viz.train.recipes.later_rows", lambda: ())
    without = build(TINY, 64).state_dict()
    table = with_them.pop("token_embedding.weight")
    assert np.array_equal(np.delete(table.numpy(), later, axis=0), without.pop("token_embedding.weight"))
    assert all(torch.equal(tensor, without[name]) for name, tensor in with_them.items())
    assert table[later].std() > 0.01


def test_positions_keep_their_place_when_the_grid_grows():
    table = torch.arange(10.0).view(10, 1)
    assert torch.equal(fitted(table, table.shape), table)
    grown = fitted(table, torch.Size([37, 1]))
    assert grown[0] == table[0] and grown[1] == table[1] and grown[-1] == table[-1]


def test_a_trained_model_is_stored_small_and_answers_the_same(tmp_path):
    state = _trained(tmp_path / "run")
    export(tmp_path / "run", tmp_path / "model")
    loaded = load_compact(tmp_path / "model")
    assert loaded.provenance["random_weights"] == 0
    table = state.tensors["model/token_embedding.weight"].half().float()
    assert torch.equal(loaded.clip.token_embedding.weight[torch.from_numpy(known_ids())], table)
    unknown = torch.ones(49408, dtype=torch.bool)
    unknown[torch.from_numpy(known_ids())] = False
    assert not loaded.clip.token_embedding.weight[unknown].any()


def test_unknown_words_are_warned_of(tmp_path):
    _trained(tmp_path / "run", scenes=8)
    export(tmp_path / "run", tmp_path / "model")
    tokenizer = load_compact(tmp_path / "model").tokenizer
    assert tokenizer(["a taxi"], 48).shape == (1, 48)
    with pytest.warns(UserWarning, match="'zebra'"):
        tokenizer(["a zebra"], 48)


def test_wrong_names_and_missing_weights_are_said(tmp_path):
    with pytest.raises(ModelNameError, match="vgg"):
        folder_of("vgg")
    with pytest.raises(ModelNameError, match="vgg"):
        recipe_of("vgg")
    with pytest.raises(WeightsError, match="weights"):
        load_compact(tmp_path)
    with pytest.raises(WeightsError, match="no training"):
        export(tmp_path, tmp_path / "out")


def test_a_recipe_that_starts_with_a_model_has_its_weights_and_draws_what_that_lacks():
    built, stored = build(recipe_of("vit-cls"), 168).state_dict(), stored_tensors("vit")
    drawn = {name for name, tensor in built.items() if name not in stored or stored[name].shape != tensor.shape}
    assert drawn == {"visual.proj", "visual.ln_post.weight", "visual.ln_post.bias"}
    for name in set(built) - drawn:
        torch.testing.assert_close(built[name], stored[name].float(), rtol=0, atol=0)


def test_a_recipe_says_all_of_itself_in_json():
    assert json.loads(TINY.to_json())["phases"][0]["size"] == 64


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_is_small_and_its_card_tells_the_recipe_that_made_it(name):
    card = json.loads((MODELS / name / CARD).read_text("utf-8"))
    assert card["recipe"] == json.loads(recipe_of(name).to_json())
    assert sum(file.stat().st_size for file in (MODELS / name).iterdir()) <= 12_000_000
    loaded = load_compact(folder_of(name), label=f"bundled-{name}")
    assert loaded.provenance["model"] == f"bundled-{name}" and loaded.provenance["random_weights"] == 0


@pytest.mark.slow
def test_a_training_is_packed_with_a_card_that_says_how_it_went(tmp_path, monkeypatch):
    _trained(tmp_path / "run", scenes=16)
    card = json.loads(
        pack(tmp_path / "run", tmp_path / "model", scenes=2, slow=1, notes=["nothing learned"]).read_text()
    )
    assert card["steps"] == 2 and card["steps_planned"] == TINY.steps and card["images_seen"] == 16
    assert card["recipe"] == json.loads(TINY.to_json()) and card["notes"] == ["nothing learned"]
    assert card["held_out_test"]["scenes"] == 2 and card["held_out_test"]["mIoU"]["value"]["scenes"] == 2
    assert any("patch tokens" in line for line in card["findings"])
    model = dcv.load(tmp_path / "model")
    assert model.provenance["random_weights"] == 0 and model.provenance["model"] == "model"
    with pytest.warns(UserWarning, match="never read 'giraffe'"):
        model.encode_text(["a giraffe"])
    monkeypatch.chdir(tmp_path / "model")
    test = card["held_out_test"]
    again = CliRunner().invoke(app, [*shlex.split(test.pop("command"))[1:], "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == {**test, "model": {**test["model"], "model": "model"}}
    assert dcv.load(str(MODELS / "resnet")).provenance["weights_hash"] == dcv.load().provenance["weights_hash"]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_finds_the_caption_of_a_scene_far_above_chance(name):
    loaded = load_compact(folder_of(name), label=f"bundled-{name}")
    size = loaded.preprocess.size[0]
    scenes = {scene.caption(): scene for scene in dataset(64, "validation", size=size)}
    with torch.no_grad():
        images = loaded.clip.encode_image(normalized(np.stack([s.image for s in scenes.values()])), normalize=True)
        texts = loaded.clip.encode_text(loaded.tokenizer(list(scenes), 48), normalize=True)
    right = (images @ texts.T).argmax(1) == torch.arange(len(scenes))
    assert right.float().mean() > 0.4


def _trained(folder: Path, *, scenes: int | None = None, recipe: Recipe = TINY) -> Checkpoint:
    train(recipe, folder, scenes=scenes, ahead=False)
    found = read_checkpoint(folder)
    assert found is not None
    return found


def _logged(folder: Path) -> list[tuple[int, str]]:
    """Steps, and what was measured at them, which is no time."""
    lines = [re.search(r"step (\d+)/.*(loss .* of 64)", line) for line in (folder / LOG).read_text().splitlines()]
    return [(int(line[1]), line[2]) for line in lines if line is not None]


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


_made: list[Batch] = []


def _all_batches() -> list[Batch]:
    if not _made:
        _made.extend(batches(TINY))
    return _made
