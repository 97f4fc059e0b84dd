from helpers import reads, seconds

from coursekit.testing import points

GOOD = "<think>a</think>b\n\\boxed{7}"


@points(
    2,
    read=(
        'chapter 12, "Reading an answer"; '
        'handout, question 1, "The last line of the text"'
    ),
)
def test_q1_it_reads_what_keeps_the_form(student):
    """The content of a box that stands alone on the last line is read."""
    cases = {
        "<think>1+1=2</think>So it is\n\\boxed{2}<eos>": "2",
        "<think>1+1=2</think>So it is\n\\boxed{2}": "2",
        "<think></think>\n\\boxed{-2 3/4}": "-2 3/4",
        "<think>a\nb</think>c\nd\n\n\\boxed{ x\\y }": " x\\y ",
        "<think>3 < 4</think>4 > 3\n\\boxed{<4>}": "<4>",
        "<think>a</think>b\n\\boxed{7}\\boxed": None,
        "<think>a</think>b\nit is \\boxed{7}": None,
        "<think>a</think>b\n$\\boxed{7}$": None,
        "<think>a</think>b\n\\boxed{}": None,
        "<think>a</think>b\n\\boxed{7": None,
        "<think>a</think>b\n\\boxed {7}": None,
        "<think>a</think>b\n\\boxed{\\frac{3}{4}}": None,
        "<think>a</think>\\boxed{7}": None,
        "\\boxed{7}": None,
        "": None,
    }
    hint = "is the last line the box and nothing else, and behind </think>?"
    reads(student.read_box, cases, hint)


@points(2, read='handout, question 1, "The thought is what stands before it"')
def test_q1_a_box_in_the_thought_is_a_note(student):
    """Boxes in the thought neither count as answers nor spoil the answer."""
    cases = {
        "<think>\\boxed{1}\n\\boxed{2}</think>b\n\\boxed{7}": "7",
        "<think>try \\boxed{</think>b\n\\boxed{7}<eos>": "7",
        "<think>a\n\\boxed{7}</think>": None,
        "<think>a\n\\boxed{7}</think>b": None,
        "<think>a</think><think>\n\\boxed{7}</think>": None,
        "<think>a\n\\boxed{7}": None,
    }
    reads(student.read_box, cases, "what stands in the thought is no answer")


@points(2, read='chapter 12, "What a careless rule accepts"')
def test_q1_one_answer_or_none(student):
    """Who answers twice does not answer."""
    cases = {
        GOOD: "7",
        "<think>a</think>\\boxed{6}\n\\boxed{7}": None,
        "<think>a</think>b\n\\boxed{7}\n\\boxed{7}": None,
        "<think>a</think>b\n\\boxed{6}\\boxed{7}": None,
        "<think>a</think>b\n\\boxed{\\boxed{7}}": None,
        "<think>a</think>\\boxed{ is what I write:\n\\boxed{7}": None,
    }
    reads(student.read_box, cases, 'count "\\boxed{" in the whole solution')


@points(2, seconds=4, read='chapter 12, "Reading an answer"')
def test_q1_its_time_is_that_of_reading_once(student):
    """Sixty thousand beginnings without an end take no time to speak of."""
    reads(student.read_box, {GOOD: "7"}, "the form is kept")
    for count in (2_000, 10_000, 60_000):  # a slow reader is told before it hangs
        for many in (
            "<think>" * count,
            "<think>" + "</think>" * count,
            "<think></think>" + "\\boxed{" * count,
            "<think></think>" + "\n\\boxed{7" * count,
        ):
            taken = seconds(student.read_box, many, enough=2)
            assert taken < 2, (
                f"{many[:24]!r} and so on, {len(many):,} characters, took "
                f"{taken:.1f} s: a pattern looks for an end behind every beginning"
            )
