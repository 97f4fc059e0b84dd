"""The instructor's guide: its commands exist, and so does what it is filled with."""

import re
import runpy
import shlex
import shutil
from pathlib import Path

import guide
import nbformat
import pytest
import slides

from coursekit.__main__ import parser

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "book/instructor.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "tests/assignments/example"
COMMANDS = re.findall(r"^python -m coursekit (.*)$", TEXT, re.MULTILINE)
RUBRIC = """\
# Rubric

## Common mistakes

### Question 1

The bias stays in the weights.

```
## no heading
```

## Afterwards

This is for markers.
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_guide_are_understood(command):
    parser().parse_args(shlex.split(command))


def test_the_guide_shows_every_command():
    shown = {shlex.split(command)[0] for command in COMMANDS}
    (commands,) = parser()._subparsers._group_actions
    assert shown == set(commands.choices)


def test_the_rehearsal_of_the_guide_is_there_and_understands_its_options(monkeypatch):
    """It is a tool of the tests, so that no hostile line is in the kit."""
    found = re.findall(r"^python \.\./(\S+) (\$A .*)$", TEXT, re.MULTILINE)
    assert {path for path, _ in found} == {"tests/coursekit/rehearsal.py"}
    monkeypatch.syspath_prepend(ROOT / "tests/coursekit")
    rehearsal = runpy.run_path(str(ROOT / found[0][0]))
    for _, options in found:
        rehearsal["options"](shlex.split(options))


def test_mistakes_come_from_rubrics_with_the_title_of_their_assignment(tmp_path):
    copy = tmp_path / "example"
    shutil.copytree(EXAMPLE, copy)
    assert guide.common_mistakes([copy]) == "No rubric has such a section yet."
    (copy / "rubric.md").write_text(RUBRIC, encoding="utf-8")
    page = guide.filled("# All\n\n<!-- common mistakes -->\n")
    assert "<!--" not in page
    text = guide.common_mistakes([copy])
    assert text.startswith("## A router, its balance, and a line\n\n### Question 1\n")
    assert text.endswith("## no heading\n```")
    assert "markers" not in text
    assert "| 9 | 3 |" in guide.hours_of_assignments([copy])


def test_every_rubric_of_a_finished_assignment_lists_mistakes():
    for folder in guide.assignments():
        text = (folder / "rubric.md").read_text(encoding="utf-8")
        assert guide.section(text, guide.MISTAKES), folder.name


def test_every_handout_is_in_the_book():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for folder in guide.assignments():
        assert f"book/assignments/{folder.name}/handout" in toc


def test_hours_grow_with_words_cells_and_exercises():
    new = nbformat.v4
    text = new.new_markdown_cell("word " * 1200 + "\n`````{exercise} One\n`````")
    cells = [text, *(new.new_code_cell("1") for _ in range(5))]
    reading, exercises = guide.hours(new.new_notebook(cells=cells))
    assert reading == pytest.approx((10 + 10) / 60, rel=0.01)
    assert exercises == pytest.approx(20 / 60)


def test_pages_are_filled_and_slides_are_where_they_are_linked(site):
    page = site / "book/instructor.html"
    text = page.read_text(encoding="utf-8")
    decks = [deck.read_text(encoding="utf-8") for deck in site.glob("slides/*.html")]
    rows = [row.partition("</tr>")[0] for row in text.split("<tr")[1:]]
    for _, names in slides.parts():
        for name in names:
            (row,) = [row for row in rows if f'href="{name}.html"' in row]
            shown = sum(deck.count(f'<section id="{name}-') for deck in decks)
            assert shown > 0
            assert f">{shown} slides<" in row
    links = re.findall(r'href="(\.\./slides/[^"]+)"', text)
    assert len(links) >= 4
    assert all((page.parent / link).exists() for link in links)
    mistakes = (site / "book/mistakes.html").read_text(encoding="utf-8")
    for folder in guide.assignments():
        assert guide.front_matter(folder)["title"] in mistakes
