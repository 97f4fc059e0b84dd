"""Few runs for many mutants: which of them fail every test, and which go together.

Questions are graded by themselves, so mistakes in several of them can stand in one
notebook, and each is judged by the tests of its own questions. Questions without a
mistake are not asked again: the reference answers them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.mutants import Variant
from coursekit.testing.suite import Test, Verdict


@dataclass(frozen=True)
class Pack:
    """A notebook to judge, and the mutants that stand in it with their questions.

    Without questions all tests are a mutant's.
    """

    variant: Variant
    parts: tuple[tuple[Variant, frozenset[str]], ...]

    def tests(self, known: Iterable[Test]) -> list[Test]:
        """The tests of its mutants' questions."""
        return [test for test in known if any(_of(test, q) for _, q in self.parts)]

    def verdicts(self, found: list[Verdict]) -> list[tuple[Variant, list[Verdict]]]:
        """Each mutant with the verdicts of its questions."""
        return [(m, [v for v in found if _of(v, q)]) for m, q in self.parts]


def _of(one: Test | Verdict, questions: frozenset[str]) -> bool:
    return not questions or one.question in questions


def alone(variant: Variant) -> Pack:
    """A variant by itself, judged by all tests."""
    return Pack(variant, ((variant, frozenset()),))


def covering(known: list[Variant]) -> list[Variant]:
    """The fewest mutants that together fail all that any of them fails."""
    chosen: list[Variant] = []
    left = list(known)
    while left:  # mutants that share no test are chosen apart from each other
        names, group = set(left[0].fails), []
        while more := [m for m in left if m not in group and m.fails & names]:
            group += more
            names.update(*(mutant.fails for mutant in more))
        chosen += _fewest(group, frozenset(names), [], group)
        left = [mutant for mutant in left if mutant not in group]
    return chosen


def _fewest(group, names, begun, best) -> list[Variant]:
    """The shortest list that begins so and fails all names, or `best` if none is."""
    if not names:
        return begun if len(begun) < len(best) else best
    if len(begun) + 1 >= len(best):
        return best
    first = min(sorted(names), key=lambda n: sum(n in m.fails for m in group))
    for mutant in group:
        if first in mutant.fails:
            best = _fewest(group, names - mutant.fails, [*begun, mutant], best)
    return best


def packed(assignment: Assignment, right: Variant, chosen: list[Variant]) -> list[Pack]:
    """Mutants put together where they meet in no cell, no file and no question."""
    question = {test.name: test.question for test in assignment.tests}
    packs: list[list[tuple[Variant, frozenset[str]]]] = []
    for mutant in chosen:
        touched = {question[name] for name in mutant.fails}
        part = mutant, frozenset().union(*map(assignment.lost_with, touched))
        for pack in packs:
            if all(_apart(right, part, other) for other in pack):
                pack.append(part)
                break
        else:
            packs.append([part])
    return [Pack(_together(right, pack), tuple(pack)) for pack in packs]


def _changed(right: Variant, mutant: Variant) -> set[int | str]:
    """The numbers of cells and the names of files in which a mutant is not right."""
    cells = enumerate(zip(right.cells, mutant.cells, strict=False))
    files = {
        name for name in right.files if mutant.files.get(name) != right.files[name]
    }
    return files | {number for number, (a, b) in cells if a != b}


def _apart(right, part, other) -> bool:
    (one, ours), (two, theirs) = part, other
    return not ours & theirs and not _changed(right, one) & _changed(right, two)


def _together(right: Variant, pack) -> Variant:
    cells, files, added = list(right.cells), dict(right.files), []
    for mutant, _ in pack:
        for place in _changed(right, mutant):
            if isinstance(place, int):
                cells[place] = mutant.cells[place]
            elif place in mutant.files:
                files[place] = mutant.files[place]
            else:
                del files[place]
        added += mutant.cells[len(cells) :]
    name = " + ".join(mutant.name for mutant, _ in pack)
    fails = frozenset().union(*(mutant.fails for mutant, _ in pack))
    return Variant(name, cells + added, files, fails)
