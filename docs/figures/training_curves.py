"""A student taught by maps: loss, labelled share, agreement with its teacher, by step."""

import tempfile

import denseclip_viz as dcv

with tempfile.TemporaryDirectory() as folder:
    student = dcv.plus.train(
        dcv.load(), dcv.toyworld.dataset(8), folder, steps=12, batch=1, crop=32
    )
figure = dcv.plot.training_curves(student)
