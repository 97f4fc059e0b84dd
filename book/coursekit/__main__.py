"""The command line: python -m coursekit --help, and COMMAND --help for each command."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from coursekit.tables import TableError

PROBLEMS = 3  # exit code: something is graded wrongly, or could not be graded
MISUSED = 2


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 fine, 2 misused, 3 needs attention."""
    options = parser().parse_args(arguments)
    # after --help, since torch takes seconds
    from coursekit.assignment import AssignmentError
    from coursekit.files import Unreadable
    from coursekit.sandbox import NoSandbox
    from coursekit.suite import SuiteError

    expected = (AssignmentError, SuiteError, TableError, NoSandbox, Unreadable, OSError)
    try:
        return options.run(options)
    except expected as error:
        print(f"coursekit: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("coursekit: interrupted; the same command goes on", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m coursekit", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, text) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    one = {"help": "name of an assignment, or its folder"}
    sub = command("build", run_build, "Make the students' zip from the master.")
    sub.add_argument("assignment", **one)
    sub.add_argument(
        "--instructor",
        type=Path,
        metavar="DIR",
        help="also write the solution, with all it needs, here",
    )
    sub.add_argument(
        "--compare",
        action="store_true",
        help="write nothing; fail if the zip is not up to date",
    )

    sub = command("check", run_check, "Run the public tests on one notebook.")
    sub.add_argument("assignment", **one)
    sub.add_argument("notebook", type=Path)

    sub = command("grade", run_grade, "Grade a folder of submissions.")
    sub.add_argument("folder", type=Path, help="one file or folder for each student")
    sub.add_argument("--assignment", required=True, **one)
    sub.add_argument(
        "--out",
        type=Path,
        default=Path("grades"),
        help="where reports go; taken up again if it is there",
    )
    sub.add_argument(
        "--names",
        default="plain",
        help="plain, canvas, moodle or a pattern with (?P<student>...)",
    )
    sub.add_argument("--roster", type=Path, help="CSV file with the ids of the class")
    sub.add_argument("--manual", type=Path, help="points for written answers")
    sub.add_argument("--overlay", type=Path, help="folder with private tests")
    sub.add_argument(
        "--secret-file", type=Path, help="seeds come from it (or from COURSE_SECRET)"
    )
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    sub.add_argument("--again", action="store_true", help="judge everything anew")
    sub.add_argument("--quiet", action="store_true", help="no progress bar")
    sub.add_argument(
        "--unsafe",
        action="store_true",
        help="without bubblewrap: submissions can then read your files, "
        "hidden tests and the secret's file included, and use the "
        "network; only for code that you trust",
    )

    sub = command("prove", run_prove, "Prove that assignments grade themselves.")
    sub.add_argument("assignments", nargs="+", metavar="ASSIGNMENT")
    sub.add_argument("--quick", action="store_true", help="reference and blank only")
    sub.add_argument(
        "--hostile",
        action="store_true",
        help="also grade the hostile set, made from the first",
    )
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1)

    sub = command("rehearse", run_rehearse, "Make a class to rehearse grading with.")
    sub.add_argument("assignment", **one)
    sub.add_argument("folder", type=Path, help="where class, roster and table go")
    sub.add_argument("--students", type=int, default=40)
    sub.add_argument(
        "--compare",
        type=Path,
        metavar="RESULTS",
        help="make nothing; compare the grades there with the table that is due",
    )

    sub = command("export", run_export, "Write grades in another system's form.")
    sub.add_argument("system", choices=["canvas", "moodle", "gradescope"])
    sub.add_argument("results", type=Path, help="the folder that grade --out has made")
    sub.add_argument(
        "--course", type=Path, help="the table that Canvas or Moodle has given out"
    )
    sub.add_argument("--column", help="Canvas: the assignment's column in that table")
    sub.add_argument("--match", help="the column there that holds our ids")
    sub.add_argument("--points", default="total", help="total (default) or auto")
    sub.add_argument("--out", type=Path, required=True)

    sub = command("leaderboard", run_leaderboard, "Rank a class, under other names.")
    sub.add_argument("results", type=Path, help="the folder that grade --out has made")
    sub.add_argument("--out", type=Path, required=True, help="folder for the page")
    sub.add_argument(
        "--questions",
        nargs="+",
        default=[],
        help="whose points count; all whose tests measure something by default",
    )
    sub.add_argument(
        "--high", nargs="+", default=[], help="numbers that break ties, high first"
    )
    sub.add_argument("--low", nargs="+", default=[], help="and then these, low first")
    sub.add_argument("--ids", action="store_true", help="ids, and no pseudonyms")
    sub.add_argument(
        "--secret-file", type=Path, help="pseudonyms come from it (or COURSE_SECRET)"
    )
    return top


def run_build(options) -> int:
    """Build, or compare with what is there."""
    from coursekit.assignment import load
    from coursekit.build import build, stale

    assignment = load(options.assignment)
    if options.compare:
        differs = stale(assignment)
        print(differs or "up to date")
        return PROBLEMS if differs else 0
    for path in build(assignment, options.instructor):
        print(path)
    return 0


def run_check(options) -> int:
    """Run the public tests on a notebook, in a sandbox, and print messages."""
    from coursekit.assignment import load
    from coursekit.mark import mark
    from coursekit.submissions import Submission

    files = {p.name: p for p in options.notebook.parent.iterdir() if p.is_file()}
    books = {n: p for n, p in files.items() if n.endswith(".ipynb")}
    files = {n: p for n, p in files.items() if n not in books}
    files[options.notebook.name] = options.notebook
    assignment = load(options.assignment)
    result = mark(assignment, Submission(options.notebook.stem, files))
    public = "".join(path.read_text(encoding="utf-8") for path in assignment.public)
    shown = [v for v in result["verdicts"] if f"def {v['test']}(" in public]
    for verdict in shown:
        passed = verdict["kind"] == "passed"
        print(f"{'ok' if passed else 'NO'}  {verdict['question']}  {verdict['title']}")
        print(f"    {verdict['message']}") if not passed else None
    print(result["reason"]) if result["reason"] else None
    return 0 if shown and all(v["kind"] == "passed" for v in shown) else PROBLEMS


def run_grade(options) -> int:
    """Grade a class and write all reports."""
    from coursekit.assignment import load
    from coursekit.grade import SECRET, Options, grade, read_secret
    from coursekit.manual import merged, write_manual
    from coursekit.report import write_reports
    from coursekit.sandbox import MEANING, UNSAFE
    from coursekit.submissions import collect
    from coursekit.tables import read_roster

    began = time.monotonic()
    assignment = load(options.assignment, options.overlay)
    roster = read_roster(options.roster) if options.roster else None
    secret = read_secret(options.secret_file)
    if not secret:
        print(f"no secret: seeds can be known (set {SECRET} or use --secret-file)")
    if options.unsafe:
        print(f"UNSAFE, {MEANING[UNSAFE]}")
    submissions = collect(options.folder, options.names, roster)
    chosen = Options(
        jobs=max(1, options.jobs),
        secret=secret,
        unsafe=options.unsafe,
        again=options.again,
        quiet=options.quiet,
    )
    results = grade(assignment, submissions, options.out, chosen)
    tables = [options.out / "manual.csv", *([options.manual] if options.manual else [])]
    given = merged(results, assignment, tables)
    if assignment.written:
        write_manual(options.out / "manual.csv", results, given, assignment)
    rows = write_reports(options.out, results, assignment, given, roster)
    for row in rows:
        if row["status"] != "ok":
            print(f"{row['status']:<10} {row['student']}: {row['reason']}")
    graded = sum(row["auto"] is not None for row in rows)
    spent = time.monotonic() - began
    each = sum(r["seconds"] for r in results) / max(1, graded)
    print(f"{graded} of {len(rows)} graded in {spent:.0f} s, {each:.1f} s each")
    print(options.out / "overview.html")
    fine = {"ok", "look", "missing"}
    return 0 if all(row["status"] in fine for row in rows) else PROBLEMS


def run_prove(options) -> int:
    """Prove assignments, put it on record, and the hostile set once."""
    from coursekit.assignment import load
    from coursekit.prove import prove, prove_hostile, record

    assignments = [load(name) for name in options.assignments]
    wrong = []
    for assignment in assignments:
        began = time.monotonic()
        found = prove(assignment, options.jobs, options.quick)
        report(assignment.name, found, began)
        wrong += found
        if not found and not options.quick:
            record(assignment)
    if options.hostile:
        began = time.monotonic()
        found, results = prove_hostile(assignments[0], options.jobs, quiet=False)
        report(f"{len(results)} hostile submissions", found, began)
        wrong += found
    return PROBLEMS if wrong else 0


def report(name: str, wrong: list[str], began: float) -> None:
    """Say how a proof has ended."""
    spent = time.monotonic() - began
    print(f"{name}: {'NOT ' if wrong else ''}proved in {spent:.0f} s")
    for line in wrong:
        print(f"  {line}")


def run_rehearse(options) -> int:
    """Make a class, or compare its grades with those that are due."""
    from coursekit.assignment import load
    from coursekit.rehearsal import differences, rehearse

    if options.compare:
        grades = options.compare / "grades.csv"
        wrong = differences(options.folder / "expected.csv", grades)
        print("\n".join(wrong) or "every number is right")
        return PROBLEMS if wrong else 0
    rows = rehearse(load(options.assignment), options.folder, options.students)
    print(f"{len(rows)} rows are due: {options.folder / 'expected.csv'}")
    return 0


def run_export(options) -> int:
    """Write a table or files for another system."""
    from coursekit.export import canvas, gradescope_all, moodle

    grades = options.results / "grades.csv"
    if options.system == "gradescope":
        away = gradescope_all(options.results, options.out)
    elif options.course is None:
        raise TableError(f"--course: the table that {options.system} has given out")
    else:
        given = {"column": options.points}
        given |= {"match": options.match} if options.match else {}
        if options.system == "canvas":
            if not options.column:
                raise TableError("--column: the assignment's column in Canvas's table")
            away = canvas(grades, options.course, options.out, options.column, **given)
        else:
            away = moodle(grades, options.course, options.out, **given)
    print(options.out)
    if away:
        print(f"without a grade: {', '.join(away)}")
    return 0


def run_leaderboard(options) -> int:
    """Write the board, and say where the key to its names is."""
    from coursekit.grade import SECRET, read_secret
    from coursekit.leaderboard import write_board

    secret = read_secret(options.secret_file)
    chosen = (options.questions, options.high, options.low)
    entries = write_board(
        options.results, options.out, *chosen, secret=secret, ids=options.ids
    )
    print(f"{len(entries)} submissions: {options.out / 'leaderboard.html'}")
    if not options.ids:
        print(f"who is who, for you alone: {options.results / 'pseudonyms.csv'}")
        if not secret:
            print(f"no secret: names are new each time (set {SECRET})")
    return 0


if __name__ == "__main__":
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.default_int_handler)
    sys.exit(main())
