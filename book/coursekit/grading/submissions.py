"""What a class has handed in: who, and which files."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from coursekit.authoring.assignment import Assignment, AssignmentError

MOST_FILES = 200
# How learning platforms name what they give out; `student` is the id that counts.
NAMES = {
    "plain": r"(?P<student>.+)",
    "canvas": r"[^_]*_(?:LATE_)?(?P<student>\d+)_\d+_(?P<file>.+)",
    "moodle": r".*_(?P<student>\d+)_assignsubmission_file_?(?P<file>.*)",
}
# What browsers and platforms add to the name of a second file.
RENAMED = r"(?:[-_]\d+| ?\(\d+\))"
CLUTTER = re.compile(r"(^|/)(\.|__MACOSX|Thumbs\.db|desktop\.ini)")


@dataclass(frozen=True)
class Submission:
    """One student's files by name; `problem` says why they cannot be graded."""

    student: str
    files: dict[str, Path] = field(default_factory=dict)
    problem: str = ""
    status: str = ""  # "duplicate" or "unknown" where that is the problem


def collect(
    folder: Path, names: str = "plain", roster: Iterable[str] | None = None
) -> list[Submission]:
    """The submissions in a folder: one file or one folder for each student.

    Args:
        folder: holds `STUDENT.ipynb` or `STUDENT/...`, or what a platform made
        names: "plain", "canvas", "moodle", or a pattern with the group `student` and,
            for a file whose own name is a part of it, `file`
        roster: the ids that there are; others are not graded, but reported

    Two entries of one student that are not parts of one submission, and ids that the
    roster does not have, come back with a `problem` and are not to be graded.

    Raises AssignmentError for a pattern or a folder that is none.
    """
    if not folder.is_dir():
        raise AssignmentError(f"{folder} is no folder with submissions")
    pattern = _pattern(names)
    found: dict[str, Submission] = {}
    for entry in sorted(folder.iterdir()):
        if CLUTTER.search(entry.name):
            continue
        if entry.is_symlink():
            problem = "it is a link: put the file itself there"
            found[entry.name] = Submission(entry.stem, problem=problem)
            continue
        whole = entry.name if entry.is_dir() else _stem(entry, names)
        match = pattern.fullmatch(whole)
        if not match:
            found[entry.name] = Submission(
                entry.name, problem="its name does not follow the pattern"
            )
            continue
        student = match["student"].strip()
        given = match.groupdict().get("file")
        files = _below(entry) if entry.is_dir() else {given or entry.name: entry}
        before = found.get(student)
        if before and (not given or set(before.files) & set(files)):
            both = sorted({*before.files, *files})
            problem = f"handed in twice: {', '.join(both)}; keep one"
            found[student] = replace(before, problem=problem, status="duplicate")
        else:
            files = {**before.files, **files} if before else files
            found[student] = Submission(student, files)
    known = None if roster is None else set(roster)
    return [_enrolled(s, known) for s in found.values()]


def _pattern(names: str) -> re.Pattern:
    try:
        pattern = re.compile(NAMES.get(names, names))
    except re.error as error:
        raise AssignmentError(f"{names!r} is no pattern: {error}") from error
    if "student" not in pattern.groupindex:
        raise AssignmentError(f"{names!r} has no group (?P<student>...)")
    return pattern


def _stem(entry: Path, names: str) -> str:
    return entry.stem if names == "plain" else entry.name


def _enrolled(submission: Submission, known: set[str] | None) -> Submission:
    if known is None or submission.student in known:
        return submission
    problem = "not on the roster: correct the name of the file or the roster"
    return replace(submission, problem=problem, status="unknown")


def _below(folder: Path) -> dict[str, Path]:
    """The files of a folder and of those in it, by name; links are not followed."""
    paths: list[Path] = []
    for path in _walk(folder):
        paths.append(path)
        if len(paths) > MOST_FILES:
            break
    return {p.relative_to(folder).as_posix(): p for p in sorted(paths)}


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if CLUTTER.search(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def handed_in(
    submission: Submission, assignment: Assignment
) -> tuple[dict[str, Path], list[str]]:
    """The files beside the notebook that the assignment asks for, and remarks.

    One that is missing is replaced by the one file with its name and a number.
    """
    files = submission.files.items()
    by_name = {n.rpartition("/")[2]: p for n, p in files if not p.is_symlink()}
    found = {n: by_name[n] for n in assignment.files if n in by_name}
    others, notes = sorted(set(by_name) - set(found)), []
    for wanted in assignment.files:
        if wanted not in found:
            name, note = _renamed(wanted, others)
            found |= {wanted: by_name[name]} if name else {}
            notes.append(note)
    return found, notes


def _renamed(wanted: str, names: list[str]) -> tuple[str, str]:
    """The file that was meant for a missing one, empty if none, and a remark."""
    stem, suffix = Path(wanted).stem, Path(wanted).suffix
    pattern = re.compile(re.escape(stem) + RENAMED + re.escape(suffix))
    alike = [name for name in names if pattern.fullmatch(name)]
    if len(alike) == 1:
        return alike[0], f"took {alike[0]}, since no {wanted} is there"
    held = [name for name in names if Path(name).suffix == suffix][:5]
    return "", f"no {wanted}" + (f", but {', '.join(held)}" if held else "")
