"""Figures: contrast in both themes, distinct for the colour-blind, the right content, and files of a sensible size."""

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from lmkit import plot
from lmkit.errors import LmkitError
from lmkit.train import History

# --- colours -----------------------------------------------------------------------------------------------------------------------


def linear(rgb):
    """sRGB in 0..1 to linear light (IEC 61966-2-1)."""
    rgb = np.asarray(rgb, dtype=float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """Contrast ratio of two sRGB colours (WCAG 2.2), 1 to 21."""
    light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (light[1] + 0.05) / (light[0] + 0.05)


def on_dark_page(color):
    """What the CSS filter brightness() makes of a colour."""
    return np.clip(np.array(to_rgb(color)) * plot.DARK_BRIGHTNESS, 0, 1)


WHITE, DARK = (1.0, 1.0, 1.0), to_rgb(plot.DARK_PAGE)


def test_contrast_formula():
    assert contrast(WHITE, (0, 0, 0)) == pytest.approx(21)
    assert contrast(to_rgb("#767676"), WHITE) == pytest.approx(4.54, abs=0.01)


def test_ink_contrast():
    assert contrast(to_rgb(plot.INK), WHITE) >= 4.5
    assert contrast(on_dark_page(plot.INK), DARK) >= 4.5
    assert contrast(to_rgb(plot.INK), DARK) >= 3  # a dark page that does not brighten: JupyterLab


@pytest.mark.parametrize("color", plot.PALETTE)
def test_palette_contrast(color):
    assert contrast(to_rgb(color), WHITE) >= 3
    assert contrast(on_dark_page(color), DARK) >= 3
    assert contrast(to_rgb(color), DARK) >= 3


# Machado, Oliveira & Fernandes 2009, table 1, severity 1.0; they act on linear light
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(light):
    """Linear sRGB to CIELAB with the white point D65."""
    xyz = np.clip(light, 0, 1) @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.where((t := xyz / [0.9505, 1.0, 1.089]) > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@pytest.mark.parametrize("page", ["white", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_palette_is_distinct(vision, page):
    seen = [on_dark_page(c) if page == "dark" else to_rgb(c) for c in plot.PALETTE]
    colors = lab(linear(seen) @ np.transpose(VISION[vision]))
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)[np.triu_indices(len(colors), 1)]
    assert distances.min() >= 25  # a distance of 2.3 can just be seen


def test_lines_and_marks_differ_too():
    assert len(plot.PALETTE) == len(plot.LINES) == len(plot.MARKERS) == len(set(plot.LINES)) == len(set(plot.MARKERS)) == 6


# --- the look ----------------------------------------------------------------------------------------------------------------------


def test_style_as_context():
    before = {key: mpl.rcParams[key] for key in plot.STYLE}
    with plot.style():
        assert mpl.rcParams["text.color"] == plot.INK
        with plot.style():
            pass
        assert mpl.rcParams["text.color"] == plot.INK
    assert {key: mpl.rcParams[key] for key in plot.STYLE} == before


def test_style_for_good():
    before = plot.style()
    try:
        fig, ax = plt.subplots()
        lines = [ax.plot([0, 1], [i, i])[0] for i in range(6)]
        assert [line.get_color() for line in lines] == list(plot.PALETTE)
        assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 6
        plt.close(fig)
    finally:
        before.close()
    assert mpl.rcParams["text.color"] == mpl.rcParamsDefault["text.color"]


# --- the four figures --------------------------------------------------------------------------------------------------------------

WORDS = "The kitten sat on the mat .".split()  # noqa: SIM905


def history(n=300, evals=True):
    steps = list(range(1, n + 1))
    values = [(k * n // 5, 3.0 - k / 5) for k in range(6)] if evals else []
    return History(steps, [3 - i / n for i in steps], [1e-3] * n, [1.0] * n, [i / 50 for i in steps], values)


def causal(T):
    weights = np.tril(np.random.default_rng(0).random((T, T)))
    return weights / weights.sum(axis=1, keepdims=True)


def ladder_rows():
    return [{"model": "5-gram, Kneser–Ney", "bits_per_byte": 1.836}, {"model": "unigram", "bits_per_byte": 2.91}]


VECTORS = np.random.default_rng(1).normal(size=(40, 16))
FIGURES = {
    "loss": lambda ax=None: plot.loss_curve(history(), ax=ax),
    "losses": lambda ax=None: plot.loss_curve({"RNN": history(), "LSTM": history(200, evals=False)}, x="seconds", ax=ax),
    "attention": lambda ax=None: plot.attention_map(causal(7), WORDS, WORDS, ax=ax),
    "numbers": lambda ax=None: plot.attention_map(causal(7), WORDS, WORDS, values=True, ax=ax),
    "vectors": lambda ax=None: plot.vector_map(VECTORS, [f"word{i}" for i in range(40)], ax=ax),
    "groups": lambda ax=None: plot.vector_map(VECTORS, groups=["even", "odd"] * 20, ax=ax),
    "ladder": lambda ax=None: plot.ladder(ladder_rows(), ax=ax),
}
every_figure = pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)


def pixels(fig):
    """The figure as it is on a page: (height, width, 4), red, green, blue and opacity in 0..1."""
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=100)
    return np.asarray(Image.open(file).convert("RGBA")) / 255


def svg(fig):
    file = io.BytesIO()
    with plot.style():
        fig.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


@every_figure
def test_transparent_and_legible(make):
    fig = make()
    image = pixels(fig)
    opacity = image[..., 3]
    assert (opacity == 0).mean() > 0.3
    assert opacity.max() == 1
    solid = np.unique((image[opacity == 1][:, :3] * 255).round().astype(int), axis=0) / 255
    faint = [tuple(c) for c in solid if contrast(c, WHITE) < 2.9 or contrast(np.clip(c * plot.DARK_BRIGHTNESS, 0, 1), DARK) < 2.9]
    assert not faint  # nothing black, nothing white
    for text in fig.findobj(mpl.text.Text):
        if text.get_text() and text.get_visible():
            assert mpl.colors.same_color(text.get_color(), plot.INK), text


@every_figure
def test_files(make):
    first, second = svg(make()), svg(make())
    assert first == second  # the same figure gives the same file
    assert len(first) < 200_000
    width, height = (float(re.search(rf'{side}="([\d.]+)pt"', first.decode()).group(1)) * 4 / 3 for side in ("width", "height"))
    assert 100 < width < 740  # pixels of a page
    assert 100 < height < 740
    ElementTree.fromstring(first)


@every_figure
def test_given_axes(make):
    fig, (left, right) = plt.subplots(1, 2)
    try:
        assert make(ax=right) is fig
        assert right.has_data()
        assert not left.has_data()
        assert plt.get_fignums() == [fig.number]
    finally:
        plt.close(fig)


@every_figure
@pytest.mark.filterwarnings("error")
def test_new_figures_are_unknown_to_pyplot(make):
    fig = make()
    assert isinstance(fig, Figure)
    assert plt.get_fignums() == []
    pixels(fig)


def test_loss_curve_shows_the_numbers():
    run = history(100)
    ax = plot.loss_curve(run).axes[0]
    raw, mean, marks = ax.lines
    assert list(raw.get_ydata()) == run.loss
    assert mean.get_ydata()[50] == pytest.approx(np.mean(run.loss[48:53]))
    assert [tuple(point) for point in marks.get_xydata()] == run.evals
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "held out"]
    seconds = plot.loss_curve(run, x="seconds").axes[0].lines
    assert list(seconds[0].get_xdata()) == run.seconds
    assert list(seconds[2].get_xdata()) == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, 2.0])


def test_loss_curves_by_name():
    ax = FIGURES["losses"]().axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["RNN", "RNN, held out", "LSTM"]
    assert ax.lines[1].get_linestyle() != ax.lines[4].get_linestyle()


@pytest.mark.parametrize("nothing", [History(), {}, {"RNN": History()}])
def test_loss_curve_of_nothing(nothing):
    with pytest.raises(LmkitError, match="train first"):
        plot.loss_curve(nothing)


def test_loss_curve_against_what():
    with pytest.raises(LmkitError, match="'step' or 'seconds'"):
        plot.loss_curve(history(), x="epoch")


def test_attention_map_shows_the_weights():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]], requires_grad=True)
    ax = plot.attention_map(weights, ["a", "b"], ["x", "y", "z"]).axes[0]
    assert ax.images[0].get_array().tolist() == weights.tolist()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.yaxis_inverted()


def test_attention_map_is_stronger_for_more():
    opacity = plot.WEIGHTS(np.linspace(0, 1, 256))[:, 3]
    assert opacity[0] == 0
    assert opacity[-1] == 1
    assert (np.diff(opacity) > 0).all()


def test_attention_numbers():
    texts = [t.get_text() for t in plot.attention_map([[0.126, 0.0], [0.001, 1]], ["a", "b"], ["c", "d"], values=True).axes[0].texts]
    assert texts == ["0.13", "0", "0.00", "1.00"]
    bars = plot.attention_map([[1, 4], [2, 0]], ["a", "b"], ["c", "d"], values=True).axes[0]
    assert [t.get_text() for t in bars.texts] == ["1", "4", "2", "0"]
    widths = [bar.get_width() for bar in bars.patches]
    assert np.array(widths) / widths[1] == pytest.approx([0.25, 1, 0.5, 0])


def test_large_attention_map():
    names = [f"token{i}" for i in range(150)]
    fig = plot.attention_map(causal(150), names, names)
    labels = fig.axes[0].get_xticklabels()
    assert 20 < len(labels) < 150  # as many as can be read
    assert labels[1].get_text() == names[round(fig.axes[0].get_xticks()[1])]
    assert len(svg(fig)) < 400_000


@pytest.mark.parametrize(
    ("weights", "rows", "message"),
    [
        ([[1.0, 0.0]], ["a", "b"], r"shape \(1, 2\), expected \(2, 2\)"),
        ([0.5, 0.5], ["a", "b"], r"shape \(2,\)"),
        ([[0.5, -0.5], [0, 0]], ["a", "b"], "at least 0"),
        ([[0.5, np.nan], [0, 0]], ["a", "b"], "finite"),
        ([[0.5, 0.5], [0]], ["a", "b"], "no table of numbers"),
        (np.zeros((0, 2)), [], r"shape \(0, 2\)"),
    ],
)
def test_what_is_no_attention_map(weights, rows, message):
    with pytest.raises(LmkitError, match=message):
        plot.attention_map(weights, rows, ["x", "y"])


def test_attention_of_zeros():
    plot.attention_map(np.zeros((2, 2)), ["a", "b"], ["c", "d"])


def placed(fig):
    """The positions of a map's points, (N, 2)."""
    return np.concatenate([collection.get_offsets() for collection in fig.axes[0].collections])


def test_vector_map_is_pca():
    from sklearn.decomposition import PCA

    stretched = VECTORS * np.linspace(3, 0.1, 16)
    points, pca = placed(plot.vector_map(torch.tensor(stretched))), PCA(2, svd_solver="full").fit(stretched)
    want = pca.transform(stretched)
    want *= np.sign((want * points).sum(axis=0))  # the sign of a component means nothing
    np.testing.assert_allclose(points, want, atol=1e-8)
    assert f"({pca.explained_variance_ratio_[0]:.0%} of" in plot.vector_map(stretched).axes[0].get_xlabel()


def test_vector_map_does_not_depend_on_signs_of_svd():
    once, again = placed(plot.vector_map(VECTORS)), placed(plot.vector_map(VECTORS[::-1].copy()))
    np.testing.assert_allclose(once, again[::-1], atol=1e-8)


def test_plane_vectors_are_drawn_as_they_are():
    points = [[0, 1], [2, 3], [4, -5]]
    assert placed(plot.vector_map(points, ["a", None, ""])).tolist() == points


def test_equal_vectors():
    assert np.abs(placed(plot.vector_map(np.ones((3, 5)), list("abc")))).max() < 1e-9


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_labels_do_not_overlap(seed):
    generator = np.random.default_rng(seed)
    labels = ["w" * n for n in generator.integers(1, 12, size=60)]
    fig = plot.vector_map(generator.normal(size=(60, 2)), labels)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts]
    frame = fig.axes[0].get_window_extent()
    assert len(boxes) >= 20
    for i, box in enumerate(boxes):
        assert frame.x0 - 1 <= box.x0
        assert box.x1 <= frame.x1 + 1
        for other in boxes[:i]:
            overlap = mpl.transforms.Bbox.intersection(box, other)
            assert overlap is None or min(overlap.width, overlap.height) <= 1  # a pixel of rounding


def test_single_label_stands_beside_its_point():
    fig = plot.vector_map([[0, 0], [1, 1], [2, 0]], [None, "middle", None])
    (text,) = fig.axes[0].texts
    assert (text.get_text(), tuple(text.xy)) == ("middle", (1, 1))


@pytest.mark.parametrize(
    ("vectors", "labels", "groups", "message"),
    [
        ([[1, 2]], ["a"], None, "at least two vectors"),
        ([1, 2, 3], ["a"] * 3, None, r"shape \(3,\)"),
        ([[1], [2]], ["a", "b"], None, "of at least two numbers"),
        ([[1, 2], [3, 4]], ["a"], None, "1 labels for 2 vectors"),
        ([[1, 2], [3, 4]], ["a", "b"], ["g"], "1 groups for 2 vectors"),
        ([[1, 2], [3, np.inf]], ["a", "b"], None, "NaN or infinity"),
    ],
)
def test_what_is_no_vector_map(vectors, labels, groups, message):
    with pytest.raises(LmkitError, match=message):
        plot.vector_map(vectors, labels, groups=groups)


def test_ladder_bars():
    ax = FIGURES["ladder"]().axes[0]
    assert [bar.get_width() for bar in ax.patches] == [1.836, 2.91]
    assert [text.get_text() for text in ax.texts] == ["1.836", "2.910"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["5-gram, Kneser–Ney", "unigram"]
    assert ax.yaxis_inverted()  # the best on top
    with pytest.raises(LmkitError, match="empty"):
        plot.ladder([])


@pytest.mark.filterwarnings("error")
def test_any_text_can_be_a_name():
    names = ["$x_{$", "a\nb", "漢字", "\t", "𝒜", "_hidden", "100 %", "\\frac"]
    shown = [label.get_text() for label in plot.attention_map(np.eye(8), names, names).axes[0].get_xticklabels()]
    assert shown[:4] == ["$x_{$", "a↵b", "□□", "⇥"]
    for fig in (
        plot.attention_map(np.eye(8), names, names),
        plot.vector_map(VECTORS[:8], names, groups=names),
        plot.ladder([{"model": name, "bits_per_byte": 1.0} for name in names]),
        plot.loss_curve(dict.fromkeys(names, history(20))),
    ):
        pixels(fig)
    entries = [text.get_text().strip() for text in plot.vector_map(VECTORS[:8], groups=names).axes[0].get_legend().get_texts()]
    assert entries == [*shown[:3], "⇥", *shown[4:]]


def test_notebook_shows_each_figure_once_as_svg():
    """One figure of pyplot's, one that a function returned, one of pyplot's that a function drew into."""
    cells = (
        "from lmkit import plot\nplot.style()",
        "import matplotlib.pyplot as plt\nplt.subplots();",
        "rows = [{'model': 'm', 'bits_per_byte': 1.0}]\nplot.ladder(rows)",
        "plot.ladder(rows, ax=plt.gca());",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    shown = [[sorted(output.data) for output in cell.outputs] for cell in notebook.cells]
    assert shown == [[]] + 3 * [[["image/svg+xml", "text/plain"]]]
