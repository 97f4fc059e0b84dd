"""The boundary between the grader and a student's code.

`codec` and `files` read without trust. `worker`, `session` and `answers` run inside the
sandbox, behind the limits of `filters` and `processes`; `frames` carries messages, and
`sandbox` is the grader's end. `forks` spreads the grader's own work.
"""
