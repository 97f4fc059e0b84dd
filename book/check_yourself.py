"""Questions with which readers check themselves: book/questions/NAME.md

Each chapter has two or three, and each of them is a heading, options and an answer:

    ### 1. What does the bias change?

    - a) The weights of the experts.
    - b) The choice of the experts.

    Answer: b

    A paragraph says why this option is right and the others are wrong.

Pages and plain notebooks show them before the chapter's exercises, with the answers
folded. They stand in no chapter, so that a chapter's source has its own words only.
"""

import re
from dataclasses import dataclass
from pathlib import Path

TITLE = "Check yourself"
BEFORE = re.compile(r"^## Exercises$", re.MULTILINE)
QUESTION = re.compile(r"^### +(\d+)\. +(.+)$", re.MULTILINE)
OPTION = re.compile(r"^- ([a-z])\) +(.+(?:\n  .+)*)", re.MULTILINE)
ANSWER = re.compile(r"^Answer: ([a-z])$", re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """A question, its options by letter, the right letter, and why it is right."""

    number: str
    words: str
    options: dict
    answers: tuple
    why: str


def path_of(book, name):
    """Where the questions of a chapter stand."""
    return Path(book) / "questions" / f"{name}.md"


def read(book, name):
    """The questions of a chapter; none if it has no such file."""
    path = path_of(book, name)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _, *parts = QUESTION.split(text)
    found = []
    for number, words, body in zip(*(parts[i::3] for i in range(3)), strict=True):
        options, *after = ANSWER.split(body)
        found.append(
            Question(
                number,
                words.strip(),
                dict(OPTION.findall(options)),
                tuple(after[::2]),
                "\n".join(after[1::2]).strip(),
            )
        )
    return found


def shown(question):
    """A question as MyST: a title, a list of options, and an answer that is folded."""
    options = [f"- **{letter})** {words}" for letter, words in question.options.items()]
    answer = f"**Answer: {', '.join(question.answers)}.**"
    return "\n".join(
        (
            # With colons, since the words may have backticks.
            f":::{{rubric}} {question.number}. {question.words}",
            ":heading-level: 3",
            ":::",
            "",
            *options,
            "",
            f":::{{dropdown}} Answer to question {question.number}",
            answer,
            question.why,
            ":::",
        )
    )


def section(book, name):
    """The section of a chapter's questions as MyST, or nothing."""
    questions = read(book, name)
    if not questions:
        return ""
    return "\n\n".join((f"## {TITLE}", *map(shown, questions)))


def with_questions(text, book, name):
    """A text of a chapter, with its questions before the exercises if they begin in it.

    The title of the exercises stands once in a chapter, alone on its line.
    """
    if not BEFORE.search(text) or not (made := section(book, name)):
        return text
    return BEFORE.sub(lambda found: f"{made}\n\n{found[0]}", text, count=1)
