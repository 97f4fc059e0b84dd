"""The command line: python -m coursekit --help, and COMMAND --help for each command."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from textwrap import indent

MISUSED = 2
PROBLEMS = 3  # exit code: something is graded wrongly, or could not be graded


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 fine, 2 misused, 3 needs attention."""
    options = parser().parse_args(arguments)
    # after --help, since torch takes seconds
    from coursekit.authoring.assignment import AssignmentError
    from coursekit.grading.tables import TableError
    from coursekit.testing.suite import SuiteError
    from coursekit.walls.files import Unreadable
    from coursekit.walls.sandbox import NoSandbox

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

    def command(name, run):
        text = run.__doc__.partition("\n")[0]
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)

        def option(*names, **more) -> None:
            added.add_argument(*names, **more)

        return option

    one = {"help": "name of an assignment, or its folder"}
    cores = os.cpu_count() or 1
    help_ = "how many notebooks to judge at once (default: %(default)s, one a core)"
    processes = {"type": int, "default": cores, "help": help_}
    secret = {"type": Path, "help": "a file with the secret (or set COURSE_SECRET)"}
    results = {"type": Path, "help": "the folder that grade --out has made"}
    folder = {"type": Path, "help": "one file or folder for each student"}
    help_ = "plain, canvas, moodle or a pattern with (?P<student>...)"
    names = {"default": "plain", "help": help_}

    option = command("build", run_build)
    option("assignment", **one)
    help_ = "also write the solution, with all it needs, here"
    option("--instructor", type=Path, metavar="DIR", help=help_)

    option = command("check", run_check)
    option("assignment", **one)
    option("notebook", type=Path, help="the notebook, with its files beside it")

    option = command("grade", run_grade)
    option("folder", **folder)
    option("--assignment", required=True, **one)
    help_ = "where reports go; taken up again if it is there"
    option("--out", type=Path, default=Path("grades"), help=help_)
    option("--names", **names)
    option("--roster", type=Path, help="CSV file with the ids of the class")
    help_ = "points for written answers; may be given several times"
    option("--manual", type=Path, action="append", default=[], help=help_)
    option("--overlay", type=Path, help="folder with private tests")
    option("--secret-file", **secret)
    option("--jobs", **processes)
    option("--again", action="store_true", help="judge everything anew")
    option("--quiet", action="store_true", help="no progress bar")
    help_ = (
        "without bubblewrap: submissions can then read your files, hidden tests and "
        "the secret included, and use the network; only for code that you trust"
    )
    option("--unsafe", action="store_true", help=help_)

    option = command("prove", run_prove)
    option("assignments", nargs="+", metavar="ASSIGNMENT", **one)
    option("--quick", action="store_true", help="few of the mutants")
    option("--jobs", **processes)

    option = command("export", run_export)
    option("system", choices=["canvas", "moodle", "gradescope"], help="for whom")
    option("results", **results)
    option("--course", type=Path, help="the table that Canvas or Moodle has given out")
    option("--column", help="Canvas: the assignment's column in that table")
    option("--match", help="the column there that holds our ids")
    option("--points", default="total", help="total (default) or auto")
    option("--out", type=Path, required=True, help="file, for Gradescope a folder")

    option = command("leaderboard", run_leaderboard)
    option("results", **results)
    option("--out", type=Path, required=True, help="folder for the page")
    help_ = "whose points count; all whose tests measure something by default"
    option("--questions", nargs="+", default=[], help=help_)
    help_ = "numbers that break ties, high first"
    option("--high", nargs="+", default=[], help=help_)
    option("--low", nargs="+", default=[], help="and then these, low first")
    option("--ids", action="store_true", help="ids, and no pseudonyms")
    option("--secret-file", **secret)

    option = command("similar", run_similar)
    option("folder", **folder)
    option("--assignment", required=True, **one)
    option("--out", type=Path, required=True, help="folder for the page and the table")
    option("--names", **names)
    option("--shown", type=int, default=20, help="pairs to show side by side")
    return top


def run_build(options) -> int:
    """Make the students' zip from the master."""
    from coursekit.authoring.assignment import load
    from coursekit.authoring.build import build

    for path in build(load(options.assignment), options.instructor):
        print(path)
    return 0


def run_check(options) -> int:
    """Run the public tests on one notebook, in a sandbox."""
    from coursekit.authoring.assignment import load
    from coursekit.grading.mark import mark
    from coursekit.grading.submissions import Submission

    beside = [path for path in options.notebook.parent.iterdir() if path.is_file()]
    files = {path.name: path for path in beside if path.suffix != ".ipynb"}
    files[options.notebook.name] = options.notebook
    assignment = load(options.assignment)
    result = mark(assignment, Submission(options.notebook.stem, files))
    public = "".join(path.read_text(encoding="utf-8") for path in assignment.public)
    shown = [v for v in result.verdicts if f"def {v.test}(" in public]
    for verdict in shown:
        said = "ok" if verdict.passed else "NO"
        print(f"{said}  {verdict.question}  {verdict.title}")
        if not verdict.passed:
            print(indent(verdict.message, " " * 4))
    if result.reason:
        print(result.reason)
    return 0 if shown and all(verdict.passed for verdict in shown) else PROBLEMS


def run_grade(options) -> int:
    """Grade a folder of submissions."""
    from coursekit.authoring.assignment import load
    from coursekit.grading.archives import place
    from coursekit.grading.folder import check_place, held, sweep
    from coursekit.grading.grade import SECRET, Options, grade, read_secret
    from coursekit.grading.manual import bring_in, read_tables
    from coursekit.grading.submissions import collect
    from coursekit.grading.tables import read_roster
    from coursekit.reports.report import tidy, write_reports
    from coursekit.walls.sandbox import MEANING, UNSAFE

    began = time.monotonic()
    assignment = load(options.assignment, options.overlay)
    roster = read_roster(options.roster) if options.roster else None
    secret = read_secret(options.secret_file)
    if not secret:
        print(f"no secret: seeds can be known (set {SECRET} or use --secret-file)")
    if options.unsafe:
        print(f"UNSAFE, {MEANING[UNSAFE]}")
    check_place(options.out, options.folder, assignment)
    chosen = Options(
        jobs=max(1, options.jobs),
        secret=secret,
        unsafe=options.unsafe,
        again=options.again,
        quiet=options.quiet,
    )
    with held(options.out), place(options.out) as room:
        sweep(options.out)
        submissions = collect(options.folder, options.names, roster, room)
        students = [submission.student for submission in submissions]
        manual = (options.out / "manual.csv", options.manual, assignment)
        read_tables(*manual, students)  # its faults come early
        results = grade(assignment, submissions, options.out, chosen)
        given = bring_in(*manual, results)  # with points that came in meanwhile
        tidy(options.out, students)
        rows = write_reports(options.out, results, assignment, given, roster or ())
    for row in rows:
        if row.status != "ok":
            print(f"{row.status:<10} {row.student}: {row.reason()}")
    graded = sum(result.graded for result in results)
    spent = time.monotonic() - began
    mean = sum(result.seconds for result in results) / max(1, graded)
    print(f"{graded} of {len(rows)} graded in {spent:.0f} s, {mean:.1f} s each")
    print(options.out / "overview.html")
    fine = {"ok", "look", "missing"}
    return 0 if all(row.status in fine for row in rows) else PROBLEMS


def run_prove(options) -> int:
    """Prove that assignments grade themselves, and put it on record."""
    from coursekit.authoring.assignment import load
    from coursekit.authoring.proof import record
    from coursekit.authoring.prove import prove

    failed = False
    for assignment in [load(name) for name in options.assignments]:
        began = time.monotonic()
        wrong = prove(assignment, options.jobs, options.quick)
        spent = time.monotonic() - began
        print(f"{assignment.name}: {'NOT ' if wrong else ''}proved in {spent:.0f} s")
        for line in wrong:
            print(f"  {line}")
        if not wrong and not options.quick:
            record(assignment)
        failed = failed or bool(wrong)
    return PROBLEMS if failed else 0


def run_export(options) -> int:
    """Write grades in another system's form."""
    from coursekit.grading.tables import TableError
    from coursekit.reports.export import canvas, gradescope_all, moodle

    grades, out = options.results / "grades.csv", options.out
    chosen = {"column": options.points}
    if options.match:
        chosen["match"] = options.match
    if options.system == "gradescope":
        away = gradescope_all(options.results, out, options.points)
    elif options.course is None:
        raise TableError(f"--course: the table that {options.system} has given out")
    elif options.system == "moodle":
        away = moodle(grades, options.course, out, **chosen)
    elif not options.column:
        raise TableError("--column: the assignment's column in Canvas's table")
    else:
        away = canvas(grades, options.course, out, options.column, **chosen)
    print(out)
    if away:
        print(f"without a grade: {', '.join(away)}")
    return 0


def run_leaderboard(options) -> int:
    """Rank a class, under other names."""
    from coursekit.grading.grade import SECRET, read_secret
    from coursekit.reports.leaderboard import write_board

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


def run_similar(options) -> int:
    """List where the code of submissions agrees, for you to look at."""
    from coursekit.authoring.assignment import load
    from coursekit.grading.submissions import collect
    from coursekit.reports.similarity import in_words, write_similarity

    assignment = load(options.assignment)
    with tempfile.TemporaryDirectory() as room:
        submissions = collect(options.folder, options.names, None, Path(room, "zips"))
        chosen = (options.out, assignment, submissions, options.shown)
        pairs, away = write_similarity(*chosen)
    for student, why in away.items():
        print(f"{student}: {why}")
    print(*in_words(pairs), options.out / "similarity.html", sep="\n")
    return 0


if __name__ == "__main__":
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.default_int_handler)
    sys.exit(main())
