"""All images of a store in two dimensions, coloured by the cosine of each prompt."""

import tempfile

import denseclip_viz as dcv

model = dcv.load("bundled-vit")
with tempfile.TemporaryDirectory() as folder:
    scenes = dcv.toyworld.dataset(24, "test", size=64)
    store = dcv.features.encode(model, scenes, folder, keep="global", progress=False)
    figure = dcv.plot.embedding_map(store, model, ["grass", "the sea"])
