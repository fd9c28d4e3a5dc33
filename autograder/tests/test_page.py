"""Tests of what lesson pages show: tables, and pieces with their data and their static picture."""

import json
import re

import pytest
from matplotlib.figure import Figure

from lmkit import page
from lmkit.errors import LmkitError


def drawn(points: int = 2) -> Figure:
    figure = Figure()
    figure.subplots().plot(range(points))
    return figure


def test_a_table_escapes_its_cells():
    shown = page.table(["<a>", "b"], [["x & y", 1]]).data
    assert "&lt;a&gt;" in shown
    assert "x &amp; y" in shown


def test_a_piece_carries_its_data_and_a_described_picture():
    bundle = page.piece("top-p", "Choose p", {"text": "</script>", "p": [0.25, 1]}, drawn(), 'A "line".')._repr_mimebundle_()
    html = bundle["text/html"]
    assert html.count("</script>") == 1
    data = re.search(r'<script type="application/json">(.*)</script>', html)[1]
    assert json.loads(data) == {"text": "</script>", "p": [0.25, 1]}
    assert 'data-piece="top-p"' in html
    assert 'alt="A &quot;line&quot;."' in html
    assert bundle["image/svg+xml"].startswith("<svg")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "Top p"}, "lower-case words"),
        ({"title": " "}, "needs a title"),
        ({"alt": ""}, "an alternative text"),
        ({"data": {"x": float("nan")}}, "cannot be written as JSON"),
        ({"data": {"x": {1}}}, "cannot be written as JSON"),
        ({"data": {"x": "a" * page.HEAVIEST}}, "give it less data"),
    ],
)
def test_a_bad_piece_is_told_in_a_sentence(change, says):
    good = {"name": "top-p", "title": "T", "data": {}, "picture": drawn(), "alt": "A line."}
    with pytest.raises(LmkitError, match=says):
        page.piece(**good | change)
