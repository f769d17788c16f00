"""`make demo`: a comparison from a real image file, for a ResNet and a ViT from local checkpoints of random weights.

There are no pretrained weights in this repository, so the figures only show the mechanics, and say so.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw
from safetensors.torch import save_file

import denseclip_viz as dcv

PROMPTS = dcv.Prompts(["a red ball", "blue sky", "green grass"], absent=["a giraffe"])


def image(path):
    """Draw a small landscape at four times its size, and save it as a JPEG."""
    image = Image.new("RGB", (2560, 1920), (120, 170, 225))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 1150, 2560, 1920), fill=(95, 155, 80))
    draw.ellipse((1900, 150, 2250, 500), fill=(250, 225, 120))
    draw.ellipse((480, 880, 1120, 1520), fill=(200, 45, 40))
    draw.ellipse((620, 980, 800, 1160), fill=(235, 120, 110))
    draw.polygon([(1500, 1250), (1750, 700), (2000, 1250)], fill=(60, 100, 60))
    image.resize((640, 480), Image.Resampling.LANCZOS).save(path, quality=92)


def checkpoint(name, path):
    """Save random weights as a user's own local checkpoint; the note in the file's header is what `load` reads."""
    clip = dcv.load(name, pretrained="random").clip
    save_file(clip.state_dict(), path, metadata={"weights": "random"})


def main(folder):
    folder.mkdir(exist_ok=True)
    image(folder / "landscape.jpg")
    for name in ("RN50", "ViT-B-16"):
        with TemporaryDirectory() as weights:
            checkpoint(name, Path(weights, "random.safetensors"))
            model = dcv.load(name, pretrained=Path(weights, "random.safetensors"), activation="gelu")
        both = model.compare(folder / "landscape.jpg", PROMPTS)
        figure = dcv.plot.compare(both)
        print("wrote", dcv.plot.save(figure, folder / f"compare-{name}.png", force=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
