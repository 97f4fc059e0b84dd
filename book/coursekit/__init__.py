"""Builds, checks and grades the assignments of the book.

A student's code never shares a process with a test: the notebook runs in a sandbox
that only answers function calls, and the tests ask and judge from outside.

Each room imports only from itself and from the rooms above it in this list:

    walls        the boundary: values as bytes, files without trust, the process that
                 runs a notebook, and what it may not do
    testing      what tests are written with, how they are run, and their verdicts
    authoring    a master and its tests; starter, zip, wrong solutions, the proof
    grading      a class: submissions, results, points by hand
    reports      tables and pages, other systems' files, a leaderboard

Beside them stand the two ways in: `python -m coursekit` for who teaches, in
`__main__`, and `checking`, whose `check` answers students in their notebook.
"""
