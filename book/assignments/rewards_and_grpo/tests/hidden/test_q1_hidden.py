from helpers import reads

from coursekit.testing import points

GOOD = "<think>a</think>b\n\\boxed{7}"


@points(
    2,
    read=(
        'chapter 12, "What a careless rule accepts"; '
        'handout, question 1, "The text begins with"'
    ),
)
def test_q1_tags_open_once_and_close_once(student):
    """Nested, repeated, missing and misplaced tags break the form."""
    cases = {
        GOOD: "7",
        "<think>a<think>b</think>c</think>d\n\\boxed{7}": None,
        "<think><think>a</think>b\n\\boxed{7}": None,
        "<think>a</think>b</think>\n\\boxed{7}": None,
        "<think>a</think></think>b\n\\boxed{7}": None,
        "<think>a</think>b<think>\n\\boxed{7}": None,
        "<think>a</think><think>b</think>\n\\boxed{7}": None,
        "a<think>b</think>c\n\\boxed{7}": None,
        " <think>a</think>b\n\\boxed{7}": None,
        "\ufeff<think>a</think>b\n\\boxed{7}": None,
        "<THINK>a</THINK>b\n\\boxed{7}": None,
        "a</think>b\n\\boxed{7}": None,
        "<think>a\n\\boxed{7}": None,
    }
    reads(student.read_box, cases, "one <think> at the start, one </think>")


@points(2, read='handout, question 1, "A line begins behind"')
def test_q1_nothing_stands_around_the_box(student):
    """Spaces, ends of text and strange line breaks around the box break the form."""
    cases = {
        GOOD: "7",
        "<think>a</think>b\r\n\\boxed{7}": "7",
        GOOD + "\n": None,
        GOOD + " ": None,
        GOOD + "\r": None,
        GOOD + "\x00": None,
        GOOD + "<eos>\n": None,
        GOOD + "<eos><eos>": None,
        GOOD + "<eos>x": None,
        GOOD.replace("a", "a<eos>"): None,
        "<think>a</think><eos>\n\\boxed{7}<eos>": None,
        GOOD.replace("7", "7<eos>"): None,
        GOOD.replace("\n", "\n "): None,
        GOOD.replace("\n", "\n\t"): None,
    }
    for line_break in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029":
        cases[GOOD.replace("\n", line_break)] = None
        cases[GOOD + line_break] = None
        cases[GOOD.replace("\n", "\n" + line_break)] = None
    hint = 'lines begin behind "\\n" only, and nothing is stripped but one <eos>'
    reads(student.read_box, cases, hint)


@points(2, seconds=5, read=('chapter 12, "Reading an answer"; handout, question 1'))
def test_q1_a_megabyte_is_read_as_well(student):
    """Texts of a megabyte are read, right ones and wrong ones."""
    cases = {
        "<think>" + "\\boxed{" * 140_000 + "</think>\n\\boxed{7}": "7",
        "<think></think>" + "\n" * 1_000_000 + "\\boxed{7}": "7",
        "<think></think>\n\\boxed{" + "7" * 1_000_000 + "}": "7" * 1_000_000,
        "<think>" * 140_000: None,
        "<think>" + "</think>" * 120_000: None,
        "<think></think>" + "\\boxed{" * 140_000: None,
        "<think></think>" + "\n\\boxed{7}" * 100_000: None,
        "<think></think>" + "\n\\boxed{7" * 110_000: None,
        "<think></think>\n\\boxed{7" + " " * 1_000_000: None,
        "<think></think>\n\\boxed{7}" + "<eos>" * 200_000: None,
    }
    reads(student.read_box, cases, "a megabyte, which must not take longer than 5 s")
