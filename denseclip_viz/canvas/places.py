"""Places of one result in another: the same cell where grids differ, none where images do."""

from collections.abc import Sequence

from denseclip_viz.canvas.payload import Payload


def of_one_image(one: Payload, other: Payload) -> bool:
    """Say whether two results are of the same image, in which a place is the same place."""
    same = all(one.meta[name] == other.meta[name] for name in ("title", "size"))
    return same and one.buffers.get("image") == other.buffers.get("image")


def moved_cell(cell: Sequence[int] | None, before: Payload, after: Payload) -> list[int] | None:
    """Find the cell at the same place of the image where the grid is another; none where the image is another."""
    return same_place(cell, before, after) if of_one_image(before, after) else None


def same_place(cell: Sequence[int] | None, before: Payload, after: Payload) -> list[int] | None:
    """Find the cell at the same share of the image; a place that is not seen there has none."""
    if cell is None:
        return None
    old, new = before.place(), after.place()
    if (middle := old.middle_of(cell)) is None:
        return None
    place = [at * now / then for at, then, now in zip(middle, old.image, new.image, strict=True)]
    in_sight = all(new.visible[axis] <= at <= new.visible[axis + 2] for axis, at in enumerate(place))
    return new.cell_at(place) if in_sight else None
