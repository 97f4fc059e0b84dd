"""Names of people: compared as a person reads them, shown, and made names of files."""

import hashlib
import re
import unicodedata

LONGEST = 180  # bytes of a file's name without its ending; systems take 255 in all
LONG = 120  # bytes that are kept of a longer one, before a number that tells them apart
# Windows, which a folder of grades may be copied to, takes these for devices.
DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")
KEPT = frozenset(" @+,=_-.()'!&")  # beside letters, digits and their marks
# What a page, a terminal or a line of a table must not get raw: control characters,
# those that turn the direction of what follows, lone surrogates, invisible marks.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
BYTE = range(0xDC80, 0xDD00)  # how Python keeps a byte of a name that is not UTF-8
JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji need them inside a word
# Letters and digits, as `key` leaves them, that look like others; for remarks alone.
ALIKE = str.maketrans(
    "авезіјкӏмнорԛстуԝхһѕү" + "αβγεζηικνορτυχωϲ" + "01|" + "ıɑɡℓ",
    "abe3ijklmhopqctywxhsy" + "abyeznikvoptuxwc" + "oll" + "iagl",
)
IGNORED = {"\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u3164", "\uffa0"}


def visible(text: str) -> str:
    r"""A text whose control characters are written out, such as \u001b or \xfc."""

    def shown(match: re.Match) -> str:
        code = ord(match[0])
        if code in BYTE:
            return f"\\x{code - 0xDC00:02x}"
        return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"

    return UNSEEN.sub(shown, text.replace("\r\n", "\n"))


def spelled(name: str) -> str:
    """A name as tables show it: composed, on one line, without what cannot be seen."""
    shown = "".join(visible(c) if ord(c) in BYTE else _seen(c) for c in name)
    words = unicodedata.normalize("NFC", shown).split()
    return " ".join(word.strip(JOINERS) for word in words)


def _seen(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cf" and character not in JOINERS:
        return ""
    if UNSEEN.match(character):
        return " " if kind == "Cc" else ""
    return character


def key(name: str) -> str:
    """What the spellings of one name have in common.

    Composed and decomposed, capital and small, wide and narrow letters are the same;
    invisible characters and further spaces count for nothing. Letters of another
    script are other letters, also where they look alike.
    """
    before, name = "", spelled(name)
    while name != before:  # once or twice
        before = name
        seen = "".join(c for c in name if not _ignored(c))
        name = " ".join(unicodedata.normalize("NFKC", seen.lower()).split())
    return name


def _ignored(character: str) -> bool:
    variant = "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0100"
    if variant and character <= "\U000e01ef":
        return True
    return unicodedata.category(character) == "Cf" or character in IGNORED


def sight(name: str) -> str:
    """What names have in common that look alike, be they those of one person or not."""
    return key(name).translate(ALIKE)


def file_name(student: str) -> str:
    """A student's id as the name of a file, for every system and different for each.

    Letters of all scripts stay; a name that is too long ends in a number of its own.
    """
    name = "".join(c if _plain(c) else _percent(c) for c in student)
    if not name or name[0] in "-. '" or DEVICES.match(name):
        name = _percent(name[0]) + name[1:] if name else "%"
    if name[-1] in ". ":
        name = name[:-1] + _percent(name[-1])
    if len(name.encode()) > LONGEST:
        number = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name.encode()[:LONG].decode('utf-8', 'ignore')}~{number[:16]}"
    return name


def _percent(character: str) -> str:
    return "".join(f"%{b:02X}" for b in character.encode("utf-8", "surrogatepass"))


def _plain(character: str) -> bool:
    marks = unicodedata.category(character)[0] == "M"
    return character.isalnum() or character in KEPT or marks
