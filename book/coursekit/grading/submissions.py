"""What a class has handed in: who, and which files.

A student is known by what the spellings of a name have in common (`names.key`), so no
grade goes to another and none is lost by the way in which a system writes letters.
"""

import re
import stat
import unicodedata
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.grading.archives import CLUTTER, MOST_FILES, opened
from coursekit.grading.names import key, sight, spelled, visible

MOST_FOLDERS = 1000
# How learning platforms name what they give out; `student` is the id that counts. The
# first place that fits is taken, since students choose what the files are called.
NAMES = {
    "plain": r"(?P<student>.*)",
    "canvas": r".*?_(?:LATE_)?(?P<student>\d+)_"
    r"(?:(?P<number>\d+)_|(?=(?:text|link)\.html$))(?P<file>.+)",
    "moodle": r".*?_(?P<student>\d+)_assignsubmission_"
    r"(?:file|onlinetext)_?(?P<file>.*)",
}
MOODLE = "_assignsubmission_"
# What browsers and platforms add to the name of a second file.
RENAMED = r"(?:[-_]\d+| ?\(\d+\))?"


@dataclass(frozen=True)
class Submission:
    """One student's files by name; `problem` says why they cannot be graded.

    Files near the top come first; `notes` are remarks on names and archives.
    """

    student: str
    files: dict[str, Path] = field(default_factory=dict)
    problem: str = ""
    status: str = ""  # "duplicate" or "unknown" where that is the problem
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """An entry of the folder; `part` says whether others may belong to it."""

    name: str
    submission: Submission
    part: bool = False


def collect(
    folder: Path,
    names: str = "plain",
    roster: Iterable[str] | None = None,
    room: Path | None = None,
) -> list[Submission]:
    """The submissions in a folder: one file or one folder for each student.

    Args:
        folder: holds `STUDENT.ipynb` or `STUDENT/...`, or what a platform made
        names: "plain", "canvas", "moodle", or a pattern with the group `student` and,
            for a file whose own name is a part of it, `file`
        roster: the ids that there are; others are not graded, but reported
        room: a folder to unpack zip archives in; without it they stay closed

    Two entries of one student that are not parts of one submission, and ids that the
    roster does not have, come back with a `problem` and are not to be graded.

    Raises AssignmentError for a pattern or a folder that is none.
    """
    if not folder.is_dir():
        raise AssignmentError(
            f"{folder} is no folder with submissions; an archive is to be unpacked"
        )
    pattern = _pattern(names)
    known = None if roster is None else {key(student): student for student in roster}
    together: dict[str, list[Entry]] = {}
    for path in sorted(folder.iterdir()):
        if not CLUTTER.search(path.name):
            entry = _entry(path, pattern, names, known or {})
            together.setdefault(key(entry.submission.student), []).append(entry)
    found = [_whole(entries) for entries in together.values()]
    if room:
        found = [_unpacked(one, room / str(n)) for n, one in enumerate(found)]
    if known is None:
        return _alike(found)
    return [_enrolled(one, known) for one in found]


def _pattern(names: str) -> re.Pattern:
    try:
        pattern = re.compile(NAMES.get(names, names), re.DOTALL)
    except re.error as error:
        raise AssignmentError(f"{names!r} is no pattern: {error}") from error
    if "student" not in pattern.groupindex:
        raise AssignmentError(f"{names!r} has no group (?P<student>...)")
    return pattern


def _entry(path: Path, pattern: re.Pattern, names: str, known: dict[str, str]) -> Entry:
    """Whose an entry of the folder is, and what is in it."""
    kind = path.lstat().st_mode
    name = path.stem if names == "plain" and not stat.S_ISDIR(kind) else path.name
    match = pattern.fullmatch(name)
    given = match["student"] if match else name
    student, raw = spelled(given), unicodedata.normalize("NFC", given)
    groups = match.groupdict() if match else {}
    other = known.get(key(groups.get("number") or ""))
    files: dict[str, Path] = {}
    notes: list[str] = []
    problem = ""
    if stat.S_ISLNK(kind):
        problem = "it is a link: put the file itself there"
    elif not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
        problem = "it is no file, but a pipe, a socket or a device"
    elif not match:
        problem = "its name does not follow the pattern"
    elif not student:
        problem = "its name says no student"
    elif name.count(MOODLE) > 1 and names == "moodle":
        student, problem = "", "its name can be read in two ways: rename it"
    elif other and key(other) != key(student):
        problem = f"it may be of {student} or of {other}: rename it"
        student = ""
    elif stat.S_ISDIR(kind):
        files, notes = _below(path)
        problem = notes[0] if notes and not files else ""
    else:
        files = {visible(groups.get("file") or path.name): path}
    if student and " ".join(raw.split()) != student:
        notes.append(f"odd characters in the name {raw!a}")
    part = bool(groups.get("file")) or names == "moodle"
    student = student or spelled(path.name) or visible(path.name)
    one = Submission(student, files, problem, notes=tuple(notes))
    return Entry(visible(path.name), one, part and not problem)


def _whole(entries: list[Entry]) -> Submission:
    """The submission of one student, of entries that are its parts, or of one."""
    first, *others = entries
    one, files = first.submission, dict(first.submission.files)
    fits = first.part
    for other in others:
        fits = fits and other.part and not set(files) & set(other.submission.files)
        files |= other.submission.files
    if others and not fits:
        both = ", ".join(entry.name for entry in entries)
        problem = f"handed in twice: {both}; keep one"
        return replace(one, files=files, problem=problem, status="duplicate")
    notes = [note for entry in entries for note in entry.submission.notes]
    return replace(one, files=files, notes=tuple(notes))


def _enrolled(submission: Submission, known: dict[str, str]) -> Submission:
    """A submission under its id on the roster, or as one of nobody there."""
    student = submission.student
    if listed := known.get(key(student)):
        notes = submission.notes
        if spelled(listed).lower() != student.lower():
            notes = (*notes, f"handed in as {student}, taken for {listed}")
        return replace(submission, student=listed, notes=notes)
    problem = submission.problem
    problem = problem or "not on the roster: correct the name of the file or the roster"
    looks = {sight(name): name for name in known.values()}
    if like := looks.get(sight(student)):
        problem = f"not on the roster, where {_apart(like, student)}"
    return replace(submission, problem=problem, status="unknown")


def _alike(found: list[Submission]) -> list[Submission]:
    """Submissions, with a remark on students whose names look the same."""
    seen: dict[str, str] = {}
    made = []
    for one in found:
        before = seen.setdefault(sight(one.student), one.student)
        if before != one.student:
            one = replace(one, notes=(*one.notes, _apart(before, one.student)))
        made.append(one)
    return made


def _apart(name: str, other: str) -> str:
    """What tells two names apart that look the same."""
    ours = sorted(set(key(other)) - set(key(name)))
    said = ", ".join(unicodedata.name(c, ascii(c)) for c in ours) or "its characters"
    return f"{name} looks the same; this one has {said}"


def _below(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder and of those in it, by name, those near the top first.

    Links are not followed; remarks say what was not looked at.
    """
    files: dict[str, Path] = {}
    notes: list[str] = []
    waiting, folders = deque([folder]), 1
    while waiting:
        here = waiting.popleft()
        try:
            paths = [p for p in sorted(here.iterdir()) if not CLUTTER.search(p.name)]
            inner = {p for p in paths if p.is_dir() and not p.is_symlink()}
        except OSError as error:
            notes.append(f"the folder {visible(here.name)}: {error.strerror}")
            continue
        for path in paths:
            if path in inner:
                waiting.append(path)
                folders += 1
            else:
                files[visible(path.relative_to(folder).as_posix())] = path
            if len(files) > MOST_FILES or folders > MOST_FOLDERS:
                many = f"more than {MOST_FILES} files or {MOST_FOLDERS} folders"
                notes.append(f"{many}: those below were not read")
                return files, notes
    return files, notes[:5]


def _unpacked(submission: Submission, room: Path) -> Submission:
    """A submission with the files of its archives."""
    if submission.problem:
        return submission
    files, notes, problem = opened(submission.files, room)
    notes = (*submission.notes, *notes)
    return replace(submission, files=files, notes=notes, problem=problem)


def handed_in(
    submission: Submission, assignment: Assignment
) -> tuple[dict[str, Path], list[str]]:
    """The files beside the notebook that the assignment asks for, and remarks.

    One that is missing is replaced by the one file with its name and a number, or in
    other letters, but not by one that came with the assignment. Of two with the same
    name the one nearer to the top is taken.
    """
    by_name: dict[str, Path] = {}
    twice = set()
    for at, path in submission.files.items():
        name = at.rpartition("/")[2]
        if not _odd(path) and by_name.setdefault(name, path) is not path:
            twice.add(name)
    found = {n: by_name[n] for n in assignment.files if n in by_name}
    notes = [f"more than one {n}: took the first" for n in found if n in twice]
    ours = {path.name for path in assignment.paths("files")}
    others = sorted(set(by_name) - set(found) - ours)
    for wanted in assignment.files:
        if wanted not in found:
            name, note = _renamed(wanted, others)
            found |= {wanted: by_name[name]} if name else {}
            notes.append(note)
    return found, notes


def _odd(path: Path) -> bool:
    """Whether a file is a link, a pipe, a socket or a device."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False  # whoever reads it says what is wrong


def _renamed(wanted: str, names: list[str]) -> tuple[str, str]:
    """The file that was meant for a missing one, empty if none, and a remark."""
    stem, suffix = Path(wanted).stem, Path(wanted).suffix
    pattern = re.compile(re.escape(stem) + RENAMED + re.escape(suffix), re.IGNORECASE)
    alike = [name for name in names if pattern.fullmatch(name)]
    if len(alike) == 1:
        return alike[0], f"took {alike[0]}, since no {wanted} is there"
    held = [name for name in names if Path(name).suffix == suffix][:5]
    return "", f"no {wanted}" + (f", but {', '.join(held)}" if held else "")
