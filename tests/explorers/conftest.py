"""Explorers on tiny models."""

import pytest

import denseclip_viz as dcv


@pytest.fixture
def opened(load_tiny, image_file):
    """Open explorers on tiny models; `panel.encoded` counts what the image encoder does. Closed afterwards."""
    panels, handles = [], []

    def call(kind="vit", *, image=image_file, models=None, **options):
        prompts = dcv.Prompts(["a taxi", "a road"], absent="a whale", articles="right")
        panel = dcv.explore(models or load_tiny(kind), image, prompts, **options)
        panel.encoded = []
        handles.append(panel.model.tower.visual.register_forward_pre_hook(lambda *_: panel.encoded.append(1)))
        panels.append(panel)
        return panel

    yield call
    for handle in handles:
        handle.remove()
    for panel in panels:
        panel.close()
