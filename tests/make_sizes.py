"""Measure the sizes of every model that open_clip lists, for denseclip_viz/encode/sizes.json: two minutes."""

import json
from pathlib import Path

import denseclip_viz.clip.load.models as listing
from denseclip_viz.clip.load.architectures import known_models

if __name__ == "__main__":
    sizes = {known["name"]: listing.measured_sizes(known["name"]) for known in known_models()}
    rows = ",\n".join(f'"{name}": {json.dumps(row)}' for name, row in sizes.items())
    Path(listing.__file__).with_name("sizes.json").write_text(f"{{\n{rows}\n}}\n")
