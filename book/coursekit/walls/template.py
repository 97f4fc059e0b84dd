"""Runs in a sandbox: imports torch once, and forks a keeper for each submission.

    grader --orders--> template --fork--> guard --fork--> keeper, in walls of its own

An order is JSON with the limits and the names of files, and carries a socket to the
grader and the files, all open. The template itself never reads what a student wrote.
Where bubblewrap is for one submission alone, this becomes its keeper and forks nothing.
"""

import gc
import json
import os
import signal
import socket
import sys
import tempfile

# Torch imports dill where it is installed, and dill asks for a folder that can be
# written, which there is in a submission's walls, but not yet in the template's.
tempfile.tempdir = os.environ.get("TMPDIR")
import torch  # noqa: E402

from coursekit.walls import inner  # noqa: E402
from coursekit.walls.answers import own_state  # noqa: E402
from coursekit.walls.codec import decode, encode  # noqa: E402
from coursekit.walls.frames import send  # noqa: E402
from coursekit.walls.worker import keep  # noqa: E402

ORDER = 2**16  # bytes of an order
MOST = 250  # files that come along


def serve(orders: socket.socket) -> None:
    """Fork for each order, until the grader and its forks have all gone."""
    while True:
        order, given, _, _ = socket.recv_fds(orders, ORDER, MOST)
        if not order:
            return
        if os.fork() == 0:
            try:
                orders.close()
                guard(json.loads(order), given)
            finally:
                os._exit(1)
        for file in given:
            os.close(file)


def guard(order: dict, given: list[int]) -> None:
    """Start a keeper as the first of its processes, and wait for its end."""
    channel = socket.socket(fileno=given[0])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        kinds = inner.NEW_FILES | inner.NEW_QUEUES | inner.NEW_NETWORK
        inner.unshare(kinds | inner.NEW_PROCESSES)
        keeper = os.fork()
        if keeper:
            channel.close()
            for file in given[1:]:
                os.close(file)
            os.waitpid(keeper, 0)
            os._exit(0)
        inner.own_files(
            order["limits"]["disk"], dict(zip(order["files"], given[1:], strict=True))
        )
        inner.own_network()
        inner.leave_root()
        inner.own_user()
        inner.give_up()
    except OSError as error:
        send(channel, json.dumps({"failed": str(error)}).encode())
        os._exit(1)
    keep(channel, order["limits"], apart=True)


def prepare() -> socket.socket:
    """Load what all submissions use, before the forks; the socket to the grader.

    Objects made so far are kept from Python's garbage collector, which would else look
    at all of torch's in every fork, a tenth of a second each time.
    """
    sock = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    torch.set_num_threads(1)
    decode(encode(torch.zeros(1)))
    with own_state(0):
        pass
    gc.collect()
    gc.freeze()
    return sock


def main() -> None:
    """Serve the grader at the socket on standard input.

    With limits as JSON on the command line keep them for one submission, which is
    "apart" if it is in a sandbox; without them fork for each that is ordered.
    """
    channel = prepare()
    if sys.argv[1:]:
        apart = sys.argv[2] == "apart"
        if apart:
            inner.give({name: f"/given/{name}" for name in os.listdir("/given")})
            inner.leave_root()
        keep(channel, json.loads(sys.argv[1]), apart)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards that end leave nothing
    channel.send(b"ready")
    serve(channel)


if __name__ == "__main__":
    main()
