"""The class names of the public data sets, in the order of their labels."""

import difflib

from denseclip_viz.errors import PromptError

# Worded as in the official MaskCLIP code (tools/maskclip_utils/prompt_engineering.py), which says for "wall-brick"
# "brick wall"; order and count are those of mmsegmentation's label files, without their background.
_NAMES = {
    "voc20": (
        "airplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorbike, person,"
        " potted plant, sheep, sofa, train, tv monitor"
    ),
    "context59": (
        "airplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, cat,"
        " ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground,"
        " horse, keyboard, light, motorbike, mountain, mouse, person, plate, platform, potted plant, road, rock, sheep,"
        " shelves, sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tv monitor, wall, water, window,"
        " wood"
    ),
    "coco-stuff171": (
        "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,"
        " parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,"
        " handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,"
        " skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple,"
        " sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining"
        " table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,"
        " refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush, banner, blanket, branch,"
        " bridge, building, bush, cabinet, cage, cardboard, carpet, ceiling, tile ceiling, cloth, clothes, clouds,"
        " counter, cupboard, curtain, desk, dirt, door, fence, marble floor, floor, stone floor, tile floor, wood"
        " floor, flower, fog, food, fruit, furniture, grass, gravel, ground, hill, house, leaves, light, mat, metal,"
        " mirror, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant, plastic, platform, playingfield,"
        " railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky, skyscraper, snow, solid,"
        " stairs, stone, straw, structural, table, tent, textile, towel, tree, vegetable, brick wall, concrete wall,"
        " wall, panel wall, stone wall, tile wall, wood wall, water, waterdrops, blind window, window, wood"
    ),
    "ade150": (
        "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,"
        " door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,"
        " field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,"
        " signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,"
        " stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee"
        " table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,"
        " boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,"
        " television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle,"
        " buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool,"
        " barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave,"
        " pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,"
        " ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag"
    ),
    "cityscapes19": (
        "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person,"
        " rider, car, truck, bus, train, motorcycle, bicycle"
    ),
}

CLASS_LISTS = (*_NAMES, "imagenet")
"""The names that `class_list` knows; the number at the end of a name counts its classes, "imagenet" has 1000."""


def class_list(name: str) -> tuple[str, ...]:
    """Give the class names of a public data set, in the order of its labels.

    Pascal VOC and Pascal Context come without their background. The wording is that of the official MaskCLIP code
    (arXiv 2112.01071); "imagenet" is open_clip's (`zero_shot_metadata.IMAGENET_CLASSNAMES`), which has two names
    twice, "missile" and "sunglasses". `Prompts` wants each once: `Prompts(list(dict.fromkeys(names)))`.

    Args:
        name: One of `CLASS_LISTS`.

    Returns:
        20, 59, 171, 150, 19 or 1000 names.

    Raises:
        PromptError: There is no list of that name; the message has the closest ones.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.prompts.class_list("cityscapes19")[:3]
        ('road', 'sidewalk', 'building')
    """
    if isinstance(name, str) and name == "imagenet":
        from open_clip import zero_shot_metadata as metadata

        return tuple(metadata.IMAGENET_CLASSNAMES)
    if isinstance(name, str) and name in _NAMES:
        return tuple(_NAMES[name].split(", "))
    close = difflib.get_close_matches(str(name).lower(), CLASS_LISTS, n=2, cutoff=0.4)
    meant = f" (closest: {', '.join(close)})" if close else ""
    got, expected = f"There is no class list {name!r}"[:80] + meant, f"one of {', '.join(CLASS_LISTS)}"
    raise PromptError(got, expected=expected, fix='Pass "voc20", say, or your own names to Prompts.')
