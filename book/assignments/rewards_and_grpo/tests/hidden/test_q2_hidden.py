from helpers import reads

from coursekit.testing import points


@points(
    2,
    read=('chapter 12, "Reading an answer"; handout, question 2, "Digits are 0 to 9"'),
)
def test_q2_strange_characters_are_no_digits(student):
    """Digits of other scripts, spaces and control characters make no number."""
    cases = {"4": (4, 1), "1 3/4": (7, 4)}
    for text in ("4", "3/4", "1 3/4"):
        for mark in "\n\r\t\v\f\x00\x1f\x7f\x85\xa0\u2028\u200b\ufeff ":
            cases[text + mark] = cases[mark + text] = None
    for digit in "\u0664\uff14\u0967\xb2\u2074\u2463\u56db\U0001d7d2":
        cases[digit] = cases[f"{digit}/5"] = cases[f"1 3/{digit}"] = None
    for space in ("\t", "\n", "\xa0", "\u2009", "\u3000", "  ", "_", "+", "", "\x00"):
        if space:
            cases[f"1{space}3/4"] = None
    for text in (
        "\xbd",
        "1\xbd",
        "3\u20444",
        "3\u22154",
        "\u22124",
        "\u20134",
        "3 / 4",
    ):
        cases[text] = None
    hint = "digits are 0 to 9, the space is one space, and the end is the end"
    reads(student.read_number, cases, hint)


@points(
    2,
    seconds=5,
    read=(
        'chapter 12, "What can go wrong"; handout, question 2, "at most nine in a row"'
    ),
)
def test_q2_no_number_is_too_large_to_refuse(student):
    """Ten digits, exponents, nan and megabytes are refused without an error."""
    nine = "999999999"
    cases = {
        nine: (999999999, 1),
        f"-{nine} 1/{nine}": (-(999999999**2) - 1, 999999999),
        f"999999998/{nine}": (999999998, 999999999),
        "1000000000": None,
        "1/1000000000": None,
        f"1000000000 1/{nine}": None,
    }
    for text in ("1e999", "1e3", "nan", "inf", "-inf", "0x10", "1j", "3/4e1", "1/1e9"):
        cases[text] = None
    for piece in ("9", "0", "-", "1/", "/", " ", "1 ", "\u0664"):
        cases[piece * (1_000_000 // len(piece))] = None
    cases["1/" + "9" * 1_000_000] = cases["9" * 1_000_000 + " 1/2"] = None
    reads(student.read_number, cases, "at most nine digits in a row, and no error")
