"""Runs inside bubblewrap: imports torch once, and forks a sandbox for each submission.

    grader --orders--> template --fork--> guard --fork--> keeper, in walls of its own

An order is JSON with the limits and the names of files, and carries a socket to the
grader and the files, all open. The template itself never reads what a student wrote.
"""

import json
import os
import signal
import socket

from coursekit.walls import inner
from coursekit.walls.frames import send
from coursekit.walls.worker import keep, prepare

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


def main() -> None:
    """Say that all is imported, at the socket on standard input, and serve."""
    orders = prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards that end leave nothing
    orders.send(b"ready")
    serve(orders)


if __name__ == "__main__":
    main()
