"""What the student's process says came of a cell, of which nothing is trusted, as a notebook's outputs."""

import base64
from typing import Any

import nbformat
from nbformat import NotebookNode


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
        if isinstance(one, dict) and (png := _picture(one.get("png"))):
            data["image/png"] = png
        if data:
            made.append(nbformat.v4.new_output("display_data", data=data))
    return made


def clean(text: str) -> str:
    """Text that can be written as UTF-8: halves of characters become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _picture(png: Any) -> str:
    """A PNG picture in base64, or nothing where it is none."""
    if not isinstance(png, str) or len(png) > 500_000:
        return ""
    try:
        data = base64.b64decode(png, validate=False)
    except ValueError:
        return ""
    return base64.b64encode(data).decode("ascii") if data.startswith(b"\x89PNG\r\n\x1a\n") else ""


def out_of_memory(outcome: dict) -> bool:
    error = outcome.get("error")
    kinds, text = (error.get("kinds"), error.get("text")) if isinstance(error, dict) else (None, None)
    return (isinstance(kinds, list) and "MemoryError" in kinds) or (isinstance(text, str) and "can't allocate memory" in text)
