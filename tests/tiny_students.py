"""Students of a few hundred numbers, that learn in milliseconds."""

import torch
from torch import nn

import denseclip_viz as dcv
from denseclip_viz.plus import learning
from denseclip_viz.plus.networks import Built


class TinyNetwork(nn.Sequential):
    """Convolutions, a norm with running statistics, and dropout: all that a resumed training can get wrong."""

    def __init__(self, dimension: int) -> None:
        drop = nn.Dropout2d(0.2)
        super().__init__(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(), drop, nn.Conv2d(8, dimension, 1))


def tiny(name, dimension, *, teacher=None, weights=None, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Built(TinyNetwork(dimension), {"name": "tiny"})


QUICK = {"crop": 64, "batch": 2, "progress": False}


def main(folder: str) -> None:
    """Train in a process that can be killed at any moment; keep every step."""
    learning.build = tiny
    dcv.plus.train(dcv.load(), dcv.toyworld.dataset(12, size=64), folder, steps=16, guided=8, every=0, **QUICK)
