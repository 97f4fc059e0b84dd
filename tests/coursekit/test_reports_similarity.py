"""Where code agrees: copies are found under other names, and nobody is judged."""

import json
import time
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import EXAMPLE

from coursekit import __main__ as command
from coursekit.authoring.assignment import load
from coursekit.authoring.notebooks import starter, tags
from coursekit.grading.submissions import collect
from coursekit.grading.tables import read_table
from coursekit.reports.similarity import (
    LONGEST,
    RUN,
    SOLUTION,
    code_of,
    in_words,
    pairs_of,
    tokens_of,
    write_similarity,
)

MINE = """
def route(scores, bias, k):
    wanted = scores + bias
    best = []
    for number, line in enumerate(wanted):
        places = sorted(range(len(line)), key=lambda place: -line[place])
        best.append(places[:k])
    chosen = torch.tensor(best)
    share = scores.gather(-1, chosen)
    return share / share.sum(-1, keepdim=True), chosen
"""
RENAMED = '''
def route(scores, bias, k):
    """My own idea!"""
    w = scores+bias   # all of it
    b = []
    for i, row in enumerate(w):

        order = sorted(range(len(row)), key=lambda p: -row[p])
        b.append(order[:k])
    idx = torch.tensor(b)
    s = scores.gather(-1, idx)
    return s / s.sum(-1, keepdim=True), idx
'''
OTHER_WAY = """
def route(scores, bias, k):
    chosen = (scores + bias).argsort(dim=-1, descending=True, stable=True)[:, :k]
    mask = torch.zeros_like(scores).scatter(1, chosen, 1.0)
    total = (scores * mask).sum(1)[:, None]
    return torch.take_along_dim(scores, chosen, 1) / total, chosen
"""


def notebook(answer, more=""):
    """The example's starter with an answer to question 1, and a cell more."""
    made = starter(load(EXAMPLE))
    for cell in made.cells:
        if {"answer", "q1"} <= tags(cell):
            cell.source = answer or cell.source
    cells = json.loads(json.dumps(made))
    if more:
        cells["cells"].append(
            {"cell_type": "code", "source": more, "metadata": {}, "outputs": []}
        )
    return json.dumps(cells)


@pytest.fixture
def compared(tmp_path):
    def run(**books):
        for name, text in books.items():
            path = tmp_path / "class" / f"{name}.ipynb"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        made = write_similarity(tmp_path, load(EXAMPLE), collect(tmp_path / "class"))
        return *made, (tmp_path / "similarity.html").read_text(encoding="utf-8")

    return run


def named(pair):
    return {pair.one.student, pair.other.student}


def test_a_copy_is_found_under_other_names_and_remarks(compared):
    pairs, away, page = compared(
        ada=notebook(MINE), bo=notebook(RENAMED), cy=notebook(OTHER_WAY)
    )
    assert named(pairs[0]) == {"ada", "bo"}
    assert pairs[0].share > 0.95
    assert pairs[0].tokens > 80
    assert pairs[0].rare_tokens > 0.9 * pairs[0].tokens
    assert pairs[0].questions() == {"q1": pairs[0].tokens}
    rest = [pair for pair in pairs[1:] if SOLUTION not in named(pair)]
    assert all(pair.share < 0.3 for pair in rest)
    assert not away
    assert "order = sorted(range(len(row))" in page
    assert "It is not a verdict" in page


def test_the_starter_is_no_agreement(compared):
    """With the starter's runs left in, two blank notebooks would agree in all."""
    pairs, _, page = compared(ada=notebook(""), bo=notebook(""))
    assert not [pair for pair in pairs if SOLUTION not in named(pair)]
    assert "agree anywhere" in page
    cells = [("", cell.source) for cell in starter(load(EXAMPLE)).cells]
    twice = [code_of(name, cells, {}, ()) for name in "ab"]
    assert pairs_of(twice, 2)[0].share == 1


def test_what_many_have_is_not_rare(compared):
    books = {f"s{n}": notebook(MINE) for n in range(4)}
    pairs, _, _ = compared(**books, ada=notebook(OTHER_WAY), bo=notebook(OTHER_WAY))
    assert named(pairs[0]) == {"ada", "bo"}
    assert pairs[0].rare_tokens > 0.9 * pairs[0].tokens
    many = [pair for pair in pairs if named(pair) <= set(books)]
    assert len(many) == 6
    assert all(pair.share == 1 and pair.rare_tokens == 0 for pair in many)


def test_other_order_and_the_book_s_solution_are_found(compared):
    first, second = MINE.strip(), OTHER_WAY.strip().replace("route", "again")
    solved = notebook(
        "def route(scores, bias, k):\n"
        "    i = (scores + bias).topk(k, dim=-1).indices\n"
        "    w = scores.gather(-1, i)\n"
        "    return w / w.sum(dim=-1, keepdim=True), i\n"
    )
    pairs, _, _ = compared(
        ada=notebook(f"{first}\n\n\n{second}"),
        bo=notebook(first, more=second),
        cy=notebook(f"{second}\n\n\n{first}"),
        di=solved,
    )
    by_names = {frozenset(named(pair)): pair for pair in pairs}
    assert by_names[frozenset({"ada", "bo"})].share > 0.9
    assert by_names[frozenset({"ada", "cy"})].share > 0.9
    assert by_names[frozenset({"di", SOLUTION})].tokens > 30
    assert by_names[frozenset({"di", SOLUTION})].questions().keys() == {"q1"}


HOSTILE = {
    "script": MINE.replace(
        "+ bias", "+ bias  # </span></pre><script>alert(1)</script>"
    ),
    "broken": "def route(scores, bias, k:\n    return ((((\n" + MINE,
    "control": MINE.replace("best", "b\x1bst") + "\ud800\x00",
    "quotes": '"' * 50_000 + MINE,
    "strings": "f'{" * 20_000,
    "brackets": "(" * 200_000,
    "spaces": " " * 300_000 + "\\\n" * 50_000,
    "long": "x = " + "1 + " * 100_000,
    "lines": "a = 1\n" * 100_000,
    "digits": "9" * 200_000 + ".e" * 1000,
}


def test_hostile_code_costs_seconds_and_is_escaped(compared):
    books = {name: notebook(code) for name, code in HOSTILE.items()}
    books["script2"] = books["script"]
    start = time.process_time()
    pairs, away, page = compared(**books, none="{", formula=notebook(MINE))
    assert time.process_time() - start < 20
    assert "<script>" not in page
    assert "# &lt;/span&gt;&lt;/pre&gt;&lt;script&gt;alert(1)" in page
    assert "is damaged" in away["none"]
    assert f"the first {LONGEST:,} are compared" in away["brackets"]
    assert {"script", "script2"} in [named(pair) for pair in pairs]


def test_a_class_of_forty_takes_seconds(compared):
    books = {
        f"s{n:02d}": notebook(MINE.replace("best", f"best{n}") * 5 + f"x{n} = {n}")
        for n in range(40)
    }
    start = time.process_time()
    pairs, _, _ = compared(**books)
    assert time.process_time() - start < 10
    assert len(pairs) >= 780


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_has_tokens_in_its_lines(text):
    found = list(tokens_of(text.replace("\r", "\n")))
    lines = text.replace("\r", "\n").count("\n")
    assert all(0 <= line <= lines and word for word, line in found)


def test_tokens_keep_what_is_computed():
    def words(code):
        return [word for word, _ in tokens_of(code, {"scores"})]

    assert words("a = scores.topk(k) # x") == words("b=scores.topk( n )")
    assert words("a.topk(2)") != words("a.sort(2)")
    assert words("a.topk(2)") != words("a.topk(3)")
    assert words("f('one')") == words('f("""two\nlines""")')
    assert words("scores + a") != words("a + a")
    assert [line for _, line in tokens_of("'''a\nb'''\nx = 1")][-3:] == [2, 2, 2]
    assert RUN == 12


def test_what_agrees_is_said_plainly_and_once_where_nothing_is_rare():
    kept = {"torch", "scores", "bias", "k"}
    ada, bo = (code_of(name, [("q1", MINE)], {}, kept) for name in ("ada", "bo"))
    (said,) = in_words(pairs_of([ada, bo], 2))
    assert said.startswith(f"ada, bo: {ada.own} tokens agree, {ada.own} of them rare: ")
    cy = code_of("cy", [("q1", MINE)], {}, kept)
    (said,) = in_words(pairs_of([ada, bo, cy], 2))
    assert said.startswith("nothing rare agrees")
    (said,) = in_words([])
    assert said.startswith("no two submissions agree")


def test_the_command_writes_a_table_and_a_page(tmp_path, capsys):
    (tmp_path / "class").mkdir()
    for name in ("ada", "=bo"):
        (tmp_path / "class" / f"{name}.ipynb").write_text(notebook(MINE))
    with zipfile.ZipFile(tmp_path / "class" / "cy.zip", "w") as archive:
        archive.writestr("example/example.ipynb", notebook(MINE))
    call = ["similar", str(tmp_path / "class"), "--assignment", str(EXAMPLE)]
    assert command.main([*call, "--out", str(tmp_path / "out")]) == 0
    assert "tokens agree" in capsys.readouterr().out
    names, rows = read_table(tmp_path / "out" / "similarity.csv")
    assert names[:5] == ["one", "other", "rare", "tokens", "share"]
    pairs = [{row["one"], row["other"]} for row in rows if float(row["share"]) == 1]
    assert pairs == [{"=bo", "ada"}, {"=bo", "cy"}, {"ada", "cy"}]
    assert float(rows[0]["share"]) == 1
