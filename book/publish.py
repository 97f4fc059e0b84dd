"""The book to take along: python book/publish.py [pdf] [epub] [zip]

From the built website this makes inside-deepseek-r1.pdf, .epub and .zip, all three
where none is named, and puts them into the website's folder downloads/. The PDF and the
EPUB need Chromium; the zip is the website itself, which reads without a network. The
first page of the website links what lies there; a new build of it forgets the links,
until this command runs again.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bindery.pages import ROOT, Problem, harvest, open_browser
from landing import DOWNLOADS, link_downloads

NAME = "inside-deepseek-r1"
FORMS = {"pdf": "paper", "epub": "reader"}
KINDS = (*FORMS, "zip")


def publish(kinds, site, out):
    """Make books of some kinds from a built website; their files."""
    if not (site / "index.html").exists():
        raise Problem(f"no website in {site}: run jupyter-book build . first")
    out.mkdir(parents=True, exist_ok=True)
    made = []
    with tempfile.TemporaryDirectory() as temporary:
        for kind, file in books(kinds, site, Path(temporary)):
            made.append(moved(file, out / f"{NAME}.{kind}"))
    return made


def books(kinds, site, folder):
    """Pairs of a kind and a file; each kind loads the libraries that it needs alone."""
    if wanted := [form for kind, form in FORMS.items() if kind in kinds]:
        with open_browser() as browser:
            leaves = harvest(browser, site, wanted)
            if "pdf" in kinds:
                from bindery.pdf import bind

                yield "pdf", bind(leaves, browser, folder)
            if "epub" in kinds:
                from bindery.epub import bind

                yield "epub", bind(leaves, browser, folder)
    if "zip" in kinds:
        from bindery.archive import bind

        yield "zip", bind(site, folder, NAME)


def moved(file, to):
    """Put a finished file into its place, whole or not at all."""
    beside = to.with_suffix(f"{to.suffix}.part")
    beside.write_bytes(file.read_bytes())
    os.replace(beside, to)
    return to


def main(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="pdf, epub or zip")
    parser.add_argument("--site", type=Path, default=ROOT / "_build/html")
    parser.add_argument("--out", type=Path, help="instead of downloads/ in the site")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.kinds) - set(KINDS)):
        parser.error(
            f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}"
        )
    own = given.out is None
    try:
        if own and given.site.exists():
            link_downloads(given.site, shown=False)  # no book says that it lies beside
        out = given.site / DOWNLOADS if own else given.out
        for file in publish(given.kinds or KINDS, given.site, out):
            print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    except Problem as problem:
        sys.exit(str(problem))
    finally:
        if own and given.site.exists():
            link_downloads(given.site)


if __name__ == "__main__":
    main()
