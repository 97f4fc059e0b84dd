"""Zips of students are opened, and whatever else they are does no harm."""

import io
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit.grading import archives
from coursekit.grading.archives import LIST, opened, place, unpack
from coursekit.grading.submissions import collect
from coursekit.walls.files import Unreadable


def packed(path: Path, *names, method=zipfile.ZIP_DEFLATED, **contents) -> Path:
    """An archive with files of these names, or ready entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, getattr(name, "filename", name))
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def entry(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o644) << 16
    return info


def read(path: Path, room: Path) -> tuple[dict[str, str], list[str]]:
    files, notes = unpack(path, room, archives.LARGEST)
    assert all(made.resolve().is_relative_to(room.resolve()) for made in files.values())
    return {name: made.read_text() for name, made in files.items()}, notes


def test_a_zip_is_a_folder_for_the_grader(tmp_path):
    class_, room = tmp_path / "class", tmp_path / "room"
    packed(class_ / "ada.zip", "hw/example.ipynb", "hw/line.safetensors")
    packed(class_ / "bo/homework.ZIP", "example.ipynb", "__MACOSX/._example.ipynb")
    found = {one.student: one for one in collect(class_, room=room)}
    assert list(found["ada"].files) == [
        "ada/hw/example.ipynb",
        "ada/hw/line.safetensors",
    ]
    assert list(found["bo"].files) == ["homework/example.ipynb"]
    assert not [one for one in found.values() if one.problem or one.notes]
    assert all(p.is_file() for one in found.values() for p in one.files.values())


def test_without_a_room_a_zip_stays_closed(tmp_path):
    packed(tmp_path / "ada.zip", "example.ipynb")
    assert list(collect(tmp_path)[0].files) == ["ada.zip"]


def test_what_lies_beside_a_zip_counts(tmp_path):
    packed(tmp_path / "ada/a.zip", "old/example.ipynb", "line.safetensors", "w.bin")
    (tmp_path / "ada/example.ipynb").write_text("new")
    (tmp_path / "ada/w.bin").write_text("new")
    (one,) = collect(tmp_path, room=tmp_path / "room")
    assert list(one.files) == ["example.ipynb", "w.bin", "a/line.safetensors"]
    assert one.notes == (
        "took the notebook beside a.zip, and not its old/example.ipynb",
    )


@pytest.mark.parametrize(
    "name",
    ["../../up.ipynb", "/etc/up.ipynb", "a/../../up.ipynb", "..\\..\\up.ipynb",
     "C:\\up.ipynb", "C:/up.ipynb", "\\up.ipynb"],
)  # fmt: skip
def test_paths_that_climb_are_left_out(tmp_path, name):
    archive = packed(tmp_path / "a.zip", name, "example.ipynb")
    files, (note,) = read(archive, tmp_path / "deep/er/room")
    assert files == {"example.ipynb": "example.ipynb"}
    assert "whose path leads elsewhere" in note
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "deep"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_left_out(tmp_path, kind):
    archive = packed(tmp_path / "a.zip", entry("x.ipynb", kind), "b.ipynb")
    files, notes = read(archive, tmp_path / "room")
    assert list(files) == ["b.ipynb"]
    assert notes == ["a.zip: left out x.ipynb, which is a link or a device"]


@pytest.mark.parametrize("name", ["CON", "-rf", "a\nb\x1b", "字" * 80, "{{x}}", "..."])
def test_names_in_a_zip_are_only_names(tmp_path, name):
    files, _ = read(packed(tmp_path / "a.zip", f"{name}.ipynb"), tmp_path / "room")
    assert len(files) == (0 if name[0] == "." else 1)
    assert not [shown for shown in files if "\n" in shown or "\x1b" in shown]


def encrypted(path: Path) -> Path:
    data = bytearray(packed(path, "example.ipynb").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + at] |= archives.ENCRYPTED
    path.write_bytes(data)
    return path


def bomb(path: Path) -> Path:
    """A few bytes that claim to be, and are, more than may be unpacked."""
    return packed(path, **{"example.ipynb": bytes(3000), "b": bytes(3000)})


def overlapping(path: Path) -> Path:
    """A list of many files that are all the same bytes of the archive."""
    data = packed(path, "example.ipynb").read_bytes()
    start = data.find(b"PK\x01\x02")
    end = data.find(b"PK\x05\x06")
    line, tail = data[start:end], bytearray(data[end:])
    lines = b"".join(line.replace(b"example", b"%07d" % n) for n in range(40_000))
    struct.pack_into("<HHI", tail, 8, 40_000, 40_000, len(lines))
    path.write_bytes(data[:start] + lines + tail)
    return path


def garbled(path: Path) -> Path:
    data = bytearray(packed(path, "example.ipynb").read_bytes())
    data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    return path


def truncated(path: Path) -> Path:
    path.write_bytes(packed(path, "example.ipynb").read_bytes()[:-30])
    return path


def text(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no archive")
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (encrypted, "it is encrypted; ask for one without a password"),
        (bomb, "a student's archives unpack to more than 0 MiB"),
        (overlapping, "it lists too many files"),
        (garbled, "is damaged"),
        (truncated, "is damaged"),
        (text, "is damaged"),
        (lambda p: packed(p, "a/x.ipynb", "A\\X.ipynb"), "it has A/X.ipynb twice"),
        (lambda p: packed(p, "x.ipynb", "x.ipynb"), "it has x.ipynb twice"),
        (lambda p: packed(p, "x", method=zipfile.ZIP_LZMA), "compressed in a rare way"),
    ],
)
def test_an_archive_that_is_not_to_be_trusted_is_not_opened(
    tmp_path, monkeypatch, make, words
):
    path = make(tmp_path / "class/ada.zip")
    monkeypatch.setattr(archives, "LARGEST", max(5000, path.stat().st_size))
    with pytest.raises(Unreadable, match=words):
        unpack(path, tmp_path / "room", archives.LARGEST)
    (tmp_path / "class/bo.ipynb").write_text("{}")
    ada, bo = collect(tmp_path / "class", room=tmp_path / "room")
    assert words in ada.problem
    assert not bo.problem


def test_all_archives_of_a_student_share_what_may_be_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 5000)
    for name in "ab":
        packed(tmp_path / f"class/ada/{name}.zip", **{f"{name}.ipynb": bytes(3000)})
    (ada,) = collect(tmp_path / "class", room=tmp_path / "room")
    assert list(ada.files) == ["a/a.ipynb", "b.zip"]
    (said,) = ada.notes
    assert "b.zip is not opened: a student's archives unpack to more" in said
    kept = [path for path in (tmp_path / "room").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) <= 5000


SOUND = io.BytesIO()
with zipfile.ZipFile(SOUND, "w", zipfile.ZIP_DEFLATED) as _archive:
    _archive.writestr("hw/example.ipynb", "{}" * 50)
    _archive.writestr("line.safetensors", bytes(100))


@given(st.data())
def test_damage_anywhere_is_damage_and_no_more(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    bytes_ = bytearray(SOUND.getvalue())
    places = st.integers(0, len(bytes_) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        bytes_[data.draw(places)] = data.draw(st.sampled_from([0, 1, 255]))
    path = folder / "a.zip"
    end = data.draw(st.one_of(st.just(len(bytes_)), places))
    path.write_bytes(bytes_[:end])
    with suppress(Unreadable):
        files, _ = unpack(path, folder / "room", archives.LARGEST)
        assert sum(made.stat().st_size for made in files.values()) <= 200


def test_a_zip_with_a_whole_environment_gives_what_is_near_the_top(tmp_path):
    names = [f"hw/env/{n}/x.py" for n in range(300)]
    files, notes = read(
        packed(tmp_path / "a.zip", *names, "hw/z.ipynb"), tmp_path / "r"
    )
    assert next(iter(files)) == "hw/z.ipynb"
    assert notes == ["a.zip: of 301 files 200 were taken"]


@pytest.mark.parametrize("name", ["hw.rar", "hw.tar.gz", "hw.7z", "in/inner.zip"])
def test_archives_that_stay_closed_are_named_with_the_remedy(tmp_path, name):
    if name == "in/inner.zip":
        inner = packed(tmp_path / "inner.zip", "example.ipynb").read_bytes()
        packed(tmp_path / "class/ada/in.zip", **{"inner.zip": inner})
    else:
        (tmp_path / "class/ada").mkdir(parents=True)
        (tmp_path / "class/ada" / name).write_bytes(b"x")
    (one,) = collect(tmp_path / "class", room=tmp_path / "room")
    assert one.problem.startswith(f"no notebook, but {name}: only a zip is opened")
    assert one.problem.endswith("ask for a zip")


def test_a_damaged_zip_beside_a_notebook_is_a_remark(tmp_path):
    files = {"a.ipynb": tmp_path / "a.ipynb", "b.zip": text(tmp_path / "b.zip")}
    found, (note,), problem = opened(files, tmp_path / "room")
    assert (set(found), problem) == ({"a.ipynb", "b.zip"}, "")
    assert note.startswith("b.zip is damaged")


def test_the_room_is_empty_before_and_gone_afterwards(tmp_path):
    left = tmp_path / ".grading.zips/0/0/0/secret.ipynb"
    left.parent.mkdir(parents=True)
    left.write_text("of a run that was killed")
    with place(tmp_path) as room:
        assert not room.exists()
        unpack(packed(tmp_path / "a.zip", "x"), room, archives.LARGEST)
        assert room.exists()
    assert not room.exists()


def test_a_list_of_files_is_limited_before_it_is_read():
    data = archives._Bounded(bytes(LIST + 1))
    with pytest.raises(Unreadable):
        data.read()
    data.seek(1)
    assert len(data.read(-1)) == LIST
