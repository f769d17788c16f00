"""What the command line costs before it answers, in CPU time: no other process on the machine changes that much.

    --help              at most 0.5 s
    compare, one image  at most 1.3 × importing torch and open_clip

Both sides of a ratio are measured in turn, each in a process of its own; medians.
"""

import os
import resource
import subprocess
import sys
import tempfile
from statistics import median

COMMAND = [sys.executable, "-m", "denseclip_viz"]
COMPARE = [*COMMAND, "compare", "street.jpg", "-p", "a taxi", "-p", "a road"]
LINES = {
    "--help": [*COMMAND, "--help"],
    "versions": [*COMMAND, "versions"],
    "import torch, open_clip": [sys.executable, "-c", "import torch, open_clip"],
    "compare": COMPARE,
}


def seconds(line, folder):
    """Measure the CPU time, of user and system, of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line, cwd=folder, env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""}, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds=7):
    with tempfile.TemporaryDirectory() as folder:
        scene = ["toyworld", "scene", "a red taxi left of a limousine on a road", "street.jpg"]
        subprocess.run([*COMMAND, *scene, "--quiet"], cwd=folder, check=True)
        seconds(COMPARE, folder)  # bytecode is written once
        spent = [{name: seconds(line, folder) for name, line in LINES.items()} for _ in range(rounds)]
    for name in LINES:
        print(f"{name:24} {median(one[name] for one in spent):6.2f} s")
    ratio = median(one["compare"] / one["import torch, open_clip"] for one in spent)
    print(f"compare / imports        {ratio:6.2f} × (at most 1.3)")


if __name__ == "__main__":
    main()
