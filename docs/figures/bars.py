"""Scores of your own as bars, a column for each part, with what limits them marked."""

import denseclip_viz as dcv

Bar = dcv.plot.Bar
value, smoothed = (
    Bar("value path", {"things": 0.49, "stuff": 0.82}),
    Bar("smoothed", {"things": 0.44, "stuff": 0.80}),
)
ceiling = Bar("what the grid can say", {"things": 0.66, "stuff": 0.91})
texts = {
    "title": "mIoU",
    "subtitle": "two ways to read a map",
    "note": "numbers made up for this figure",
}
figure = dcv.plot.bars([[value, smoothed]], ceiling, **texts, attrs={})
