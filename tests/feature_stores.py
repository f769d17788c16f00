"""Folders of small images, and stores of their features."""

import numpy as np
from PIL import Image

import denseclip_viz as dcv


def picture(path, size=(40, 32), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def folder_of(place, count=7):
    """Images of two sizes, one of a single pixel, names of several scripts, and one file that is none."""
    place.mkdir()
    names = ["eins.png", "δύο.png", "三.png", "four.png", "cinq é.png", "6.png", "🐈.png", "acht.png", "9.png"]
    sizes = [(40, 32), (64, 48), (1, 1)]
    files = [picture(place / name, sizes[i % 3], i) for i, name in enumerate(names[: count - 1])]
    (place / "broken.png").write_bytes(b"no image")
    return [*files[:3], place / "broken.png", *files[3:]]


def quietly(model, images, place, **options):
    options = {"batch_size": 3, "geometry": "whole", "progress": False, "unreadable": lambda *_: None} | options
    return dcv.features.encode(model, images, place, **options)
