"""The look of the figures: one style, fixed colors, a few ways to draw."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

STYLE = Path(__file__).with_name("r1.mplstyle")

# Okabe and Ito's colors, each with one meaning throughout the book.
COLORS = {
    "attention": "#0072B2",
    "experts": "#E69F00",
    "mtp": "#009E73",
    "paper": "#D55E00",
    "router": "#CC79A7",
    "embedding": "#56B4E9",
    "shared": "#F0E442",
    "dense": "#000000",
}


def use_style() -> None:
    """Apply the book's style; in a notebook, draw SVGs that never differ.

    A fixed salt names the parts of an SVG and its date is left out, so that the
    same figure drawn again is the same file.
    """
    plt.style.use(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # outside of notebooks
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})


def curve(ax: Axes, x, runs, label: str, color: str) -> None:
    """Draw the mean of several runs and the band from the lowest to the highest.

    `runs` is runs x points; the label stands at the end of the line.
    """
    runs = np.atleast_2d(np.asarray(runs, dtype=float))
    mean = runs.mean(axis=0)
    ax.plot(x, mean, color=color)
    ax.fill_between(x, runs.min(0), runs.max(0), color=color, alpha=0.25, lw=0)
    ax.annotate(
        label,
        (x[-1], mean[-1]),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=color,
        annotation_clip=False,
    )


def heatmap(ax: Axes, values, rows, columns, fmt: str = "{:.2f}") -> None:
    """Draw a table of numbers as colored cells, each with its number written in."""
    values = np.asarray(values, dtype=float)
    ax.imshow(values, aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    middle = (values.min() + values.max()) / 2
    for (row, column), value in np.ndenumerate(values):
        ink = "white" if value < middle else "black"
        ax.text(column, row, fmt.format(value), ha="center", va="center", color=ink)


def canvas(width: float, height: float) -> tuple:
    """A figure and its one axes for a schematic drawing, in inches, without a frame."""
    figure, ax = plt.subplots(figsize=(width, height), layout="none")
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, ax


def box(ax: Axes, x: float, y: float, text: str, color: str = "gray", **size) -> None:
    """Draw a box of a schematic drawing with its text; (x, y) is its middle.

    `size` may give the box's width (1) and height (0.4), in inches.
    """
    width, height = size.get("width", 1.0), size.get("height", 0.4)
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=(*to_rgb(color), 0.18),
        edgecolor=color,
    )
    ax.add_patch(shape)
    ax.text(x, y, text, ha="center", va="center", fontsize=8)


def arrow(ax: Axes, start: tuple, end: tuple, text: str = "", **style) -> None:
    """Draw an arrow of a schematic drawing, with a text beside its middle."""
    style = {"arrowstyle": "->", "color": "black", "shrinkA": 1, "shrinkB": 1} | style
    ax.annotate("", end, start, arrowprops=style)
    if text:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        ax.text(x + 0.06, y, text, ha="left", va="center", fontsize=8)
