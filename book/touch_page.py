"""The figures of _static/figures, which readers move: their names, and what to try.

A chapter has a line such as

    <!-- touch: router -->

and live_page.py puts `figure("router")` in its place. The script figures/router.js
draws it with what figures/touch.js gives to all of them: controls, drawings with axes,
and a state that stands in the page's address.
"""

from html import escape
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent / "_static/figures"


class Figure(NamedTuple):
    """What a figure is called, and what its reader can try."""

    label: str
    to_try: str


FIGURES = {
    "router": Figure(
        "A router, balanced by a bias or by a loss",
        "Push one expert up: its bias falls. Raise the speed of the bias to 1 and move "
        "the step: the loads swing. Then balance by the auxiliary loss and see what it "
        "adds to the logits.",
    ),
    "absorb": Figure(
        "The two orders of the product",
        "Let more tokens ask at once, from 1 to 4,096, and find where the naive form "
        "begins to compute less.",
    ),
    "yarn": Figure(
        "Pairs of features beyond the trained context",
        "Stretch the context to 40 times and compare the three ways: which pairs reach "
        "angles that were not trained, and which keep their speed?",
    ),
    "draft": Figure(
        "Drafts that are kept or replaced",
        "Tap or drag the bars of p and q, or move them with the two controls. Then "
        "draw more drafts: what is written comes close to p, whatever q is.",
    ),
    "eight": Figure(
        "A number in eight bits",
        "Drag the largest number beside x to 10,000 and x falls to zero. Then put that "
        "number in another tile. A tap on a bit changes it.",
    ),
    "hacker": Figure(
        "What rules pay for an answer",
        "Pay for tags or for length, and write an answer that is not right and earns "
        "more than every right one. Then raise the pay for right answers.",
    ),
    "group": Figure(
        "Sixteen answers and their advantages",
        "Tap the first bar twice and all rewards are equal. Tap it again, so that one "
        "answer is right, and drag the ratio beyond the clip, above 1.2.",
    ),
    "push": Figure(
        "A policy with one parameter",
        "Make bare answers better than thoughts, then equally good: does thinking "
        "grow? Start again, and set the share of thoughts to 0.05: it grows late.",
    ),
    "passk": Figure(
        "What k answers find, before and after training",
        "Move the trained answers to the hard problem from 2 to 0 and then above the 6 "
        "of the base, and see where the curves cross. Then draw them over the tokens "
        "that they cost.",
    ),
}


def figure(name):
    """A figure as HTML.

    Raises ValueError for a figure that there is not.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    label, to_try = FIGURES[name]
    return (
        f'<div id="{name}-figure" class="touch" role="group" '
        f'aria-label="{escape(label)}">\n'
        f'<p class="touch-try">{escape(to_try)}</p>\n'
        "<noscript>This figure needs JavaScript; the cells need none.</noscript>\n"
        "</div>"
    )


def setup(app):
    """Give pages the style and the scripts; lean.py leaves those that a page uses."""
    app.add_css_file("figures/touch.css")
    for name in ("address", "touch", *FIGURES):
        app.add_js_file(f"figures/{name}.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
