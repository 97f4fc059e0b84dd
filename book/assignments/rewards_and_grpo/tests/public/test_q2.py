import math

import torch
from helpers import reads

from coursekit.testing import points


@points(2, read='handout, question 2, "Every number has one way"')
def test_q2_whole_numbers_have_one_form(student):
    """A whole number is read, and no other way to write it."""
    cases = {
        "0": (0, 1),
        "7": (7, 1),
        "-12": (-12, 1),
        "123456789": (123456789, 1),
        "-0": None,
        "07": None,
        "+7": None,
        "--7": None,
        "7.0": None,
        "7/1": None,
        "1_0": None,
        "": None,
        "-": None,
        "seven": None,
    }
    reads(student.read_number, cases, "what int or float reads is too much")


@points(2, read='handout, question 2, "mixed"')
def test_q2_fractions_and_mixed_numbers(student, gen):
    """Fractions and mixed numbers in lowest terms are read, with their sign."""
    cases = {"3/4": (3, 4), "-3/4": (-3, 4), "2 3/4": (11, 4), "-2 3/4": (-11, 4)}
    for _ in range(8):
        below = int(torch.randint(2, 10_000, (), generator=gen))
        above = int(torch.randint(1, below, (), generator=gen))
        above //= math.gcd(above, below)
        while math.gcd(above, below) > 1:
            above -= 1
        whole = int(torch.randint(1, 1000, (), generator=gen))
        cases[f"{above}/{below}"] = (above, below)
        cases[f"-{whole} {above}/{below}"] = (-whole * below - above, below)
    hint = "the sign belongs to the whole of a mixed number: -2 3/4 is -(2 + 3/4)"
    reads(student.read_number, cases, hint)


@points(2, read='handout, question 2, "are in lowest terms"')
def test_q2_no_second_way_to_write_a_fraction(student):
    """Fractions not in lowest terms, not below 1, or with a stray sign are refused."""
    cases = {"3/4": (3, 4), "1 1/2": (3, 2)}
    for text in ("6/8", "7/4", "4/4", "0/4", "3/1", "3/0", "1/0", "0/0", "1 0/2"):
        cases[text] = None
    for text in ("0 3/4", "1 3/2", "1 2/4", "2 4/1", "3/-4", "1 -3/4", "-1 -3/4"):
        cases[text] = None
    for text in ("03/4", "3/04", "01 3/4", "1/2/3", "/", "3/", "/4", "1 3", "1 1 1/2"):
        cases[text] = None
    hint = "between 0 and 1, in lowest terms, no leading zero, one sign in front"
    reads(student.read_number, cases, hint)
