"""How much a step of GRPO computes: its passes, from the lengths of its answers."""

from collections.abc import Iterator

from r1.rl.grpo_loop import TOGETHER, similar
from r1.text.tokenizer import encode


def positions(answers: list[tuple[str, int]], group: int) -> list[int]:
    """At how many positions each pass of a GRPO step computes logits.

    `answers` has the prompt and the number of tokens of each. Prompts are read once
    and answers written token by token; an eighth of the answers is then watched, with
    the policy and with its reference, and all are learned from.
    """
    lengths = [length for _, length in answers]
    left = max(len(encode(prompt)) for prompt, _ in answers)
    watched = read_again(answers[::8], left)
    written = [left * (len(answers) // group), *written_rows(lengths)]
    return [*written, *watched, *watched, *read_again(answers, left)]


def written_rows(lengths: list[int]) -> Iterator[int]:
    """Rows of each pass of `sample` behind the prompts, which ends with the longest."""
    rows = lengths
    for written in range(1, max(lengths)):
        yield len(rows)
        going = [length for length in rows if length > written]
        if 2 * len(going) <= len(rows):
            rows = going


def read_again(answers: list[tuple[str, int]], left: int) -> list[int]:
    """Positions of each pass of `of_answers`: the prompts, and pieces of answers."""
    found = [left * len({prompt for prompt, _ in answers})]
    lengths = sorted(length for _, length in answers)
    for size in similar([left - 1 + length for length in lengths], TOGETHER):
        piece, lengths = lengths[:size], lengths[size:]
        found.append(size * (piece[-1] - 1))
    return found
