"""What people do on a page, as its widgets hear of it."""


def click(widget, clicked):
    """Click on what the page calls so."""
    widget._handle_msg({"content": {"data": {"method": "custom", "content": clicked}}, "buffers": []})
