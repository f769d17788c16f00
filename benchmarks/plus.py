"""What a student of the bundled world learns with no label: mIoU beside its teacher's, by seed, and the minutes.

Of each seed four are taught by the `toyworld` preset, with one thread: by the teacher alone; by the teacher for 0.7 of
the steps and by itself from then on; with four words held back, which no pseudo label names; and with the labels of all
classes but these four, whose pixels are known and not named (transductive zero-shot). Measured on scenes of the test
split; words held back are among all others there. Beside them the teacher's own maps, drawn bilinearly and
guided by the image's colours, which is what pseudo labels are made of.
Usage: python benchmarks/plus.py FOLDER [SEED …] [KIND …]      what the folder holds already is not done again
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import denseclip_viz as dcv
from denseclip_viz.plus import SCHEDULES

HELD = ("fox", "bus", "sand", "tulip")
SCENES, LEARNED, SIZE = 300, 2000, 160
GUIDED = {"guided": partial(dcv.maps.guided, radius=2, factor=8)}
STEPS = SCHEDULES["toyworld"].steps
ALL = dcv.toyworld.dataset(1).classes
KINDS: dict[str, dict[str, Any]] = {
    "guided": {},
    "then itself": {"guided": round(0.7 * STEPS)},
    "held back": {"classes": [name for name in ALL if name not in HELD]},
    "zero-shot": {"labels": "seen", "unseen": HELD, "guided": round(0.7 * STEPS)},
}


def taught(model: dcv.Model, seed: int, kind: str, folder: Path) -> dict[str, Any]:
    wall, cpu = time.time(), time.process_time()
    scenes = dcv.toyworld.dataset(LEARNED, "train", size=SIZE)
    student = dcv.plus.train(model, scenes, folder / f"{kind} {seed}", seed=seed, precision="bf16", **KINDS[kind])
    minutes = {"wall": (time.time() - wall) / 60, "cpu": (time.process_time() - cpu) / 60}
    words = dcv.Prompts({name: [name] for name in ALL}, "a photo of a {}.", articles="right")
    test = dcv.toyworld.dataset(SCENES, "test", size=SIZE)
    measured = dcv.plus.evaluate(student, model, test, prompts=words, finer=GUIDED, progress=False)
    iou = {name: measured.iou.sel(candidate=name).values.tolist() for name in measured.candidate.values.tolist()}
    return {"seed": seed, "kind": kind, "minutes": minutes, "iou": iou}


def interval(values: list[float]) -> str:
    """Student's t over seeds."""
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return f"{mean:.3f}"
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5)
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}] of {count} seeds"


def main(folder: Path, seeds: list[int], kinds: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder.mkdir(parents=True, exist_ok=True)
    model = dcv.load(device="cpu")
    for seed in seeds:
        for kind in kinds:
            file = folder / f"{kind} {seed}.json"
            if not file.exists():
                file.write_text(json.dumps(taught(model, seed, kind, folder)))
    rows = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    teacher, guide = (float(np.nanmean(rows[0]["iou"][name])) for name in ("value", "value, guided"))
    print(f"teacher, value path {teacher:.3f}; guided by colours {guide:.3f}; {SCENES} scenes")
    for kind in KINDS:
        mine = [row for row in rows if row["kind"] == kind]
        if not mine:
            continue
        each = [float(np.nanmean(row["iou"]["student"])) for row in mine]
        minutes = ", ".join(f"{row['minutes']['wall']:.1f} ({row['minutes']['cpu']:.1f} of CPU)" for row in mine)
        print(f"{kind}: {interval(each)}; above the teacher {interval([one - teacher for one in each])}")
        print(f"    minutes: {minutes}")
    seen = np.array([name not in HELD for name in ALL])
    for row in [row for row in rows if row["kind"] == "zero-shot"]:
        for who, iou in row["iou"].items():
            one, other = (float(np.nanmean(np.array(iou)[which])) for which in (seen, ~seen))
            print(f"zero-shot, {who}: seen {one:.3f}, unseen {other:.3f}, hIoU {2 * one * other / (one + other):.3f}")
    for name in HELD:
        at = ALL.index(name)
        values_of = {
            "teacher": [rows[0]["iou"]["value"][at]],
            "held back": [row["iou"]["student"][at] for row in rows if row["kind"] == "held back"],
            "learned": [row["iou"]["student"][at] for row in rows if row["kind"] == "guided"],
        }
        print(
            f"IoU of {name}: "
            + ", ".join(f"{who} {np.mean(values):.3f}" for who, values in values_of.items() if values)
        )


if __name__ == "__main__":
    place, *rest = sys.argv[1:]
    main(
        Path(place),
        [int(one) for one in rest if one.isdigit()] or [0, 1, 2],
        [k for k in KINDS if k in rest] or [*KINDS],
    )
