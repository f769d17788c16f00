"""What stands on a drawn figure: texts, maps by their colours, marked lines and patches."""


def texts(figure):
    """Everything written on the sheet itself."""
    return [text.get_text() for text in figure.texts]


def everything_said(figure):
    """All texts of a figure, those of its panels and bars included."""
    return "\n".join(texts(figure) + [text.get_text() for ax in figure.axes for text in ax.texts])


def maps(figure, colours, shape):
    """The images of one shape in one colour map, in the order of drawing."""
    images = [image for ax in figure.axes for image in ax.images]
    return [i for i in images if i.get_array().shape == shape and i.get_cmap().name == colours]


def with_gid(figure, gid):
    """The lines and patches of a name."""
    found = (artist for ax in figure.axes for artist in [*ax.lines, *ax.patches])
    return [artist for artist in found if artist.get_gid() == gid]
