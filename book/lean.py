"""What a page of the website loads: what it uses, and nothing else.

Extensions and the theme add their scripts and styles to every page. Here a page keeps
those whose elements it has, all scripts wait until the page is read, and pictures wait
until they are near the screen. Hints on links are loaded when a reader first points at
one: see _static/tips.js. What no page shows is taken out of the font of icons.
"""

import re
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from sphinx.builders.html._assets import _JavaScript

STATIC = Path(__file__).parent / "_static"
CODE = r'class="highlight"'
FOLDED = r'class="[^"]*\b(?:toggle|dropdown)\b'
MOVED = r'<div[^>]*\bid="\w+-figure"'
MATH = r'class="[^"]*\bmath\b|class="output text_latex'
# A script or style by the beginning of its name, and what a page has that needs it.
NEEDS = {
    "clipboard.min.js": CODE,
    "copybutton.": CODE,
    "design-tabs.js": r"\bsd-tab-",
    "exercise.css": r'class="[^"]*\b(?:exercise|solution)\b',
    "launch.js": r"hub/user-redirect",
    "live.": r'class="live"',
    "address.": MOVED,
    "touch.css": MOVED,
    "touch.": r'class="touch"',
    "mystnb.": r'class="[^"]*\b(?:cell|cell_output)\b',
    "proof.css": r'class="[^"]*\bproof\b',
    "pygments.css": CODE,
    "sphinx-design.min.css": r"\bsd-",
    "togglebutton.": FOLDED,
}
INLINE = {"toggle": FOLDED, "window.MathJax": MATH, "DOCUMENTATION_OPTIONS": "(?!)"}
LATER = ("/tippy/", "/mathjax/")  # loaded by tips.js and math.js
IMAGE = re.compile(r'<img ((?:[^>"]|"[^"]*")*)>')
SOURCE = re.compile(r'\bsrc="([^"]*)"')


def is_needed(name, body, figures=frozenset()):
    """Whether a page that has this body needs a script or style."""
    stem = name.removesuffix(".js")
    if stem in figures:
        return f'id="{stem}-figure"' in body
    for beginning, pattern in NEEDS.items():
        if name.startswith(beginning):
            return re.search(pattern, body) is not None
    return True


def is_needed_inline(text, body):
    """Whether a page that has this body needs a script that stands in the page."""
    return all(
        re.search(pattern, body) for word, pattern in INLINE.items() if word in text
    )


def more_of(text):
    """What a script that stands in the page gets behind it: how formulas are set."""
    if "window.MathJax" not in text:
        return ""
    return f";\n{(STATIC / 'math.js').read_text(encoding='utf-8')}"


def chosen_scripts(scripts, body, figures=frozenset(), tips=None):
    """The scripts that a page needs, none twice, those in files to run when it is read.

    Those that stand in the page come first, so that they are there for the others.
    `tips` is the file with the hints on the page's links, which tips.js loads.
    """
    inline, files = {}, {}
    for script in scripts:
        path, attributes = str(script.filename or ""), dict(script.attributes)
        name = Path(path).name
        if not path:
            text = attributes.get("body") or ""
            if is_needed_inline(text, body):
                inline[text] = _JavaScript("", body=text + more_of(text))
            continue
        if any(part in path for part in LATER) or not is_needed(name, body, figures):
            continue
        if name == "tips.js":
            if not tips:
                continue
            attributes["data-tips"] = tips
        kept = {k: v for k, v in attributes.items() if k not in ("async", "defer")}
        kept["defer"] = "defer"
        files[path] = _JavaScript(path, priority=script.priority, **kept)
    return [*inline.values(), *files.values()]


def chosen_styles(styles, body):
    """The styles that a page needs, none twice."""
    kept = {str(style.filename): style for style in styles}
    return [style for name, style in kept.items() if is_needed(Path(name).name, body)]


def figures_of(folder):
    """Scripts that each draw one figure: NAME.js draws what has the id NAME-figure."""
    return frozenset(
        path.stem
        for path in folder.rglob("*.js")
        if f'"{path.stem}-figure"' in path.read_text(encoding="utf-8")
    )


def lazy_images(body, size=lambda source: None):
    """A page whose pictures wait until they are near, in the room that they take."""

    def lazy(match):
        if "loading=" in match[1]:
            return match[0]
        attributes, source = 'loading="lazy" decoding="async"', SOURCE.search(match[1])
        room = size(source[1]) if source else None
        if room and "width=" not in match[1]:
            attributes += ' width="{:.0f}" height="{:.0f}"'.format(*room)
        return f"<img {attributes} {match[1]}>"

    return IMAGE.sub(lazy, body)


def svg_size(path):
    """Width and height of an SVG in CSS pixels, if it says them."""
    head = path.read_text(encoding="utf-8", errors="ignore")[:2000]
    opening = re.search(r"<svg\b[^>]*>", head)
    found = re.findall(r'\b(width|height)="([\d.]+)(pt|px|)"', opening[0])
    pixels = {n: float(v) * (4 / 3 if unit == "pt" else 1) for n, v, unit in found}
    return (pixels["width"], pixels["height"]) if len(pixels) == 2 else None


# Files

# Sources of scripts, icons as a script, and fonts for browsers of before 2016.
UNUSED = ("scripts/*.map", "scripts/fontawesome*", "styles/*.map", "vendor/**/*.ttf")


def drop_unused(static):
    """Take files out of a site that none of its pages loads."""
    for pattern in UNUSED:
        for path in static.glob(pattern):
            path.unlink()


# Icons

ICON = re.compile(r"((?:\.fa-[\w-]+::?before,?)+)\{content:\"\\([0-9a-f]+) ?\"\}")
GLYPH = re.compile(r"\\([ef][0-9a-f]{3})\b")
NAME = re.compile(r"\bfa-[a-z0-9-]+")


def without_unused_icons(style, used):
    """A style sheet without the rules of icons that no page shows."""

    def kept(rule):
        return rule[0] if used & set(NAME.findall(rule[1])) else ""

    return ICON.sub(kept, style)


def small_font(data, points):
    """A font with the glyphs of some code points, as WOFF2."""
    options = Options(flavor="woff2", layout_features=[], notdef_outline=True)
    font = TTFont(BytesIO(data), recalcTimestamp=False)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=points)
    subsetter.subset(font)
    font.flavor, out = "woff2", BytesIO()
    font.save(out)
    return out.getvalue()


def thin_icons(site):
    """Take what no page shows out of the icons of a site."""
    static = site / "_static"
    style = static / "styles/pydata-sphinx-theme.css"
    texts = [p.read_text(encoding="utf-8") for p in site.rglob("*.html")]
    texts += [p.read_text(encoding="utf-8") for p in static.rglob("*.js")]
    used = {name for text in texts for name in NAME.findall(text)}
    theme = without_unused_icons(style.read_text(encoding="utf-8"), used)
    style.write_text(theme, encoding="utf-8")
    sheets = [p.read_text(encoding="utf-8") for p in static.rglob("*.css")]
    points = {int(point, 16) for text in sheets for point in GLYPH.findall(text)}
    points |= {
        ord(char) for text in sheets for char in text if 0xE000 <= ord(char) < 0xF900
    }
    for font in (static / "vendor/fontawesome/webfonts").glob("*.woff2"):
        font.write_bytes(small_font(font.read_bytes(), points))


def setup(app):
    """Choose for each page when it is written, and thin the icons at the end."""
    figures = figures_of(STATIC)

    def choose(app, pagename, templatename, context, doctree):
        if app.builder.name != "html":
            return
        pictures = {name: path for path, name in app.builder.images.items()}

        def size(source):
            name = unquote(source).rpartition("/")[2]
            path = Path(app.srcdir, pictures.get(name, ""))
            return svg_size(path) if path.suffix == ".svg" else None

        body = context.get("body", "")
        if doctree is not None:
            context["body"] = lazy_images(body, size)
        has = body + str(context.get("header_buttons", ""))
        hints = getattr(app.env, "tippy_data", {"pages": {}})["pages"].get(pagename)
        tips = f"tippy/{pagename}.js" if hints and hints["refs_in_page"] else None
        scripts = chosen_scripts(context["script_files"], has, figures, tips)
        context["script_files"] = scripts
        context["css_files"] = chosen_styles(context["css_files"], has)
        if tips:  # the same name in each build
            hints["js_path"] = Path(app.outdir, "_static", tips)

    def finished(app, error):
        if error is None and app.builder.name == "html":
            drop_unused(Path(app.outdir, "_static"))
            thin_icons(Path(app.outdir))

    app.connect("html-page-context", choose, priority=950)
    app.connect("build-finished", finished, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
