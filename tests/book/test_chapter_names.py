"""Whoever names a chapter by its number means the chapter that has this number now."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
CHAPTERS = {int(p.stem[:2]): p.stem for p in sorted((BOOK / "text").glob("[0-9]*.md"))}
WRITTEN = [
    *BOOK.glob("*.md"),
    *BOOK.glob("text/*.md"),
    *BOOK.glob("assignments/*/*.md"),
    *BOOK.glob("data/*.md"),
    *BOOK.glob("data/*.csv"),
    *BOOK.glob("**/*.py"),
    *(ROOT / "tests").glob("**/*.py"),
    *(ROOT / "tests").glob("**/*.toml"),
    ROOT / "README.md",
    ROOT / "_toc.yml",
]
# What the paragraph that names one of these chapters must speak of. Chapters 15 and 16
# of the first edition are 15 to 18 now, so these are the numbers that age.
TOPICS = {
    15: "distil|student|teacher|trace|bases?\\b",
    16: "test.time|vote|majority|verifier|budget|forced|teacher"
    "|many answers|more answers",
    17: "loss|form|clip|product|DAPO|GSPO|CISPO|ratio|minibatch|updates|advantage|coin",
    18: "next|sparse|V3\\.[12]|V4|verdict|verified|published",
    19: "checkpoint|folder|real weights|size of|TRL|machine|process|GPU",
}
NUMBERS = r"\d\d(?:(?:, | and | to | or )\d\d)*"
MENTION = re.compile(rf"\b[Cc]hapters? ({NUMBERS})")
LINK = re.compile(r"\[(\d\d) [^\]]*\]\((?:book/notebooks/)?(\w+)(?:\.ipynb)?\)")
ROW = re.compile(r"^\| (\d\d) \| .*\]\(book/notebooks/(\w+)\.ipynb\)", re.MULTILINE)
DOC = re.compile(r"\{doc\}`[Cc]hapter (\d\d) <(?:\.\./)*(\w+)>`")
SYLLABI = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)


def places(pattern):
    """Each match of a pattern in what is written, with its file."""
    for path in WRITTEN:
        if path == Path(__file__):
            continue
        for match in pattern.finditer(path.read_text(encoding="utf-8")):
            yield path.relative_to(ROOT), match


@pytest.mark.parametrize("pattern", [LINK, ROW, DOC], ids=["link", "row", "role"])
def test_a_link_that_shows_a_number_leads_to_the_chapter_of_that_number(pattern):
    found = list(places(pattern))
    assert found
    wrong = [
        f"{path}: {match[0]}"
        for path, match in found
        if CHAPTERS.get(int(match[1])) != match[2]
    ]
    assert not wrong, "\n".join(wrong)


def test_a_number_is_that_of_a_chapter():
    wrong = [
        f"{path}: {match[0]}"
        for path, match in places(MENTION)
        if not set(map(int, re.findall(r"\d\d", match[1]))) <= set(CHAPTERS)
    ]
    assert not wrong, "\n".join(wrong)


def test_who_names_a_later_chapter_speaks_of_what_it_is_about():
    wrong = []
    for path, match in places(MENTION):
        text, (start, end) = match.string, match.span()
        before, after = text[max(0, start - 300) : start], text[end : end + 300]
        if path.suffix == ".md":  # code has an empty line behind each statement
            before, after = before.rpartition("\n\n")[2], after.partition("\n\n")[0]
        around = before + match[0] + after
        if " to " in match[1]:  # a range says nothing of a single chapter
            continue
        if after.startswith(", now "):  # a chapter of the first edition
            continue
        for number in map(int, re.findall(r"\d\d", match[1])):
            own = path.stem.startswith(f"{number:02}_")
            topic = TOPICS.get(number)
            if topic and not own and not re.search(topic, around, re.IGNORECASE):
                wrong.append(f"{path}: {match[0]}: {around!r}")
    assert not wrong, "\n".join(wrong)


def test_every_chapter_stands_in_the_contents_the_readme_and_on_the_first_page():
    places = {
        "_toc.yml": "file: book/{}\n",
        "README.md": "](book/notebooks/{}.ipynb)",
        "book/index.md": "]({})",
    }
    for file, form in places.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        missing = [n for n in CHAPTERS.values() if form.format(n) not in text]
        assert not missing, f"{file}: {missing}"


def test_the_weeks_of_the_instructor_name_each_chapter_by_a_word_of_its_title():
    text = (BOOK / "instructor.md").read_text(encoding="utf-8")
    weeks = [m[0] for m in SYLLABI.finditer(text) if "| week |" in m[0]]
    found = [
        (int(number), words.lower())
        for table in weeks
        for line in table.splitlines()[2:]
        for number, words in re.findall(r"\b(\d\d) ([\w -]+)", line)
    ]
    assert {number for number, _ in found} == set(CHAPTERS)
    for number, words in found:
        title = re.search(r"^# (.+)$", twin(CHAPTERS[number]), re.MULTILINE)[1]
        name = CHAPTERS[number].replace("_", " ")
        known = set(re.findall(r"\w+", f"{title} {name}".lower()))
        assert known & set(re.findall(r"\w+", words)), f"{number} {words}: {title}"


def twin(name):
    return (BOOK / f"text/{name}.md").read_text(encoding="utf-8")
