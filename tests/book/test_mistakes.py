"""The pages of appendix A: each mistake has six parts, a red and a green verdict, and
tests of this repository that guard against it."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
PAGES = sorted(path.stem for path in BOOK.glob("text/A[0-9]_*.md"))
PROMISED = {"thirteen": 13, "sixteen": 16}
LABEL = re.compile(r"^\((mistake-[\w-]+)\)=\n## (.+)$", re.MULTILINE)
HEADING = re.compile(r"^## ", re.MULTILINE)
LEADS = ["Symptom", "Smallest form", "Test", "Repair", "Seen in", "Guard"]
LEAD = re.compile(rf"^\*\*({'|'.join(LEADS)})\.\*\*(?=\s)", re.MULTILINE)
GUARD = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
VERDICT = re.compile(r"^(red|green)\b", re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES)


@cache
def twin(page):
    return (BOOK / f"text/{page}.md").read_text(encoding="utf-8")


@cache
def mistakes(page):
    """The text of each mistake of a page, by its label."""
    found, text = {}, twin(page)
    for label in LABEL.finditer(text):
        end = HEADING.search(text, label.end())
        found[label[1]] = text[label.end() : end.start() if end else len(text)]
    return found


@cache
def printed(page):
    """What the cells of each mistake print, by its label."""
    found, here = {}, None
    for cell in nbformat.read(BOOK / f"{page}.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            # A cell may end with the label of the heading that begins the next one.
            for part in re.split(r"^(?=\(mistake-|## )", cell.source, flags=re.M):
                if label := re.match(r"\((mistake-[\w-]+)\)=", part):
                    here = label[1]
                    found[here] = ""
                elif part.startswith("## ") and not (here and found[here] == ""):
                    here = None
        elif here:
            found[here] += "".join(o.get("text", "") for o in cell.outputs)
    return found


def parts(text):
    """The six parts of a mistake: the lead and the text of each."""
    _, *pieces = LEAD.split(text)
    return list(zip(pieces[::2], pieces[1::2], strict=True))


def faults(text, output):
    """What is wrong with the form of a mistake."""
    found = parts(text)
    leads = [lead for lead, _ in found]
    if leads != LEADS:
        yield f"the parts are {leads}"
        return
    said = dict(found)
    for lead in ("Smallest form", "Test", "Repair"):
        if "```{code-cell}" not in said[lead]:
            yield f"no code in {lead}"
    if "](https://github.com/" not in said["Seen in"]:
        yield "no link to where it was seen"
    if not re.search(r"^Checked: .+", said["Seen in"], re.MULTILINE):
        yield "no line that begins with Checked:"
    verdicts = VERDICT.findall(output)
    if verdicts[:1] != ["red"] or verdicts[-1:] != ["green"]:
        yield f"the verdicts are {verdicts}"
    guards = GUARD.findall(said["Guard"])
    if not guards:
        yield "no test guards against it"
    for file, name in guards:
        path = ROOT / file
        if not path.exists() or f"\ndef {name}(" not in path.read_text("utf-8"):
            yield f"{file} has no {name}"


@each_page
def test_each_mistake_has_six_parts_two_verdicts_and_a_guard(page):
    outputs = printed(page)
    found = {
        name: wrong
        for name, text in mistakes(page).items()
        if (wrong := list(faults(text, outputs.get(name, ""))))
    }
    assert not found


@each_page
def test_there_are_as_many_mistakes_as_promised(page):
    (number,) = re.findall(r"recognize (\w+) mistakes", twin(page))
    assert len(LABEL.findall(twin(page))) == PROMISED[number]


def test_no_two_mistakes_have_the_same_label():
    labels = [label for page in PAGES for label, _ in LABEL.findall(twin(page))]
    assert len(labels) == len(set(labels))


def test_all_pages_have_the_same_way_to_a_verdict():
    found = {
        re.search(r"^def expect\(.+?^    return \"green\"$", twin(page), re.M | re.S)[0]
        for page in PAGES
    }
    assert len(found) == 1


GOOD = """

**Symptom.** It is slow.

**Smallest form.** So:

```{code-cell} ipython3
x
```

**Test.** So:

```{code-cell} ipython3
x
```

**Repair.** So:

```{code-cell} ipython3
x
```

**Seen in.** Here: [a/b issue 1](https://github.com/a/b/issues/1).
Checked: version 1.

**Guard.** `tests/book/test_mistakes.py::test_a_good_form_has_no_faults`.
"""


def test_a_good_form_has_no_faults():
    assert list(faults(GOOD, "red    f: 1, not 2\ngreen  g\n")) == []


@pytest.mark.parametrize(
    ("old", "new", "output", "message"),
    [
        ("**Repair.**", "**Mended.**", "red\ngreen\n", "the parts are"),
        ("\nChecked:", "\nSeen:", "red\ngreen\n", "no line that begins"),
        ("](https://", "](http://", "red\ngreen\n", "no link"),
        ("a_good_form", "no_form", "red\ngreen\n", "has no test_no_form_has_no_faults"),
        ("`tests/", "`", "red\ngreen\n", "no test guards"),
        ("{code-cell}", "{code}", "red\ngreen\n", "no code in Smallest form"),
        ("slow", "slow", "green\ngreen\n", "the verdicts are"),
        ("slow", "slow", "red\nred\n", "the verdicts are"),
        ("slow", "slow", "", "the verdicts are"),
    ],
)
def test_a_form_with_a_fault_is_found(old, new, output, message):
    (fault,) = faults(GOOD.replace(old, new, 1), output)
    assert message in fault
