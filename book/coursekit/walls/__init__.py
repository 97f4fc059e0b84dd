"""The boundary between the grader and a student's code.

`session`, `worker` and `template` run inside the sandbox, with what they import.

    files      files read without trust, and written whole
    codec      values as bytes and back; nothing read there can run code
    cells      cells of Jupyter as plain Python
    answers    calls what a notebook defines, for a test that asks
    frames     messages over a socket
    filters    system calls that a submission may not make
    processes  what processes hold, and their end
    inner      the walls of one submission, within those of bubblewrap
    permits    processes that start by leave of the keeper alone
    shell      what a cell asks of IPython, inside
    session    runs a notebook's cells and forks for each test, inside
    worker     the keeper: holds the session to its limits, inside
    template   imports torch once, and forks a keeper for each submission, inside
    kernel     control groups: what a sandbox may hold, counted by the kernel
    bubble     bubblewrap's command lines
    begin      begins a sandbox and waits for its end
    sandbox    the grader's end of a sandbox, and whether there can be one
    forks      the grader's own work in several processes
"""
