"""What the student's process says came of a cell, of which nothing is trusted, as a notebook's outputs."""

import base64
import binascii
import struct

import nbformat
from nbformat import NotebookNode

_IMAGE, _SIDE = 150_000, 4_000  # bytes of one image; pixels of its longer side
_PNG = b"\x89PNG\r\n\x1a\n"


def outputs(outcome: dict) -> list[NotebookNode]:
    """A cell's outcome as a notebook's outputs: text and pictures only, whatever the student's process says they are."""
    made = []
    text, shown = outcome.get("text"), outcome.get("shown")
    if isinstance(text, str) and text:
        made.append(nbformat.v4.new_output("stream", name="stdout", text=clean(text)[: 1 << 17]))
    for one in shown[:20] if isinstance(shown, list) else []:
        data = {}
        if isinstance(one, dict) and isinstance(one.get("text"), str):
            data["text/plain"] = clean(one["text"])[: 1 << 14]
        if isinstance(one, dict) and isinstance(one.get("png"), str) and (image := png(one["png"])):
            data["image/png"] = image
        if data:
            made.append(nbformat.v4.new_output("display_data", data=data))
    return made


def clean(text: str) -> str:
    """Text that can be written as UTF-8: halves of characters become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def png(text: str) -> str:
    """The image as base64 without line breaks; empty where it is no PNG, or too large in bytes or pixels."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True) if len(text) <= 2 * _IMAGE else b""
    except (binascii.Error, ValueError):
        return ""
    if len(data) > _IMAGE or not data.startswith(_PNG) or data[12:16] != b"IHDR" or len(data) < 33:
        return ""
    width, height = struct.unpack(">II", data[16:24])
    return base64.b64encode(data).decode("ascii") if 0 < width <= _SIDE and 0 < height <= _SIDE else ""


def out_of_memory(outcome: dict) -> bool:
    """Whether the cell ended for lack of memory, as Python or torch says it."""
    error = outcome.get("error")
    kinds, text = (error.get("kinds"), error.get("text")) if isinstance(error, dict) else (None, None)
    return (isinstance(kinds, list) and "MemoryError" in kinds) or (isinstance(text, str) and "can't allocate memory" in text)
