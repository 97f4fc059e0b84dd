"""Files read without trust and written whole."""

import os
import stat
from pathlib import Path


class Unreadable(Exception):
    """A file that cannot be taken for what it should be; the text says why."""


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises Unreadable for a link, a pipe, a folder, a larger file or a missing one.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror}") from error
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise Unreadable(f"{path.name} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"{path.name} is larger than {limit / 2**20:g} MiB")
    return data


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, then put it there: it is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
