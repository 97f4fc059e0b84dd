"""The command line: python -m coursekit --help, and COMMAND --help for each command."""

import argparse
import os
import signal
import sys
from pathlib import Path

from coursekit import commands as do
from coursekit.tables import TableError

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
    sub = command("build", do.run_build, "Make the students' zip from the master.")
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

    sub = command("check", do.run_check, "Run the public tests on one notebook.")
    sub.add_argument("assignment", **one)
    sub.add_argument("notebook", type=Path)

    sub = command("grade", do.run_grade, "Grade a folder of submissions.")
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
    sub.add_argument(
        "--manual",
        type=Path,
        action="append",
        default=[],
        help="points for written answers; may be given several times",
    )
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

    sub = command("prove", do.run_prove, "Prove that assignments grade themselves.")
    sub.add_argument("assignments", nargs="+", metavar="ASSIGNMENT")
    sub.add_argument("--quick", action="store_true", help="reference and blank only")
    sub.add_argument(
        "--hostile",
        action="store_true",
        help="also grade the hostile set, made from the first",
    )
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1)

    sub = command("rehearse", do.run_rehearse, "Make a class to rehearse grading with.")
    sub.add_argument("assignment", **one)
    sub.add_argument("folder", type=Path, help="where class, roster and table go")
    sub.add_argument("--students", type=int, default=40)
    sub.add_argument(
        "--compare",
        type=Path,
        metavar="RESULTS",
        help="make nothing; compare the grades there with the table that is due",
    )

    sub = command("export", do.run_export, "Write grades in another system's form.")
    sub.add_argument("system", choices=["canvas", "moodle", "gradescope"])
    sub.add_argument("results", type=Path, help="the folder that grade --out has made")
    sub.add_argument(
        "--course", type=Path, help="the table that Canvas or Moodle has given out"
    )
    sub.add_argument("--column", help="Canvas: the assignment's column in that table")
    sub.add_argument("--match", help="the column there that holds our ids")
    sub.add_argument("--points", default="total", help="total (default) or auto")
    sub.add_argument("--out", type=Path, required=True)

    sub = command("leaderboard", do.run_leaderboard, "Rank a class, under other names.")
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


if __name__ == "__main__":
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.default_int_handler)
    sys.exit(main())
