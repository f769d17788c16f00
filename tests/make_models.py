"""Describe every image model that open_clip lists, for denseclip_viz/clip/load/models.json: two minutes."""

import json

import open_clip

from denseclip_viz.clip.load.models import TABLE, describe

if __name__ == "__main__":
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    table = {name: describe(config) for name, config in configs.items() if "vision_cfg" in config}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(facts, ensure_ascii=False)}" for name, facts in table.items())
    TABLE.write_text(f"{{\n{rows}\n}}\n", "utf-8")
