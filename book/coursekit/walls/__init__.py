"""The boundary between the grader and a student's code.

`session` and `worker` run inside the sandbox, with what they import.

    files      files read without trust, and written whole
    codec      values as bytes and back; nothing read there can run code
    answers    calls what a notebook defines, for a test that asks
    frames     messages over a socket
    filters    system calls that a submission may not make
    processes  what processes hold, and their end
    session    runs a notebook's cells and forks for each test, inside
    worker     keeps the session within its limits, inside
    sandbox    bubblewrap's walls, and the grader's end of them
    forks      the grader's own work in several processes
"""
