"""Builds, checks and grades the assignments of the book.

A student's code never shares a process with a test: the notebook runs in a sandbox
that only answers function calls, and the tests ask and judge from outside.

Modules, each of which imports only those before it:

    files, codec, answers, student, weights, testing, suite, checking
                 what students get too: values as bytes, tests, `check` in the notebook
    filters, frames, processes, session, worker, sandbox
                 the boundary: the process that runs a notebook, and its walls
    assignment, notebooks, build
                 a master and its tests; starter, instructor's notebook and zip
    submissions, mark, tables, manual, grade, report, export
                 a class: reading, marking, points by hand, tables, pages, other systems
    hostile, mutants, prove
                 submissions made to go wrong, and the proof that all is judged right

The command line is `python -m coursekit`.
"""
