"""One prompt over a folder that was encoded once, best first, on one scale."""

import tempfile

import denseclip_viz as dcv

model = dcv.load()
with tempfile.TemporaryDirectory() as folder:
    store = dcv.features.encode(
        model, dcv.toyworld.dataset(6, "test", size=128), folder, progress=False
    )
    figure = dcv.plot.contact_sheet(store, model, "a red car", absent=["a whale"])
