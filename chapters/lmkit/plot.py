"""Figures that are readable on a white page, on a dark one, and by the colour-blind; lesson pages use `style()` for their own."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.legend import Legend
from matplotlib.patches import Rectangle

from lmkit.errors import LmkitError

if TYPE_CHECKING:
    from lmkit.train import History

# One figure serves both themes: its background is transparent, and the dark page brightens it by DARK_BRIGHTNESS (a CSS filter of
# the book). No ink alone has a contrast of 4.5 on white and on #121212; this one has 5.1 on white and, brightened, 5.4 on the dark page.
INK = "#6a6e75"  # text, axes
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = PALETTE = ("#3448ff", "#d77f00", "#46a668", "#b72e20", "#8d49a2", INK)
LINES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (10, 3)))  # a line is told from another without its colour
MARKERS = ("o", "s", "^", "D", "v", "P")
SIDES = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))  # of a point, the best for its label first
DARK_PAGE = "#121212"
DARK_BRIGHTNESS = 1.25
WEIGHTS = ListedColormap([to_rgba(BLUE, (i / 255) ** 0.7) for i in range(256)], "weights")  # from the page, whatever its colour, to blue

WIDTH, HEIGHT = 6.4, 3.8  # inches of 96 pixels on a page
NARROW = 4.6  # a width at which the letters are still readable when a phone shrinks the figure: stack panels, do not put them side by side
STYLE = {
    "figure.figsize": (WIDTH, HEIGHT),
    "figure.dpi": 144,  # of PNG files, and of pictures within SVG files
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "none",
    "svg.hashsalt": "lmkit",  # the same figure gives the same file
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=LINES),
    "grid.alpha": 0.25,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "image.cmap": "cividis",
    **dict.fromkeys(
        (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "xtick.color",
            "ytick.color",
            "grid.color",
            "patch.edgecolor",
            "hatch.color",
            "boxplot.boxprops.color",
            "boxplot.capprops.color",
            "boxplot.whiskerprops.color",
            "boxplot.flierprops.color",
            "boxplot.flierprops.markeredgecolor",
        ),
        INK,
    ),
}


class _Style(ExitStack):
    """What `style` returns: left as a context, it puts the earlier settings back."""

    def _ipython_display_(self) -> None:
        """Show nothing where `style()` is the last line of a notebook cell."""


def style() -> _Style:
    """Give matplotlib the book's look: `style()` once at the top of a page, or `with style():` for some figures only.

    In a notebook it also asks for SVG, which is sharp at every size. A line or a scatter of more than a thousand points makes such a
    file heavy: give it `rasterized=True`. A cell that ends with a figure drawn into given axes shows it twice, unless it ends with `;`.
    """
    before = _Style()
    before.callback(mpl.rcParams.update, {key: mpl.rcParams[key] for key in STYLE})
    mpl.rcParams.update(STYLE)
    _ask_for_svg()
    return before


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the book's look, whatever the look outside."""

    @functools.wraps(draw)
    def drawn(*args: Any, **options: Any) -> Figure:
        with style():
            return draw(*args, **options)

    return drawn


@_styled
def loss_curve(history: History | Mapping[str, History], *, x: str = "step", ax: Axes | None = None) -> Figure:
    """Training loss against steps or seconds: every step pale, a running mean over it strong; evaluations as marks.

    history: what `lmkit.train.train` returned, or a dictionary from names to such. x: "step" or "seconds".
    Errors: LmkitError for a history without a step.
    """
    named = isinstance(history, Mapping)
    runs = dict(history) if named else {"training": history}
    if not runs or not all(run.step for run in runs.values()):
        raise LmkitError("a history without a step cannot be drawn: train first")
    if x not in ("step", "seconds"):
        raise LmkitError(f"x = {x!r} is unknown: write 'step' or 'seconds'")
    fig, ax = _figure(ax)
    for i, (name, run) in enumerate(runs.items()):
        color, line, marker = PALETTE[i % 6], LINES[i % 6], MARKERS[i % 6]
        at = np.asarray(getattr(run, x))
        ax.plot(at, run.loss, color=color, linestyle="-", linewidth=0.8, alpha=0.3, rasterized=len(at) > 1500)
        ax.plot(at, _running_mean(run.loss), color=color, linestyle=line, label=_entry(name))
        if run.evals:
            done, values = np.array(run.evals, dtype=float).T
            where = done if x == "step" else np.interp(done, [0, *run.step], [0.0, *run.seconds])
            own = {"color": color, "markerfacecolor": "none"} if named else {"color": ORANGE, "markerfacecolor": ORANGE}
            label = _entry(f"{name}, held out") if named else "held out"
            ax.plot(where, values, linestyle="none", marker=marker, label=label, **own)
    ax.set_xlabel("step" if x == "step" else "seconds of training")
    ax.set_ylabel("loss")
    _plain(ax.legend())
    return fig


@_styled
def attention_map(
    weights: Any, rows: Sequence[str], columns: Sequence[str], *, values: bool = False, label: str = "weight", ax: Axes | None = None
) -> Figure:
    """Weights as a map: the stronger the blue, the greater the weight; a cell of weight 0 shows the page.

    weights: (T, S), finite, at least 0: a list of lists, an array or a tensor. rows, columns: what stands at the left (T) and on top (S).
    values: show each weight as a number and a bar in place of a colour, for small maps. label: what the colours mean.
    Errors: LmkitError for other shapes, for values below 0 and for values that are not finite.
    """
    matrix = _array(weights, "weights")
    if matrix.ndim != 2 or matrix.shape != (len(rows), len(columns)) or not matrix.size:
        raise LmkitError(f"weights has shape {matrix.shape}, expected ({len(rows)}, {len(columns)}) as there are rows and columns")
    if not (np.isfinite(matrix).all() and (matrix >= 0).all()):
        raise LmkitError("weights must be finite and at least 0: pass what the softmax returned, not the scores")
    T, S = matrix.shape
    cell = min(0.55 if values else 0.4, 5.4 / S, 6.4 / T)  # inches
    left, top = (0.08 * max(len(str(name)) for name in names) for names in (rows, columns))  # inches that the names need
    fig, ax = _figure(ax, (cell * S + left + (0.2 if values else 1.1), cell * T + top + 0.3))
    heaviest = matrix.max() or 1.0
    if values:
        ax.set(xlim=(-0.5, S - 0.5), ylim=(T - 0.5, -0.5), aspect="equal")
        _number_cells(ax, matrix, heaviest, cell)
    else:
        image = ax.imshow(matrix, cmap=WEIGHTS, vmin=0, vmax=heaviest, interpolation="nearest")
        fig.colorbar(image, ax=ax, shrink=min(1.0, max(0.5, 2 / (cell * T))), pad=0.03, label=label).solids.set_rasterized(True)
    _name_cells(ax, rows, columns, cell)
    return fig


@_styled
def vector_map(
    vectors: Any, labels: Sequence[str | None] | None = None, *, groups: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Vectors as points on a plane: their first two principal components; two-dimensional vectors are drawn as they are.

    vectors: (N, D), N >= 2, D >= 2: an array, a tensor, a list of lists. labels: N texts, None for a point without one.
    groups: N names; each group gets its colour and its mark. A label that has no room beside its point is left out.
    Errors: LmkitError for other shapes and for values that are not finite.
    """
    points = _array(vectors, "vectors")
    if points.ndim != 2 or len(points) < 2 or points.shape[1] < 2:
        raise LmkitError(f"vectors has shape {points.shape}, expected (N, D) with at least two vectors of at least two numbers")
    for name, given in (("labels", labels), ("groups", groups)):
        if given is not None and len(given) != len(points):
            raise LmkitError(f"there are {len(given)} {name} for {len(points)} vectors: give one for each")
    if not np.isfinite(points).all():
        raise LmkitError("vectors holds NaN or infinity: no map can show these")
    fig, ax = _figure(ax, (WIDTH, 4.8))
    if points.shape[1] > 2:
        points, shares = _principal_plane(points)
        ax.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
        ax.set_ylabel(f"second ({shares[1]:.0%})")
    names = list(dict.fromkeys(groups)) if groups is not None else [None]
    for i, name in enumerate(names):
        chosen = points if name is None else points[[group == name for group in groups]]
        own = {"color": PALETTE[i % 6], "marker": MARKERS[i % 6], "label": None if name is None else _entry(name)}
        ax.scatter(*chosen.T, s=14, linewidths=0, rasterized=len(points) > 1500, **own)
    ax.margins(0.08)
    if groups is not None:
        _plain(ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0))  # above the map: no point is under it
    _place_labels(fig, ax, points, labels or [None] * len(points))
    return fig


@_styled
def ladder(rows: Sequence[Mapping], *, ax: Axes | None = None) -> Figure:
    """Bits per byte of every model as bars, the best on top.   rows: what `lmkit.ladder.rows()` returned, at least one"""
    if not rows:
        raise LmkitError("the ladder is empty: there is no bar to draw")
    fig, ax = _figure(ax, (WIDTH, 0.9 + 0.36 * len(rows)))
    bits = [row["bits_per_byte"] for row in rows]
    ax.barh(range(len(rows)), bits, height=0.62, color=BLUE, linewidth=0)
    for i, value in enumerate(bits):
        ax.annotate(f"{value:.3f}", (value, i), (4, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(rows)), [_drawable(row["model"]) for row in rows], parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, max(bits) * 1.12 or 1)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("bits per byte (fewer is better)")
    return fig


def _figure(ax: Axes | None, size: tuple[float, float] = (WIDTH, HEIGHT)) -> tuple[Figure, Axes]:
    """The axes given and their figure, or new ones, unknown to pyplot: what a cell returns is then shown once, not twice."""
    if ax is not None:
        return ax.figure.figure, ax
    fig = Figure(figsize=size)
    return fig, fig.subplots()


@functools.cache  # once: whoever chooses another format afterwards keeps it
def _ask_for_svg() -> None:
    """In a notebook, show figures as SVG without a date; elsewhere do nothing."""
    if "IPython" not in sys.modules or (shell := sys.modules["IPython"].get_ipython()) is None:
        return
    with contextlib.suppress(ImportError):
        from matplotlib_inline.config import InlineBackend

        config = InlineBackend.instance(parent=shell)
        config.shell = shell
        config.print_figure_kwargs = {**config.print_figure_kwargs, "metadata": {"Date": None}}
        config.figure_formats = {"svg"}


def _array(values: Any, name: str) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor; torch itself is not imported here
        values = values.detach().double().cpu().numpy()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise LmkitError(f"{name} is no table of numbers: give lists of one length, an array or a tensor") from None


def _running_mean(values: Sequence[float]) -> np.ndarray:
    """Each value averaged with its neighbours, a fiftieth of all on either side, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    at, reach = np.arange(len(values)), len(values) // 50
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _name_cells(ax: Axes, rows: Sequence[str], columns: Sequence[str], cell: float) -> None:
    """Names at the left and on top, as many as can be read, and thin lines between cells that are not too small for them."""
    size = float(np.clip(72 * cell * 0.6, 6, 10))
    every = int(np.ceil(size / (72 * cell)))
    upright = 90 if max(len(str(name)) for name in columns) > 2 else 0
    ax.set_xticks(range(0, len(columns), every), [_drawable(c) for c in columns[::every]], rotation=upright, size=size, parse_math=False)
    ax.set_yticks(range(0, len(rows), every), [_drawable(r) for r in rows[::every]], size=size, parse_math=False)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    ax.grid(False)
    ax.spines[:].set(visible=True, alpha=0.4, linewidth=0.6)
    if cell >= 0.15:
        ax.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
        ax.grid(which="minor")
        ax.tick_params(which="minor", top=False, bottom=False, left=False)


def _number_cells(ax: Axes, matrix: np.ndarray, heaviest: float, cell: float) -> None:
    """Each weight as a number over a bar: no ink can be read on every shade of a cell, in both themes."""
    digits = 0 if (matrix == matrix.round()).all() else 2
    for (t, s), weight in np.ndenumerate(matrix):
        number = f"{weight:.{digits}f}" if weight else "0"  # a weight that a mask made 0 is told from one that rounds to 0.00
        ax.text(s, t - 0.1, number, ha="center", va="center", fontsize=min(10.0, 72 * cell * 0.28))
        ax.add_patch(Rectangle((s - 0.42, t + 0.22), 0.84 * weight / heaviest, 0.16, facecolor=BLUE, linewidth=0))


def _principal_plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> the first two principal components (N, 2) and their shares of the variance (2,); signs do not depend on chance."""
    centred = vectors - vectors.mean(axis=0)
    U, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])
    total = (sizes**2).sum()
    return U[:, :2] * sizes[:2] * signs, sizes[:2] ** 2 / (total if total > 0 else 1.0)


def _place_labels(fig: Figure, ax: Axes, points: np.ndarray, labels: Sequence[str | None]) -> None:
    """Write each label on the side of its point where it hides the fewest points; leave it out where it would touch another label."""
    fig.draw_without_rendering()  # the layout settles where the points are
    frame = ax.get_window_extent()
    centres = ax.transData.transform(points)
    gap = 5 * fig.dpi / 72  # pixels between point and label
    taken: list[tuple[float, float, float, float]] = []
    for point, centre, label in zip(points, centres, labels, strict=True):
        if not label:
            continue
        text = ax.annotate(_drawable(label), point, (0, 0), textcoords="offset points", fontsize=8.5, parse_math=False)
        extent = text.get_window_extent()
        options = []
        for dx, dy in SIDES:
            left = centre[0] + dx * gap - extent.width * (1 - dx) / 2
            low = centre[1] + dy * gap - extent.height * (1 - dy) / 2
            box = (left, low, left + extent.width, low + extent.height)
            inside = frame.x0 <= left and box[2] <= frame.x1 and frame.y0 <= low and box[3] <= frame.y1
            if inside and not any(_touch(box, other, gap) for other in taken):
                options.append((_hidden(box, centres), len(options), box, (dx, dy)))
        if not options:
            text.remove()
            continue
        _, _, box, (dx, dy) = min(options)
        taken.append(box)
        text.set(position=(5 * dx, 5 * dy), ha=("right", "center", "left")[dx + 1], va=("top", "center", "bottom")[dy + 1])


def _touch(a: Sequence[float], b: Sequence[float], gap: float) -> bool:
    """Whether two boxes (left, low, right, high) are nearer side by side than the gap, and share a height."""
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] and b[1] < a[3]


def _hidden(box: Sequence[float], centres: np.ndarray) -> int:
    return int(((centres > box[:2]) & (centres < box[2:])).all(axis=1).sum())


def _entry(name: str) -> str:
    """A name for the legend, which leaves out names that begin with an underscore."""
    shown = _drawable(name)
    return f" {shown}" if shown.startswith("_") else shown


def _plain(legend: Legend) -> None:
    """Show dollar signs as they are, not as the ends of a formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _drawable(text: str) -> str:
    """The text with line ends and tabs made visible, and a box for each character that the font lacks (matplotlib would warn)."""
    font = get_font(findfont(FontProperties(family=STYLE["font.sans-serif"])))
    shown = str(text).replace("\n", "↵").replace("\t", "⇥")
    return "".join(c if font.get_char_index(ord(c)) else "□" for c in shown)
