"""What the pages say of models and of sizes is so, and their lines run."""

import re
from pathlib import Path

import torch

import denseclip_viz as dcv
from denseclip_viz.measure import evaluation

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


def test_the_page_on_clusters_runs_and_its_sums_are_right(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parent.parent / "docs" / "beyond-one-machine.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(evaluation, "engine_of", asked.append)  # what workers do is tested with them
    names = {}
    threads = torch.get_num_threads()
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block, "beyond-one-machine.md", "exec"), names)
    torch.set_num_threads(threads)
    assert asked == [2, None] and names["measured"].sizes["image"] == 24
    assert re.fullmatch(r"\d+\.\d hours with 32 workers, \d\.\d\d GB\n", capsys.readouterr().out)
    rows = re.findall(r"^\| .* \| (0\.\d+) \| (\d*) ?\| (\d+) \| ([\d.]+) h \| ([\d.]*)", text, flags=re.MULTILINE)
    assert len(rows) == 4
    for seconds, size, hours, spread, gigabytes in rows:
        assert int(hours) == round(float(seconds) * 1e6 / 3600)
        assert float(spread) == round(float(seconds) * 1e6 / 3600 / 32, 1)
        assert not size or float(gigabytes) == round(float(size) / 1e3, 1)
