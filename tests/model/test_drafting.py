"""Drafts change how fast a text is written, and nothing else about it."""

import itertools
from dataclasses import replace
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from r1.model import drafting
from r1.model.config import ModelConfig
from r1.model.drafting import (
    LookupDrafter,
    ModelDrafter,
    MTPDrafter,
    accept,
    sample_with_drafts,
)
from r1.model.sampling import distribution, draw, sample
from r1.model.transformer import Model
from r1.text.tokenizer import EOS_ID, encode

CONFIG = replace(
    ModelConfig.tiny(),
    dim=32,
    n_layers=2,
    moe_inter_dim=16,
    initializer_range=0.2,
    max_seq_len=96,
)
PROMPT = encode("<bos>7*3+5-2=")


def new_model(depth=1, seed=0):
    torch.manual_seed(seed)
    config = replace(CONFIG, num_nextn_predict_layers=depth)
    return Model(config).double().eval()


def drafters(model):
    other = new_model(0, seed=1)
    return {
        "module": MTPDrafter(model),
        "model": ModelDrafter(other, 3),
        "the model itself": ModelDrafter(model, 2),
        "lookup": LookupDrafter(32, ngram=1),
    }


NAMES = ["module", "model", "the model itself", "lookup"]


def random_tables(vocab, depth, generator):
    """A distribution for every context of fewer than `depth` tokens."""
    contexts = (
        c for n in range(depth) for c in itertools.product(range(vocab), repeat=n)
    )
    rows = {c: torch.rand(vocab, generator=generator).double() ** 3 for c in contexts}
    return {c: row / row.sum() for c, row in rows.items()}


@pytest.mark.parametrize("seed", range(4))
def test_summed_over_all_paths_the_output_is_the_model_alone(seed):
    """Three tokens, two drafts: every draft, every check, every draw, added up."""
    generator = torch.Generator().manual_seed(seed)
    vocab = range(3)
    p, q = (random_tables(3, 3, generator) for _ in range(2))
    total = {}
    for x, y in itertools.product(vocab, repeat=2):
        drafted = q[()][x] * q[(x,)][y]
        keep_x = torch.clamp(p[()][x] / q[()][x], max=1)
        keep_y = torch.clamp(p[(x,)][y] / q[(x,)][y], max=1)
        for z in vocab:
            ways = [((), 1 - keep_x), ((x,), keep_x * (1 - keep_y))]
            begun = [((x, y, z), keep_x * keep_y * p[(x, y)][z])]
            for c, chance in ways:
                rest = (p[c] - q[c]).clamp(min=0)
                begun.append(((*c, z), chance * rest[z] / rest.sum()))
            for text, chance in begun:
                for ending in itertools.product(vocab, repeat=3 - len(text)):
                    whole, more = text + ending, 1.0
                    for n in range(len(text), 3):
                        more = more * p[whole[:n]][whole[n]]
                    total[whole] = total.get(whole, 0) + drafted * chance * more
    for text, chance in total.items():
        alone = p[()][text[0]] * p[text[:1]][text[1]] * p[text[:2]][text[2]]
        assert_close(chance, alone, rtol=0, atol=1e-15)


def exceeds(counts, chances):
    """By how many deviations a chi-square statistic is above its mean."""
    expected = chances * counts.sum()
    often = expected >= 5
    seen = torch.cat([counts[often], counts[~often].sum()[None]])
    due = torch.cat([expected[often], expected[~often].sum()[None]])
    seen, due = seen[due > 0], due[due > 0]
    n = len(due) - 1
    return ((((seen - due) ** 2 / due).sum() - n) / (2 * n) ** 0.5).item()


def test_twenty_thousand_checked_drafts_are_distributed_as_the_model():
    generator = torch.Generator().manual_seed(0)
    p, q = (random_tables(4, 3, generator) for _ in range(2))
    n = 20_000

    def rows(table, *given):
        return torch.stack([table[tuple(c)] for c in zip(*given, strict=True)])

    x = draw(q[()].expand(n, -1), generator)
    y = draw(rows(q, x.tolist()), generator)
    asked = [q[()].expand(n, -1), rows(q, x.tolist())]
    answers = [
        p[()].expand(n, -1),
        rows(p, x.tolist()),
        rows(p, x.tolist(), y.tolist()),
    ]
    drafts = torch.stack([x, y], dim=1)
    kept, behind = accept(
        drafts, torch.stack(asked, 1), torch.stack(answers, 1), generator
    )
    first = torch.where(kept == 0, behind, x)
    alone = draw(rows(p, first.tolist()), generator)  # what the model writes next
    second = torch.where(kept == 0, alone, torch.where(kept == 1, behind, y))
    chances = torch.stack([p[()][a] * p[(a,)] for a in range(4)]).flatten()

    def counted(second):
        return torch.bincount(first * 4 + second, minlength=16).double()

    assert abs(exceeds(counted(second), chances)) < 4
    assert exceeds(counted(y), chances) > 20  # unchecked drafts are found out
    shares = torch.bincount(kept, minlength=3).double() / n
    assert_close(1 - shares[0], torch.minimum(p[()], q[()]).sum(), rtol=0, atol=0.02)


def test_equal_distributions_keep_every_draft_and_disjoint_ones_none():
    p = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]]).double().expand(100, -1, -1)
    drafts = torch.tensor([[0]]).expand(100, -1)
    kept, behind = accept(drafts, p[:, :1], p)
    assert kept.tolist() == [1] * 100
    assert behind.tolist() == [2] * 100
    q = torch.tensor([[[0.0, 0.0, 1.0]]]).double().expand(100, -1, -1)
    kept, behind = accept(drafts + 2, q, p)
    assert kept.sum() == 0
    assert set(behind.tolist()) == {0, 1}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_at_temperature_0_the_text_is_the_same_token_by_token(name, depth):
    model = new_model(depth)
    want = sample(model, [PROMPT], 40, temperature=0.0)[0]
    done = sample_with_drafts(model, PROMPT, drafters(model)[name], 40, temperature=0.0)
    assert done.tokens == want
    assert 0 <= done.kept <= done.guessed
    if name == "the model itself":
        assert done.kept == done.guessed
        assert done.per_pass == 3


def every_way(write):
    """The probability of each text that `write(choose)` can write, however it does.

    `choose` takes the chances of what may come and says which one comes; each of them
    does, in one run or another.
    """
    total, left = {}, [[]]
    while left:
        script, taken, chance = left.pop(), [], 1.0

        def choose(chances, script=script, taken=taken):
            nonlocal chance
            if len(taken) == len(script):
                first, *others = (n for n, c in enumerate(chances) if c > 0)
                left.extend([*taken, other] for other in others)
                script.append(first)
            taken.append(script[len(taken)])
            chance *= chances[taken[-1]]
            return taken[-1]

        text = tuple(write(choose))
        total[text] = total.get(text, 0.0) + chance
    return total


def alone(model, text, length, ends):
    """The probability of each text that the model writes behind one without drafts."""
    with torch.no_grad():
        p = distribution(model(torch.tensor([text]))[0, -1]).tolist()
    total = {}
    for token, chance in enumerate(p):
        over = length == 1 or token in ends
        rest = {(): 1.0} if over else alone(model, [*text, token], length - 1, ends)
        total |= {(token, *more): chance * part for more, part in rest.items()}
    return total


@pytest.mark.parametrize(
    ("depth", "vocab", "length", "ends"), [(1, 3, 3, (EOS_ID,)), (2, 2, 4, ())]
)
def test_the_whole_sampler_writes_the_distribution_of_the_model(
    monkeypatch, depth, vocab, length, ends
):
    """Every text behind a prompt: all draws and all checks, added up."""
    torch.manual_seed(3)
    config = replace(
        CONFIG, vocab_size=vocab, n_layers=1, n_dense_layers=1, initializer_range=0.5
    )
    config = replace(config, num_nextn_predict_layers=depth)
    model = Model(config).double().eval()
    prompt, kinds = [vocab - 1, 0], set()

    @torch.no_grad()
    def write(choose):
        def drawn(p, generator):
            return torch.tensor([choose((p[0] / p[0].sum()).tolist())])

        def checked(drafts, q, p, generator):
            # Just below or just above p / q, where a draft is still kept or no more.
            uniform = torch.zeros(drafts.shape).double()
            for n, draft in enumerate(drafts[0].tolist()):
                ratio = (p[0, n, draft] / q[0, n, draft]).clamp(max=1).item()
                keep = choose([1 - ratio, ratio])
                kinds.add((drafts.shape[1], n, keep))
                uniform[0, n] = ratio * (1 - 1e-9 if keep else 1 + 1e-9)
                if not keep:
                    break
            with mock.patch.object(torch, "rand", return_value=uniform):
                return accept(drafts, q, p, generator)

        monkeypatch.setattr(drafting, "draw", drawn)
        monkeypatch.setattr(drafting, "accept", checked)
        drafter = MTPDrafter(model)
        steps = drafting.drafted_steps(model, prompt, drafter, length, ends=ends)
        return [token for step in steps for token in step.tokens]

    found, due = every_way(write), alone(model, prompt, length, ends)
    assert found.keys() == due.keys()
    for text, chance in due.items():
        assert found[text] == pytest.approx(chance, abs=1e-14)
    # each draft of a pass is kept in some way, and rejected in another
    assert {(depth, n, keep) for n in range(depth) for keep in (0, 1)} <= kinds


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_after_every_rejection_the_drafter_is_where_a_new_one_would_be(depth):
    model, text = new_model(depth), list(PROMPT)
    veteran, done = MTPDrafter(model), 0

    def seeded(seed):
        generator = torch.Generator().manual_seed(seed)

        def choose(logits):
            q = distribution(logits)
            return draw(q, generator).item(), q

        return choose

    torch.manual_seed(0)
    for step in range(6):
        with torch.no_grad():
            hidden = model.encode(torch.tensor([text[:-1]]))
            q = veteran.draft(text, hidden[:, done:], seeded(step), depth)
            same = MTPDrafter(model).draft(text, hidden, seeded(step), depth)
        assert q[0].tolist() == same[0].tolist()
        assert_close(q[1], same[1])
        done = len(text) - 1
        text += torch.randint(0, 32, (1 + step % 3,)).tolist()  # not the drafts


def test_one_module_keeps_nothing_that_would_have_to_be_forgotten():
    model = new_model(1)
    drafter = MTPDrafter(model)
    done = sample_with_drafts(model, PROMPT, drafter, 20, 0.0)
    assert drafter.caches[0].length <= len(PROMPT) + len(done.tokens) - 1


def test_lookup_repeats_what_followed_before_and_is_silent_else():
    drafter, nothing = LookupDrafter(32, count=2, ngram=2), torch.zeros(1, 1, 4)
    drafts, q = drafter.draft([5, 6, 7, 8, 9, 5, 6], nothing, distribution, 2)
    assert drafts.tolist() == [[7, 8]]
    assert q.argmax(-1).tolist() == [[7, 8]]
    drafts, q = drafter.draft([5, 6, 7, 8], nothing, distribution, 2)
    assert drafts.shape == (1, 0)
    assert q.shape == (1, 0, 32)


@pytest.mark.parametrize("name", NAMES)
def test_drafts_end_where_the_context_ends(name):
    model = new_model(2)
    model.config = replace(model.config, max_seq_len=len(PROMPT) + 9)
    for layer in [*model.layers, *(module.block for module in model.mtp)]:
        layer.attn.angles = layer.attn.angles[: len(PROMPT) + 9]
    for new in range(1, 10):
        drafter = drafters(model)[name]
        done = sample_with_drafts(model, PROMPT, drafter, new, 0.0)
        assert done.tokens == sample(model, [PROMPT], new, temperature=0.0)[0]


@pytest.mark.parametrize("new", [7, 8, 9, 10])
def test_only_what_is_in_the_text_counts_as_kept(new):
    model = new_model()
    done = sample_with_drafts(model, PROMPT, ModelDrafter(model, 3), new, 0.0)
    assert len(done.tokens) == new
    assert done.kept + done.passes == new - 1
    assert done.kept == done.judged == done.guessed
    assert done.per_pass == (new - 1) / done.passes


def test_drafts_behind_the_end_are_not_counted():
    class Ends:
        count = 3

        def draft(self, text, hidden, choose, most):
            drafts = torch.full((1, most), EOS_ID)
            return drafts, F.one_hot(drafts, 32).double()

    model, text = new_model(), list(PROMPT)
    with torch.no_grad():
        first = sample(model, [text], 1, temperature=0.0)[0]
        before, after = model.encode(torch.tensor([text + first]))[0, -2:]
        model.head.weight[EOS_ID] = 9 * (after - before)
    done = sample_with_drafts(model, text, Ends(), 20, 0.0)
    assert done.tokens == [*first, EOS_ID]
    assert (done.guessed, done.judged, done.kept, done.passes) == (3, 1, 1, 1)
    assert done.per_pass == 1


def test_a_draft_in_bf16_is_kept_as_often_as_it_should_be():
    n = 100_000
    p = torch.tensor([[0.001, 0.999]]).bfloat16().expand(n, 2, 2)
    q = torch.tensor([[1.0, 0.0]]).bfloat16().expand(n, 1, 2)
    drafts = torch.zeros(n, 1, dtype=torch.int64)
    kept, _ = accept(drafts, q, p, torch.Generator().manual_seed(0))
    assert 70 < kept.sum() < 130


def test_equal_but_for_rounding_leaves_something_to_draw():
    p = torch.tensor([[[0.9999999, 0.0], [1.0, 0.0]]])
    q, drafts = torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1, dtype=torch.int64)
    with mock.patch("torch.rand", return_value=torch.tensor([[0.99999994]])):
        kept, behind = accept(drafts, q, p)
    assert kept.tolist() == [0]
    assert behind.tolist() == [0]


def test_errors_name_the_value_and_the_remedy():
    with pytest.raises(ValueError, match="num_nextn_predict_layers is 0; train"):
        MTPDrafter(new_model(0))
    model = new_model()
    with pytest.raises(ValueError, match=r"0 tokens of prompt.*start a prompt with"):
        sample_with_drafts(model, [], MTPDrafter(model))
    with pytest.raises(ValueError, match="0 new tokens"):
        sample_with_drafts(model, PROMPT, MTPDrafter(model), 0)
    with pytest.raises(ValueError, match=r"temperature is -1\.0"):
        distribution(torch.zeros(1, 3), -1.0)


def test_a_text_that_outgrows_the_drafters_context_goes_on_without_drafts():
    model = new_model(0)
    config = replace(CONFIG, num_nextn_predict_layers=0, max_seq_len=16)
    small = Model(config).double().eval()
    small.load_state_dict(model.state_dict())
    text = sample(model, [PROMPT], 24, temperature=0.0)[0]
    assert len(PROMPT) + len(text) > 20
    done = sample_with_drafts(model, PROMPT, ModelDrafter(small, 3), 24, 0.0)
    assert done.tokens == text
    # From 10 tokens and from 14 it guesses three; the last of these takes all of the 16
    # that it can read. From 18 on it is silent.
    assert len(PROMPT) == 9
    assert done.kept == done.guessed == 6
    long = PROMPT + text
    assert sample_with_drafts(model, long, ModelDrafter(small, 3), 4).guessed == 0
