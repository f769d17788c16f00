"""What the page on real weights says of models is what open_clip's configurations say."""

import re
from pathlib import Path

import denseclip_viz as dcv

PAGE = (Path(__file__).parent.parent / "docs" / "with-a-real-clip.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<name>[\w-]+)` \| `(?P<tag>\w+)` \| (.+?) \| (.+?) \| (\d+) \| (\d+) \|$", re.MULTILINE)


def test_names_tags_and_sizes_are_those_of_open_clip():
    table = dcv.models()
    rows = list(ROW.finditer(PAGE))
    assert len(rows) == 7
    for row in rows:
        name, tag, pooling, grid, dimensions, size = row.groups()
        model = table.loc[name]
        parameters = model.image_parameters + model.text_parameters
        assert (
            tag in model.tags and pooling in model.pooling and (grid, int(dimensions)) == (model.grid, model.dimensions)
        )
        assert abs(int(size) - 4 * parameters) < 1


def test_its_python_lines_run(tmp_path, monkeypatch, image_file, load_tiny):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street.jpg").write_bytes(image_file.read_bytes())
    model = load_tiny("vit")
    monkeypatch.setattr(dcv, "load", lambda name, pretrained: model)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(block, "with-a-real-clip.md", "exec"), {})
