"""Files read without trust and written whole."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"):  # what this system has of them
    FLAGS |= getattr(os, _flag, 0)


# What helps where a file cannot be written.
REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space there")
REMEDIES |= dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EBUSY),
    "close the program that has it open, or make the folder writable",
)


class Unwritable(OSError):
    """A place where no file can be put; the text names it, the reason and a remedy."""


def unwritable(path: Path, error: OSError) -> Unwritable:
    """The error for a place, from that of the system."""
    remedy = REMEDIES.get(error.errno, "choose another place or mend this one")
    return Unwritable(
        f"{path} cannot be written ({error.strerror or error}): {remedy}, then the "
        "same command goes on"
    )


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
    """Write a file beside its place, then put it there: it is complete or not there.

    It is on the disk before it is put there, so that a power cut leaves what was there
    before, or all of what is new.

    Raises Unwritable for a full disk, a file that is held open, and the like.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def linked(path: Path, name: Path) -> None:
    """Give a file a second name, instead of the file that had it.

    A program that has it open then goes on writing into this one.
    """
    partial = name.with_name(f"{name.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.link(path, partial)
        os.replace(partial, name)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise unwritable(name, error) from error
        write(name, path.read_bytes())  # a disk without second names
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
