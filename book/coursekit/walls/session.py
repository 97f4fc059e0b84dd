"""The student's side of the sandbox: runs a notebook's cells, and forks for each test.

Whatever happens here is the student's business; `coursekit.walls.worker` watches it.
"""

import json
import linecache
import os
import socket
import sys
import threading
import types
from collections.abc import Callable

import torch

from coursekit.walls.answers import Answers, own_state
from coursekit.walls.filters import forbid_processes
from coursekit.walls.frames import Reader, send
from coursekit.walls.processes import SET_DEATH_SIGNAL, prctl
from coursekit.walls.shell import Shell, execute, uncompiled


def apart(function: Callable, **arguments) -> str:
    """Call in a thread that may start no process; this one still has to, for tests."""
    results = []

    def call() -> None:
        forbid_processes()
        results.append(function(**arguments))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return results[0] if results else "the thread ended"


def run_cell(source: str, number: int, names: dict) -> str:
    """Run a cell among `names`; what went wrong in it, or nothing."""
    file = f"<cell {number}>"
    try:
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        execute(source, file, names)
    except BaseException as error:
        return Answers(names).describe(error)[:500]
    return ""


def serve(sock: socket.socket, names: dict, seed: int) -> None:
    """Answer the requests of one test until its end."""
    answers, reader = Answers(names), Reader(sock)
    with own_state(seed):
        while request := reader.message():
            send(sock, answers.reply(request))


def session(control: socket.socket) -> None:
    """Run cells and fork for tests, as the keeper says; never returns."""
    torch.compile = uncompiled
    names, first = new_names(), os.getppid() == 1
    reader = Reader(control)
    while True:
        order = json.loads(reader.message())
        if "source" in order:
            send(control, json.dumps(apart(run_cell, names=names, **order)).encode())
            continue
        _, (given,), _, _ = socket.recv_fds(control, 1, 1)
        child = os.fork()
        with socket.socket(fileno=given) as sock:
            if child == 0:
                control.close()
                try:
                    forbid_processes()
                    if first:  # the keeper ends it, and not the session's end
                        prctl(SET_DEATH_SIGNAL, 0)
                    serve(sock, names, order["seed"])
                finally:
                    os._exit(0)
        os.waitpid(child, 0)
        send(control, b"null")


def new_names() -> dict:
    """An empty notebook; `check` does nothing here, since tests ask from outside."""
    main = types.ModuleType("__main__")
    shell = Shell(main.__dict__)
    main.display = lambda *args, **kwargs: None
    main.get_ipython = lambda: shell
    _stand_in("coursekit.checking", check=lambda *args, **kwargs: None)
    _stand_in("IPython.core.getipython", get_ipython=main.get_ipython)
    sys.modules["__main__"] = main
    return main.__dict__


def _stand_in(name: str, **holds: object) -> None:
    """A module that holds these, for whoever imports the name."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(holds)


def silence() -> None:
    """Send what the student's code prints to nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
