"""Files read without trust and written whole."""

import os
import stat
from pathlib import Path

FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"):  # what this system has of them
    FLAGS |= getattr(os, _flag, 0)


class Unreadable(Exception):
    """A file that cannot be taken for what it should be; the text says why."""


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises Unreadable for a link, a pipe, a folder, a larger file or a missing one.
    """
    try:
        opened = os.open(path, FLAGS)
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise Unreadable(f"{path.name} is not a regular file")
        with os.fdopen(opened, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(opened)
    if len(data) > limit:
        raise Unreadable(f"{path.name} is larger than {limit / 2**20:g} MiB")
    return data


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, then put it there: it is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
