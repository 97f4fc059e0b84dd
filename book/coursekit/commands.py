"""What each command does; every one returns an exit code."""

import time

from coursekit.tables import TableError

PROBLEMS = 3  # exit code: something is graded wrongly, or could not be graded


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
    from coursekit.manual import merged, read_tables, write_manual
    from coursekit.report import tidy, write_reports
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
    students = [submission.student for submission in submissions]
    kept = options.out / "manual.csv"
    read_tables(kept, options.manual, assignment, students)  # its faults come early
    chosen = Options(
        jobs=max(1, options.jobs),
        secret=secret,
        unsafe=options.unsafe,
        again=options.again,
        quiet=options.quiet,
    )
    results = grade(assignment, submissions, options.out, chosen)
    tables = read_tables(kept, options.manual, assignment, students)
    given = merged(tables, results)
    if assignment.written:
        write_manual(kept, results, given, assignment)
    tidy(options.out, students)
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
    from coursekit.proof import record
    from coursekit.prove import prove, prove_hostile

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
        away = gradescope_all(options.results, options.out, options.points)
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
