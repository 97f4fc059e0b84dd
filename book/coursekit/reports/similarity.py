"""Where the code of two submissions agrees: a table to look at, and not a verdict.

Code is cut into tokens (Pygments), without comments, spaces and what strings say.
Names that somebody has chosen are alike; those behind a dot, of Python and of the
starter stay, since they say what is computed. Runs of RUN tokens that stand in the
starter are left out. What agrees are the runs that two submissions have both,
wherever they stand in them.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from pygments.lexers import PythonLexer
from pygments.token import Comment, Name, String, Text

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.notebooks import instructor, starter
from coursekit.grading.reading import notebook_of, read_notebook
from coursekit.grading.submissions import Submission
from coursekit.grading.tables import write_table
from coursekit.reports.report import PAGES
from coursekit.walls.files import Unreadable, write

RUN = 12  # tokens that have to agree one after the other
LONGEST = 40_000  # characters of a submission's code that are compared
WIDEST = 400  # characters of a line that a page shows
SOLUTION = "(the book's solution)"
OTHER = "other cells"
Run = tuple[str, ...]


class Spot(NamedTuple):
    """A token of a submission: its line, and whether the starter has it."""

    line: int
    given: bool


@dataclass
class Code:
    """The code of a submission, line by line, and its runs of tokens.

    `labels` has the question of each line, `spots` its tokens, and `runs` where a run
    begins among them; those of the starter are left out.
    """

    student: str
    lines: list[str]
    labels: list[str]
    spots: list[Spot] = field(default_factory=list)
    runs: dict[Run, list[int]] = field(default_factory=dict)

    @functools.cached_property
    def own(self) -> int:
        """Tokens in runs of its own, which are not the starter's."""
        return len(covered(self, self.runs))


@dataclass(frozen=True)
class Pair:
    """Two submissions and the tokens in which they agree, of each and by question.

    `rare` counts those in runs that few others have.
    """

    one: Code
    other: Code
    agree: tuple[set[int], set[int]]
    rare: tuple[set[int], set[int]]

    @property
    def share(self) -> float:
        """What agrees, as a share of the one with less code of its own."""
        return min(1.0, self.tokens / max(1, min(self.one.own, self.other.own)))

    @property
    def tokens(self) -> int:
        """Tokens that agree, in the one where they are fewer."""
        return min(map(len, self.agree))

    @property
    def rare_tokens(self) -> int:
        """Tokens that agree and that few others have."""
        return min(map(len, self.rare))

    def questions(self) -> dict[str, int]:
        """Tokens that agree, by the question in which a submission has them."""
        side = int(self.one.student == SOLUTION)
        code = (self.one, self.other)[side]
        labels = [code.labels[code.spots[number].line] for number in self.agree[side]]
        return dict(Counter(labels))


def tokens_of(code: str, kept: Iterable[str] = ()) -> Iterator[tuple[str, int]]:
    """The tokens of a program, right or wrong, each with its line, counted from 0.

    Names in `kept`, behind a dot and of Python stay as they are.
    """
    kept, line, before = set(kept), 0, ""
    for kind, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        bare = text.strip()
        if kind in String.Doc or kind in Comment or kind in Text or not bare:
            line += text.count("\n")
            continue
        if kind in String:
            if before != '"':  # a string is one token, however it is cut
                yield '"', line
            before = '"'
        else:
            free = kind in Name and kind not in Name.Builtin and before != "."
            before = "name" if free and bare not in kept else bare
            yield before, line
        line += text.count("\n")


def code_of(
    student: str, cells: Iterable[tuple[str, str]], given: Mapping[Run, list[int]], kept
) -> Code:
    """A submission's code from cells with the questions that they answer.

    `given` are the starter's runs, `kept` its names; no run goes from one cell into
    the next. Code beyond LONGEST characters is left out.
    """
    code, left = Code(student, [], []), LONGEST
    marked: set[int] = set()
    for label, source in cells:
        source = source.replace("\r", "\n")[:left]
        left -= len(source)
        base = len(code.lines)
        lines = source.split("\n")
        code.lines += lines
        code.labels += [label] * len(lines)
        words, first = [], len(code.spots)
        for word, line in tokens_of(source, kept):
            words.append(word)
            code.spots.append(Spot(min(base + line, len(code.lines) - 1), False))
        for start in range(len(words) - RUN + 1):
            run = tuple(words[start : start + RUN])
            if run in given:
                marked.update(range(first + start, first + start + RUN))
            else:
                code.runs.setdefault(run, []).append(first + start)
    code.spots = [Spot(s.line, n in marked) for n, s in enumerate(code.spots)]
    return code


def covered(code: Code, runs: Iterable[Run]) -> set[int]:
    """The tokens of a submission in some runs, without those of the starter."""
    found = {s + n for run in runs for s in code.runs[run] for n in range(RUN)}
    return {number for number in found if not code.spots[number].given}


def pairs_of(codes: list[Code], few: int) -> list[Pair]:
    """All pairs that agree anywhere, those with most rare tokens first.

    A run is rare if at most `few` of the submissions have it.
    """
    class_ = [code for code in codes if code.student != SOLUTION]
    common = Counter(run for code in class_ for run in code.runs)
    found = []
    for one, other in combinations(codes, 2):
        shared = one.runs.keys() & other.runs.keys()
        if shared:
            agree = covered(one, shared), covered(other, shared)
            seldom = {run for run in shared if common[run] <= few}
            rare = covered(one, seldom), covered(other, seldom)
            found.append(Pair(one, other, agree, rare))
    found.sort(key=lambda p: (-p.rare_tokens, -p.share, p.one.student, p.other.student))
    return found


def compare(
    assignment: Assignment, submissions: list[Submission]
) -> tuple[list[Pair], dict[str, str], int]:
    """Pairs of a class and the book's solution, who is left out and why, and `few`."""
    given = [("", source) for source in _sources(starter(assignment))]
    names = {word for _, source in given for word in _names(source)}
    begun = code_of("", given, {}, names)
    solved = [("", source) for source in _sources(instructor(assignment))]
    codes, away = [code_of(SOLUTION, solved, begun.runs, names)], {}
    for submission in submissions:
        try:
            path, _ = notebook_of(submission, assignment)
            notebook = read_notebook(path, assignment)
        except Unreadable as error:
            away[submission.student] = str(error)
            continue
        cells = [
            (", ".join(notebook.answers.get(number, ())) or OTHER, source)
            for number, source in notebook.cells.items()
        ]
        cells.sort(key=lambda cell: cell[0] == OTHER)  # answers first, if too much
        codes.append(code_of(submission.student, cells, begun.runs, names))
        if (size := sum(len(source) for _, source in cells)) > LONGEST:
            away[submission.student] = (
                f"{size:,} characters of code, of which the first {LONGEST:,} are "
                "compared"
            )
    few = max(3, len(submissions) // 10)
    return pairs_of(codes, few), away, few


def _sources(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _names(source: str) -> set[str]:
    tokens = PythonLexer().get_tokens(source)
    return {text for kind, text in tokens if kind in Name}


def _side(code: Code, agree: set[int], rare: set[int]) -> list[tuple[int, str, str]]:
    """The lines with what agrees and those around: number, how they agree, text."""
    level = dict.fromkeys((code.spots[n].line for n in agree), "same")
    level |= dict.fromkeys((code.spots[n].line for n in rare), "rare")
    near = {n + step for n in level for step in (-1, 0, 1)} & set(
        range(len(code.lines))
    )
    shown, before = [], -1
    for number in sorted(near):
        if number > before + 1 and shown:
            shown.append((0, "", "..."))
        shown.append((number + 1, level.get(number, ""), code.lines[number][:WIDEST]))
        before = number
    return shown


def in_words(pairs: list[Pair], most: int = 5) -> list[str]:
    """What to say of the first pairs; one line where no code is rare."""
    if not pairs:
        return ["no two submissions agree anywhere but in what the starter gives"]
    first = [pair for pair in pairs[:most] if pair.rare_tokens]
    return [
        f"{pair.one.student}, {pair.other.student}: {pair.tokens} tokens agree, "
        f"{pair.rare_tokens} of them rare: few other submissions have these"
        for pair in first
    ] or ["nothing rare agrees: what two submissions have both, many others have too"]


def write_similarity(
    out: Path, assignment: Assignment, submissions: list[Submission], shown: int = 20
) -> tuple[list[Pair], dict[str, str]]:
    """Write `similarity.csv`, all pairs, and `similarity.html`, the first side by side.

    Returns the pairs, and who is left out with the reason.
    """
    pairs, away, few = compare(assignment, submissions)
    labels = [*assignment.questions, OTHER]
    columns = ["one", "other", "rare", "tokens", "share", *labels]
    rows = []
    for pair in pairs:
        by_question: Counter = Counter()
        for label, count in pair.questions().items():
            by_question[label.split(", ")[0]] += count
        rows.append(
            {
                "one": pair.one.student,
                "other": pair.other.student,
                "rare": pair.rare_tokens,
                "tokens": pair.tokens,
                "share": round(pair.share, 3),
                **{label: by_question[label] for label in labels},
            }
        )
    sides = [
        (_side(p.one, p.agree[0], p.rare[0]), _side(p.other, p.agree[1], p.rare[1]))
        for p in pairs[:shown]
    ]
    page = PAGES.get_template("similarity.html").render(
        assignment=assignment,
        rows=rows,
        sides=sides,
        away=away,
        few=few,
        run=RUN,
        solution=SOLUTION,
        count=len(submissions),
    )
    write_table(out / "similarity.csv", columns, rows)
    write(out / "similarity.html", page)
    return pairs, away
