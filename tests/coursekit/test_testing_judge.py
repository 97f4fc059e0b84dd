"""All cells and calls of a submission share a budget, and what was earned stays."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from coursekit.testing import budget, judge, suite
from coursekit.testing.judge import judge_cells
from coursekit.walls.answers import Answers
from coursekit.walls.frames import IDLE
from coursekit.walls.sandbox import Ended, Limits, opened

LIMITS = Limits()
ANSWERS = (
    "def one(seconds=0, how=lambda seconds: None):\n    how(seconds)\n    return 1"
)
WAITING = "the 5 minutes of waiting for all cells and calls are used up"
WORK = "the 2 minutes of work for all cells and calls are used up"


class Stop(BaseException):
    """The end of what a cell or a call does; nothing in it can catch it."""


class Box:
    """A sandbox on a clock of its own, on which cells `sleep`, `work` and `exit`.

    A second of work takes `busy` seconds.
    """

    def __init__(self, busy=1.0, limits=LIMITS):
        self.limits, self.busy, self.now, self.worked = limits, busy, 0.0, 0.0
        self.alive, self.loads = False, 0

    def start(self):
        self.alive, self.loads = True, self.loads + 1
        self.names = {"sleep": self.sleep, "work": self.work, "exit": self.exit}

    def sleep(self, seconds):
        self.now += min(seconds, self.most)
        if seconds > self.most:
            raise Stop("time")

    def work(self, seconds):
        done = min(seconds, self.seconds)
        self.now, self.worked = self.now + done * self.busy, self.worked + done
        if seconds > done:
            raise Stop("time")

    def exit(self, *_):
        self.alive = False
        raise Stop("died")

    def done(self, function, seconds, most):
        assert most >= seconds > 0
        self.seconds, self.most = seconds, most
        try:
            return function()
        except Stop as end:
            raise Ended(*end.args) from None

    def cell(self, source, number, seconds, most):
        try:
            self.done(lambda: exec(source, self.names), seconds, most)
        except Ended:
            self.alive = False
            raise

    def begin(self, seed):
        assert self.alive
        self.answers = Answers(self.names)

    def ask(self, request, seconds, most):
        return self.done(lambda: self.answers.reply(request), seconds, most)

    def end(self):
        return False


def asks(question, seconds=0.0, how="sleep"):
    """A test that calls `one`, which sleeps, works or exits."""

    def function(student):
        got = student.one(seconds, student[how]) if seconds else student.one()
        assert got == 1, "one"

    return suite.Test(f"test_{question}_one", question, 1.0, None, "one", function)


def judged(box, cells, tests, monkeypatch):
    """A marker and verdicts, on the clock of the box."""
    clock = SimpleNamespace(monotonic=lambda: box.now)
    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(judge, "time", clock)
    return judge_cells(box, tests, dict(enumerate(cells, 1)), {})


def kinds(verdicts):
    return [verdict.kind for verdict in verdicts]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(120.0, "2 minutes"), (60, "1 minute"), (90.0, "90 seconds"), (1, "1 second")],
)
def test_seconds_are_said_in_words(seconds, said):
    assert budget.spoken(seconds) == said


def test_cells_that_sleep_leave_time_for_the_tests(monkeypatch):
    """Forty cells of 19 seconds held a grader for a quarter of an hour."""
    box = Box()
    cells = [ANSWERS, *["sleep(19)"] * 40]
    marker, verdicts = judged(box, cells, [asks("q1"), asks("q2")], monkeypatch)
    assert kinds(verdicts) == ["passed"] * 2
    assert (box.now, box.loads) == (12 * 19, 1)  # the first multiple above 225
    used = "three quarters of the time for all cells and calls are used up"
    assert marker.notes == [f"code cells from 14 on were not run: {used}"]


def test_cells_that_never_end_leave_time_for_the_tests(monkeypatch):
    box = Box()
    cells = [ANSWERS, *["sleep(1e6)"] * 40]
    marker, verdicts = judged(box, cells, [asks("q1"), asks("q2")], monkeypatch)
    assert kinds(verdicts) == ["passed"] * 2
    assert box.now == 2 * IDLE * LIMITS.cell
    assert "code cells from 4 on were not run" in marker.notes[-1]


def test_a_cell_that_takes_the_rest_leaves_nothing(monkeypatch):
    box = Box()
    cells = [ANSWERS, "sleep(100)", "sleep(100)", "sleep(1e6)"]
    marker, verdicts = judged(box, cells, [asks("q1"), asks("q2")], monkeypatch)
    assert LIMITS.wait < box.now <= LIMITS.wait + LIMITS.cell
    assert kinds(verdicts) == ["budget"] * 2
    assert {verdict.message for verdict in verdicts} == {WAITING}
    assert marker.notes[0] == f"code cell 4 was left out: {WAITING}"
    assert f"q2: {WAITING}, so not all of its tests could be run" in marker.notes


def test_calls_that_never_end_hold_nobody_for_long(monkeypatch):
    box = Box()
    tests = [asks(f"q{n}", 1e6) for n in range(1, 21)]
    _, verdicts = judged(box, [ANSWERS], tests, monkeypatch)
    assert kinds(verdicts) == ["time"] * 4 + ["budget"] * 16
    assert box.now == LIMITS.wait


def test_cells_that_loop_leave_work_for_the_tests(monkeypatch):
    box = Box()
    cells = [ANSWERS, *["work(1e6)"] * 40]
    _, verdicts = judged(box, cells, [asks("q1")], monkeypatch)
    assert kinds(verdicts) == ["passed"]
    assert box.worked == 5 * LIMITS.cell


def test_what_was_earned_before_the_budget_was_used_up_stays(monkeypatch):
    box = Box()
    tests = [asks(f"q{n}", 50.0) for n in range(1, 21)]
    marker, verdicts = judged(box, [ANSWERS], tests, monkeypatch)
    assert kinds(verdicts) == ["passed"] * 6 + ["budget"] * 14
    assert sum(verdict.points for verdict in verdicts) == 6
    assert box.now == LIMITS.wait
    assert [note.partition(":")[0] for note in marker.notes] == [
        f"q{n}" for n in range(7, 21)
    ]


def test_a_test_that_asks_nothing_is_run_all_the_same(monkeypatch):
    free = replace(asks("q2"), function=lambda: None)
    _, verdicts = judged(Box(), ["sleep(1e6)"] * 9, [free], monkeypatch)
    assert kinds(verdicts) == ["passed"]


def test_sessions_that_are_begun_again_count(monkeypatch):
    box = Box()
    tests = [asks(f"q{n}", 1, "exit") for n in range(1, 21)]
    _, verdicts = judged(box, [ANSWERS, "work(15)"], tests, monkeypatch)
    assert kinds(verdicts) == ["died"] * 7 + ["budget"] * 13
    assert (box.worked, box.loads) == (LIMITS.work, 8)
    assert verdicts[-1].message == WORK


def test_a_session_that_could_not_be_loaded_again_answers_nothing(monkeypatch):
    """Half of a notebook would give wrong verdicts."""
    box = Box()
    cells = ["work(19)", "work(19)", "work(19)", ANSWERS]
    tests = [asks("q1", 1, "exit"), asks("q2", 1, "exit"), asks("q3")]
    _, verdicts = judged(box, cells, tests, monkeypatch)
    assert kinds(verdicts) == ["died", "died", "budget"]


def test_a_busy_machine_takes_nothing_away(monkeypatch):
    """It makes work last longer, which is waiting, and not work."""
    box = Box(busy=4.5)
    tests = [asks(f"q{n}", 10.0, "work") for n in range(4)]
    _, verdicts = judged(box, [ANSWERS, *["work(10)"] * 4], tests, monkeypatch)
    assert kinds(verdicts) == ["passed"] * 4
    assert box.now == 360 > LIMITS.wait


def test_an_order_may_wait_as_always_while_enough_is_left():
    assert budget.Budget(120, 300).bounds(10) == {"seconds": 10, "most": IDLE * 10}
    used = budget.Budget(120, 300, worked=115, waited=298)
    assert used.bounds(10) == {"seconds": 5, "most": 12}
    assert not used.out
    assert budget.Budget(120, 300, worked=120).out
    assert budget.Budget(120, 300, waited=300).out


def test_a_real_sandbox_counts_work_and_ends_what_waits(walls):
    burn = "import time\nend = time.process_time() + 0.4\n"
    burn += "while time.process_time() < end: pass"
    with opened(LIMITS) as box:
        box.limits = replace(LIMITS, work=1.5)
        cells = dict(enumerate([ANSWERS, *[burn] * 9], 1))
        marker, verdicts = judge_cells(box, [asks("q1")], cells, {})
        assert kinds(verdicts) == ["passed"]
        (note,) = marker.notes
        assert note.startswith("code cells from 5 on were not run")
        assert 1.1 < marker.budget.worked < 1.5
        box.limits = replace(LIMITS, wait=1.0, cell=0.5)
        began = time.monotonic()
        cells[2] = "import time; time.sleep(100)"
        marker, verdicts = judge_cells(box, [asks("q1")], cells, {})
        assert kinds(verdicts) == ["budget"]
        assert 1 < time.monotonic() - began < 30
        assert marker.left_out == {2: "time"}


def test_what_fails_in_a_question_shares_its_seconds(monkeypatch):
    """The second call that loops has what the first has left, and the third nothing."""
    box = Box()
    tests = [*[asks("q1", 100, "work")] * 3, asks("q1"), asks("q2")]
    _, verdicts = judged(box, [ANSWERS], tests, monkeypatch)
    assert kinds(verdicts) == ["time"] * 4 + ["passed"]
    assert box.now == LIMITS.question == LIMITS.call + 5
    said = [verdict.message.partition("\n")[0] for verdict in verdicts[:3]]
    assert said[1] == "it did not end within 5 s"
    assert said[2] == "the answers to q1 have used up their time"
