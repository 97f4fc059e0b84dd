"""The form of a chapter's second edition; a chapter joins the list when it has it."""

import re
from pathlib import Path

import guide
import nbformat
import pytest

BOOK = Path(__file__).parents[2] / "book"
SECOND = [
    "01_claims",
    "02_small_world",
    "03_mixture_of_experts",
    "04_load_balance",
    "05_latent_attention",
    "06_multi_token_prediction",
    "07_model",
    "08_eight_bits",
    "09_pipelines",
    "10_bill",
    "11_policy_gradients",
    "12_rules_as_rewards",
    "13_r1_zero",
    "14_r1_pipeline",
    "15_distillation",
    "16_test_time_compute",
    "17_losses_after_r1",
    "18_what_deepseek_did_next",
    "19_leaving_the_small_world",
    "A1_mistakes_in_the_model",
    "A2_mistakes_in_training",
]
each = pytest.mark.parametrize("name", SECOND)
BOX = re.compile(
    r"^:::\{admonition\} This (?:chapter|appendix) in three lines\n:class: tip\n\n"
    r"- \*\*You will be able to\*\* .+\n"
    r"- \*\*You need\*\* .+\n"
    r"- \*\*Time:\*\* about (\d+) minutes to read, "
    r"(.+) to run on two CPU cores\.\n:::$",
    re.MULTILINE,
)


def twin(name):
    return (BOOK / f"text/{name}.md").read_text(encoding="utf-8")


def cells(name, kind):
    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def shown(name):
    """The code cells that a reader sees unfolded."""
    hidden = {"remove-cell", "hide-cell", "hide-input", "remove-input"}
    for cell in cells(name, "code"):
        if not hidden & set(cell.metadata.get("tags", [])):
            yield cell


@each
def test_a_box_of_three_lines_says_what_a_reader_gets_needs_and_spends(name):
    box = BOX.search(twin(name))
    assert box, "no box as in test_second_edition.BOX"
    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    reading = 60 * guide.hours(notebook)[0]
    assert abs(int(box[1]) - reading) <= 10, f"{reading:.0f} minutes by guide.hours"


@each
def test_a_chapter_has_at_most_9000_words(name):
    assert len(twin(name).split()) <= 9000


@each
def test_code_fits_72_columns(name):
    wide = [
        line
        for cell in cells(name, "code")
        for line in cell.source.splitlines()
        if len(line) > 72
    ]
    assert not wide, "\n".join(wide)


@each
def test_imports_are_folded(name):
    """One import in a cell that is about it is shown; the list at the top is not."""
    for cell in shown(name):
        lines = re.findall(r"^(?:import|from) ", cell.source, re.MULTILINE)
        assert len(lines) <= 2, cell.source


@each
def test_a_drawing_stands_before_the_first_code_that_is_shown(name):
    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown" or tags & {"remove-cell"}:
            continue
        if any("image/svg+xml" in o.get("data", {}) for o in cell.outputs):
            return
        assert "hide-input" in tags, f"shown before any drawing:\n{cell.source}"
    pytest.fail("no drawing")


@each
def test_takeaways_stand_in_place(name):
    lines = re.findall(r"^\*\*Takeaway\.\*\* .+$", twin(name), re.MULTILINE)
    assert len(lines) >= 3


@each
def test_the_claim_at_the_top_has_at_most_40_words(name):
    claim = re.search(r"^\*\*Claim\.\*\* (.+(?:\n.+)*)", twin(name), re.MULTILINE)
    assert claim
    assert len(claim[1].split()) <= 40
