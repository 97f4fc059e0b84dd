"""Zip archives that students hand in, unpacked without trust.

Nothing of an archive is believed: names are names and no paths, links and devices are
left out, and bytes, files and the list of files are limited before they are read.
"""

import io
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coursekit.grading.names import file_name, key, spelled
from coursekit.walls.files import Unreadable, read_bytes, write

LARGEST = 128 * 2**20  # bytes of an archive, and of what is in all of a student's
MOST_FILES = 200
LIST = 2 * 2**20  # bytes that are read at once: of the list of files, or of a file
# Left by systems and editors, and never an answer.
CLUTTER = re.compile(
    r"(^|/)(\.|__MACOSX|__pycache__|Thumbs\.db|desktop\.ini)", re.IGNORECASE
)
CLIMBS = re.compile(r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:")
ZIP = ".zip"
BOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.IGNORECASE)  # as browsers save it
OTHERS = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zst")
KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # a bit of a file's flags
# What reading a damaged one raises; an OSError is the disk's, and no fault of theirs.
WRONG = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError)
WRONG += (RuntimeError, LookupError, ArithmeticError)


class _Bounded(io.BytesIO):
    """Bytes of which not much is read at once, such as a list of a million files."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.size = len(data)

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self.tell())
        if min(left, left if size is None or size < 0 else size) > LIST:
            raise Unreadable("it lists too many files")
        return super().read(size)


@contextmanager
def place(out: Path) -> Iterator[Path]:
    """A folder to unpack archives in, beside grades; gone before and afterwards."""
    room = out / ".grading.zips"  # a name that nobody gives to a folder of theirs
    shutil.rmtree(room, ignore_errors=True)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def opened(
    files: dict[str, Path], room: Path
) -> tuple[dict[str, Path], list[str], str]:
    """Files with those of their zip archives, remarks, and what forbids to grade them.

    What lies beside an archive counts before what is in it. Archives of other kinds,
    and those in archives, stay closed.
    """
    closed = [name for name in files if name.lower().endswith(ZIP)]
    made = {name: path for name, path in files.items() if name not in closed}
    books = _books(made)
    beside = {_base(name) for name in made}
    notes, wrong, left = [], [], LARGEST
    for number, name in enumerate(closed):
        try:
            inside, said = unpack(files[name], room / str(number), left)
        except Unreadable as error:
            wrong.append(str(error))
            made[name] = files[name]
            continue
        notes += said
        left -= sum(path.stat().st_size for path in inside.values())
        for at, path in inside.items():
            if books and _books([at]):
                notes.append(f"took the notebook beside {name}, and not its {at}")
            elif _base(at) not in beside:
                made[f"{name[: -len(ZIP)]}/{at}"] = path
    if _books(made):
        return made, [*notes, *wrong], ""
    packed = [name for name in made if name.lower().endswith((ZIP, *OTHERS))]
    if packed and not wrong:
        said = "only a zip is opened, and none in another archive"
        wrong = [f"no notebook, but {', '.join(packed[:5])}: {said}; ask for a zip"]
    return made, notes, wrong[0] if wrong else ""


def _books(names: Iterable[str]) -> bool:
    return any(BOOK.search(name) for name in names)


def _base(name: str) -> str:
    return key(name.rpartition("/")[2])


def unpack(path: Path, room: Path, most: int) -> tuple[dict[str, Path], list[str]]:
    """The files of an archive by name, those near the top first, and remarks.

    They are written into `room`, a folder of its own for each, at most `most` bytes.

    Raises Unreadable for an archive that is damaged, encrypted or too large, or that
    has two files of one name.
    """
    name = spelled(path.name)
    data = _Bounded(read_bytes(path, LARGEST))
    try:
        with zipfile.ZipFile(data) as archive:
            found, notes = _listed(archive, name, most)
            return {
                at: _written(archive, info, room / str(number))
                for number, (at, info) in enumerate(found.items())
            }, notes
    except Unreadable as error:
        raise Unreadable(f"{name} is not opened: {error}") from error
    except WRONG as error:
        raise Unreadable(f"{name} is damaged: {error}") from error


def _listed(
    archive: zipfile.ZipFile, name: str, most: int
) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """The files to take from an archive, and remarks on those that are left out."""
    found: dict[str, zipfile.ZipInfo] = {}
    notes, seen = [], set()
    for info in archive.infolist():
        at = info.filename.replace("\\", "/")
        kind = stat.S_IFMT(info.external_attr >> 16)
        shown = "/".join(spelled(part) for part in at.split("/") if part.strip())
        if CLUTTER.search(at) and not CLIMBS.search(at):
            continue
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            notes.append(f"{name}: left out {shown}, which is a link or a device")
        elif CLIMBS.search(at):
            notes.append(f"{name}: left out {shown}, whose path leads elsewhere")
        elif shown and not at.endswith("/") and kind != stat.S_IFDIR:
            if key(shown) in seen:
                raise Unreadable(f"it has {shown} twice")
            seen.add(key(shown))
            found[shown] = info
    chosen = sorted(found.items(), key=lambda pair: (pair[0].count("/"), pair[0]))
    if len(chosen) > MOST_FILES:
        notes.append(f"{name}: of {len(chosen)} files {MOST_FILES} were taken")
        chosen = chosen[:MOST_FILES]
    for _, info in chosen:
        if info.flag_bits & ENCRYPTED:
            raise Unreadable("it is encrypted; ask for one without a password")
        if info.compress_type not in KNOWN:
            raise Unreadable("it is compressed in a rare way; ask for a common zip")
    if sum(info.file_size for _, info in chosen) > most:
        raise Unreadable(
            f"a student's archives unpack to more than {LARGEST // 2**20} MiB"
        )
    return dict(chosen), notes[:5]


def _written(archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: Path) -> Path:
    """A file of an archive, written; never more of it than the list says."""
    base = info.filename.replace("\\", "/").rpartition("/")[2]
    path = room / file_name(spelled(base))
    with archive.open(info) as file:
        parts = []
        while part := file.read(2**20):
            parts.append(part)
    write(path, b"".join(parts))
    return path
