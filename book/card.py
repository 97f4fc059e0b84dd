"""What others show beside a link to the book: a picture with the landing page's curves.

It is drawn from the record of R1-Zero whenever the website is built. The bare address,
which leads on to the landing page, says of the book what that page says.
"""

import re
from pathlib import Path

import yaml
from matplotlib.figure import Figure

from r1.train.records import read_run

ROOT = Path(__file__).resolve().parents[1]
RUN = "watched_seed0"  # the run that the landing page shows
NAME = "_static/card.png"
SIZE = 1200, 630  # the pixels that sites ask for
WORDS = (
    "Build it at small scale, on two CPU cores,\nand check what was claimed about it."
)
CURVES = {
    "thinking": ("#0072b2", "answers that think"),
    "accuracy": ("#b34700", "answers that are right"),
}
FRONT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Refresh" content="0; url={page}">
<title>{title}</title>
<link rel="canonical" href="{address}{page}">
{said}
</head>
<body><p><a href="{page}">{title}</a></p></body>
</html>
"""
SAID = re.compile(r'<meta (?:property="og:|name="(?:description|twitter:))[^>]*>')


def draw(path):
    """Draw the card into a file."""
    log = read_run("rl/steps", RUN)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    dpi = 100
    figure = Figure(figsize=(SIZE[0] / dpi, SIZE[1] / dpi), dpi=dpi, facecolor="white")
    figure.text(0.06, 0.84, config["title"], size=46, weight="bold", color="#15405f")
    figure.text(0.06, 0.665, WORDS, size=23, color="#333333", linespacing=1.4)
    axes = figure.add_axes((0.11, 0.14, 0.56, 0.44))
    for name, (color, label) in CURVES.items():
        axes.plot(log["step"], log[name], color=color, linewidth=3)
        place = (log["step"][-1], sum(log[name][-10:]) / 10)
        shift = (12, 14 if name == "thinking" else -14)
        axes.annotate(
            label,
            place,
            shift,
            textcoords="offset points",
            size=20,
            color=color,
            va="center",
            annotation_clip=False,
        )
    axes.set(ylim=(0, 1.02), xlim=(0, log["step"][-1]), yticks=(0, 0.5, 1))
    axes.set_yticklabels(["0", "50 %", "100 %"])
    axes.set_xlabel("steps of reinforcement learning", size=18)
    axes.tick_params(labelsize=16)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def front(site, config):
    """The page of the bare address, which leads on to the landing page."""
    page = f"{config.root_doc}.html"
    said = SAID.findall((site / page).read_text(encoding="utf-8"))
    return FRONT.format(
        page=page,
        title=config.html_title,
        address=config.ogp_site_url,
        said="\n".join(said),
    )


def setup(app):
    """Draw the card when the website has been built, and write the first page."""

    def finished(app, error):
        if error is None and app.builder.name == "html":
            site = Path(app.outdir)
            draw(site / NAME)
            (site / "index.html").write_text(front(site, app.config), encoding="utf-8")

    app.connect("build-finished", finished, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
