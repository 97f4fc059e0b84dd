"""Formats, scales, short sums and the linear layer that is made of them."""

import inspect
import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from experiments import pretrain
from r1.model.config import ModelConfig
from r1.model.fp8 import (
    E4M3,
    E5M2,
    E5M6,
    RECIPES,
    V3,
    Format,
    Linear,
    Recipe,
    decode,
    dequantize,
    fake_quantize,
    limited_matmul,
    linear,
    lower_precision,
    quantize,
    register_matmul,
    round_operand,
    round_to,
)
from r1.model.moe import Experts
from r1.model.transformer import Model
from r1.train.records import read_log

TORCH = {E4M3: torch.float8_e4m3fn, E5M2: torch.float8_e5m2}
both = pytest.mark.parametrize("fmt", TORCH, ids=lambda fmt: fmt.name)
TILES = [None, (1, 128), (128, 1), (128, 128), (3, 5), (1, 1)]
each_tile = pytest.mark.parametrize("tile", TILES, ids=str)
EXACT = {"rtol": 0, "atol": 0, "equal_nan": True}
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def cast(x, fmt):
    """Torch's own conversion there and back."""
    return x.float().to(TORCH[fmt]).float()


def numbers(fmt):
    """All finite numbers of a format, each once, from the smallest to the largest."""
    values = decode(torch.arange(2**fmt.bits), fmt)
    return values[values.isfinite()].unique()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error(found, wanted):
    return ((found.double() - wanted.double()).norm() / wanted.double().norm()).item()


@both
def test_all_256_codes_mean_what_they_mean_to_torch(fmt):
    codes = torch.arange(256)
    theirs = codes.to(torch.uint8).view(TORCH[fmt]).double()
    assert_close(decode(codes, fmt), theirs, **EXACT)


@pytest.mark.parametrize(
    ("fmt", "largest", "smallest", "finite", "nans"),
    [
        (E4M3, 448, 2**-9, 253, 2),
        (E5M2, 57344, 2**-16, 247, 6),
        (E5M6, 65024, 2**-20, 3967, 126),
    ],
    ids=["E4M3", "E5M2", "E5M6"],
)
def test_a_format_has_the_published_numbers(fmt, largest, smallest, finite, nans):
    values = decode(torch.arange(2**fmt.bits), fmt)
    assert (fmt.largest, fmt.smallest) == (largest, smallest)
    assert values[values.isfinite()].max() == largest
    assert values[values > 0].min() == smallest
    assert len(numbers(fmt)) == finite
    assert values.isnan().sum() == nans
    assert values.isinf().sum() == (2 if fmt.infinite else 0)


def test_half_precision_is_a_format_too():
    half = Format("E5M10", 5, 10, infinite=True)
    codes = torch.arange(2**16)
    theirs = codes.to(torch.uint16).view(torch.float16).double()
    assert_close(decode(codes, half), theirs, **EXACT)
    x = 100 * normal(1000)
    assert_close(round_to(x, half), x.half().float(), **EXACT)


@pytest.mark.parametrize("code", [-1, 256])
def test_a_code_has_eight_bits(code):
    with pytest.raises(ValueError, match="between 0 and 255"):
        decode(torch.tensor([code]), E4M3)


@pytest.mark.parametrize("fmt", [E4M3, E5M2, E5M6], ids=lambda fmt: fmt.name)
def test_numbers_of_a_format_are_left_alone(fmt):
    assert_close(round_to(numbers(fmt), fmt).double(), numbers(fmt), **EXACT)


@both
def test_midpoints_between_neighbors_are_rounded_as_torch_does(fmt):
    values = numbers(fmt).float()
    middle = (values[1:] + values[:-1]) / 2
    for away in (-torch.inf, None, torch.inf):  # just below, at, and just above them
        x = middle
        if away is not None:
            x = torch.nextafter(middle, torch.full_like(middle, away))
        assert_close(round_to(x, fmt), cast(x, fmt), **EXACT)
    below, above = values[:-1], values[1:]
    even = decode(torch.arange(0, 256, 2), fmt).float()
    chosen = round_to(middle, fmt)
    assert torch.isin(chosen, even).all()
    assert ((chosen == below) | (chosen == above)).all()


@both
@given(x=st.lists(FLOATS, min_size=1, max_size=20))
def test_any_number_is_rounded_as_torch_does_unless_too_large(fmt, x):
    x = torch.tensor(x).clamp(-fmt.largest, fmt.largest)
    assert_close(round_to(x, fmt), cast(x, fmt), **EXACT)


@both
def test_what_is_too_large_becomes_the_largest_and_nan_stays(fmt):
    top = fmt.largest
    x = torch.tensor([top * 1.01, 1e30, torch.inf, -torch.inf, torch.nan])
    assert_close(
        round_to(x, fmt), torch.tensor([top, top, top, -top, torch.nan]), **EXACT
    )


@given(x=FLOATS)
def test_rounding_is_odd_and_at_most_half_a_step_off(x):
    x = torch.tensor([x]).clamp(-448, 448)
    y = round_to(x)
    assert_close(round_to(-x), -y, **EXACT)
    allowed = torch.maximum(x.abs() / 16, torch.tensor([2.0**-10]))
    assert ((y - x).abs() <= allowed).all()


@each_tile
@pytest.mark.parametrize("shape", [(256, 256), (130, 200), (7, 11), (1, 1), (0, 5)])
def test_a_tensor_of_any_shape_is_cut_into_tiles_and_joined(tile, shape):
    x = normal(*shape)
    q, scales = quantize(x, tile)
    rows, columns = (
        max(1, min(t, n)) for t, n in zip(tile or shape, shape, strict=True)
    )
    assert scales.shape == (math.ceil(shape[0] / rows), math.ceil(shape[1] / columns))
    assert_close(cast(q, E4M3), q, **EXACT)
    back = dequantize(q, scales, tile)
    assert_close(back, fake_quantize(x, tile), **EXACT)
    places = torch.randperm(scales.numel(), generator=torch.Generator().manual_seed(0))
    for place in places[:30].tolist():
        i, j = divmod(place, scales.shape[1])
        part = slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns)
        amax = x[part].abs().max()
        assert_close(scales[i, j], amax / 448)
        assert q[part].abs().max() == 448
        off = (back[part] - x[part]).abs()
        assert (off <= torch.maximum(x[part].abs() / 15.9, amax / 448 / 1023)).all()


@each_tile
def test_quantizing_again_changes_nothing_with_scales_of_two(tile):
    once = fake_quantize(normal(130, 200), tile, power_of_two=True)
    assert_close(fake_quantize(once, tile, power_of_two=True), once, **EXACT)


@given(
    exponents=st.lists(st.integers(-5, 5), min_size=6, max_size=6),
    codes=st.lists(st.integers(8, 126), min_size=6, max_size=6),
)
def test_a_product_of_a_power_of_two_and_a_normal_number_comes_back(exponents, codes):
    """As long as the tile spans no more than the format's range."""
    q = decode(torch.tensor(codes), E4M3).float()
    q = q.clamp(1, 448)
    x = (q * 2.0 ** torch.tensor(exponents))[None]
    assert_close(fake_quantize(x, power_of_two=True), x, **EXACT)


@given(x=st.lists(st.floats(2.0**-110, 2.0**100, width=32), min_size=1, max_size=8))
def test_scales_of_two_are_the_next_powers(x):
    _, exact = quantize(torch.tensor([x]), (1, 1))
    _, scales = quantize(torch.tensor([x]), (1, 1), power_of_two=True)
    mantissa, _ = torch.frexp(scales)
    assert (mantissa == 0.5).all()
    assert ((scales >= exact) & (scales < 2 * exact)).all()


def test_a_change_of_tiles_costs_nothing_with_scales_of_two_and_range_enough():
    x = normal(256, 256)
    for stored, free in ((E4M3, True), (E5M6, False)):
        rows = fake_quantize(x, (1, 128), stored, power_of_two=True)
        columns = fake_quantize(rows, (128, 1), stored, power_of_two=True)
        changed = (rows != columns).float().mean()
        assert changed < (0.01 if free else 1e-9)
    again = fake_quantize(fake_quantize(x, (1, 128)), (128, 1))
    assert (again != fake_quantize(x, (1, 128))).float().mean() > 0.5


def test_tiles_of_zeros_nan_and_infinity():
    x = torch.tensor([[0.0, 0.0, 1.0], [torch.nan, 1.0, 2.0], [1.0, torch.inf, 2.0]])
    back = fake_quantize(x, (1, 3))
    assert_close(back[0], x[0])
    assert back[1].isnan().all()
    assert back[2].isnan().any()
    assert_close(fake_quantize(torch.zeros(2, 2)), torch.zeros(2, 2), **EXACT)


@pytest.mark.parametrize("tile", [(0, 1), (1, -1)])
def test_a_tile_has_a_row_and_a_column(tile):
    with pytest.raises(ValueError, match="row and a column"):
        quantize(torch.ones(2, 2), tile)


def test_an_outlier_spoils_only_its_own_tile():
    x = normal(256, 256)
    x[3, 200] = 1e9
    usual = torch.ones_like(x, dtype=torch.bool)
    usual[3, 200] = False
    spoiled = {}
    for tile in (None, (1, 128), (128, 128)):
        spoiled[tile] = int(((fake_quantize(x, tile) == 0) & usual).sum())
    assert spoiled == {None: 256 * 256 - 1, (1, 128): 127, (128, 128): 128 * 128 - 1}


def short_sum(a, b, bits, group, promote):
    """The sum of one entry by exact fractions, as the papers tell it."""

    def exponent(x):
        return max(math.frexp(x)[1] - 1, -6) if x else None

    def cut(x, power):
        unit = Fraction(2) ** (power - bits)
        return int(x / unit) * unit  # int() cuts toward zero

    def keep(x):
        if not x:
            return x
        power = math.floor(math.log2(abs(float(x))))
        return cut(x, power)

    register, total = Fraction(0), Fraction(0)
    for start in range(0, len(a), group):
        pairs = list(
            zip(a[start : start + group], b[start : start + group], strict=True)
        )
        powers = [exponent(x) + exponent(y) for x, y in pairs if x and y]
        if register:
            powers.append(math.floor(math.log2(abs(float(register)))))
        if not powers:
            continue
        top = max(powers)
        terms = [Fraction(x) * Fraction(y) for x, y in pairs] + [register]
        register = keep(sum(cut(term, top) for term in terms))
        if promote and (start + group) % promote == 0:
            total, register = total + register, Fraction(0)
    return float(total + register)


@given(
    a=st.lists(st.integers(0, 126), min_size=24, max_size=24),
    b=st.lists(st.integers(0, 126), min_size=24, max_size=24),
    signs=st.integers(0, 2**24 - 1),
    bits=st.sampled_from([3, 7, 13]),
    group=st.sampled_from([1, 4, 8]),
    promote=st.sampled_from([None, 8, 16]),
)
def test_short_sums_are_those_of_exact_fractions(a, b, signs, bits, group, promote):
    sign = torch.tensor([1 - 2 * (signs >> i & 1) for i in range(24)])
    a = decode(torch.tensor(a), E4M3) * sign
    b = decode(torch.tensor(b), E4M3)
    found = limited_matmul(a[None], b[:, None], bits, group, promote)
    assert found.item() == pytest.approx(
        short_sum(a.tolist(), b.tolist(), bits, group, promote), rel=1e-6
    )
    if promote is None:  # nothing was added in float32
        assert found.item() == short_sum(a.tolist(), b.tolist(), bits, group, promote)


def register_sum(a, b, bits, group, promote):
    """The sum of one entry of `register_matmul`, term by term."""
    register, total = Fraction(0), Fraction(0)
    for start in range(0, len(a), group):
        stop = start + group
        pairs = zip(a[start:stop], b[start:stop], strict=True)
        register += sum(Fraction(x) * Fraction(y) for x, y in pairs)
        if register:
            power = math.floor(math.log2(abs(float(register))))
            unit = Fraction(2) ** (power - bits)
            register = int(register / unit) * unit  # int() cuts toward zero
        if promote and stop % promote == 0:
            total, register = total + register, Fraction(0)
    return float(total + register)


@given(
    a=st.lists(st.integers(-60, 60), min_size=22, max_size=22),
    b=st.lists(st.integers(-60, 60), min_size=22, max_size=22),
    bits=st.sampled_from([0, 4, 13]),
    group=st.sampled_from([1, 4, 8]),
    promote=st.sampled_from([None, 8, 16]),
)
def test_a_register_of_few_bits_is_cut_after_each_group(a, b, bits, group, promote):
    """Whole numbers, so that float32 adds the terms of a group without an error."""
    left, right = torch.tensor(a).float()[None], torch.tensor(b).float()[:, None]
    found = register_matmul(left, right, bits, promote, group)
    assert found.item() == register_sum(a, b, bits, group, promote)


def test_a_register_with_all_bits_is_a_sum_in_float32():
    a, b = normal(5, 100), normal(100, 7, seed=1)
    for promote in (None, 32):
        assert_close(register_matmul(a, b, 23, promote), a @ b)
    for shapes in (((0, 3), (3, 2)), ((2, 0), (0, 3))):  # an expert without tokens
        a, b = (torch.ones(shape) for shape in shapes)
        assert_close(register_matmul(a, b, 4), a @ b)


def test_a_promotion_helps_where_a_sum_is_long():
    a, b = normal(16, 1024), normal(1024, 16, seed=1)
    never, often = (register_matmul(a, b, 4, p) for p in (None, 32))
    assert error(often, a @ b) < 0.05 < 0.4 < error(never, a @ b)


@pytest.mark.parametrize(("bits", "promote"), [(24, None), (-1, None), (4, 24)])
def test_a_register_has_bits_of_a_float32_and_whole_groups(bits, promote):
    with pytest.raises(ValueError, match=r"use a multiple|has 0 to 23"):
        register_matmul(torch.ones(2, 32), torch.ones(32, 2), bits, promote)


def test_all_three_products_of_a_layer_are_summed_as_the_recipe_says():
    x, w, g = operands(rows=256)
    recipe = replace(V3, fraction_bits=4, promote=32)
    row, block, column = (1, 128), (128, 128), (128, 1)
    rows, blocks = fake_quantize(x, row), fake_quantize(w, block)
    again = fake_quantize(rows, column)
    want = (
        register_matmul(rows, blocks.T, 4, 32).bfloat16().float(),
        register_matmul(fake_quantize(g, row), blocks, 4, 32).bfloat16().float(),
        register_matmul(fake_quantize(g, column).T, again, 4, 32),
    )
    for mine, theirs in zip(gradients(x, w, g, recipe), want, strict=True):
        assert_close(mine, theirs, **EXACT)


def test_short_sums_are_those_of_the_hardware():
    """Of four instructions m64n8k32 in a row, as MMA-Sim (c785138) computes them.

    Its authors have compared it with a Hopper GPU bit by bit.
    """

    def mixed(rows, columns, salt):
        place = torch.arange(rows * columns).view(rows, columns)
        codes = (place * place * 7919 + place * 104729 + salt) % 1009 % 120
        return decode(codes, E4M3) * (1 - 2 * (place * 31 % 7 % 2))

    found = limited_matmul(mixed(64, 128, 3), mixed(128, 8, 5))
    row = [65440.0, -17166, -27636, 78352, 33168, -35944, 37060, 99096]
    column = [65440.0, 26492, 22878, -35756, -38680, 22010, -73960, 145520]
    assert found[0].tolist() == row
    assert found[:8, 0].tolist() == column


def test_with_bits_enough_a_sum_is_exact():
    a, b = round_to(normal(5, 96)), round_to(normal(96, 7, seed=1))
    exact = (a.double() @ b.double()).float()
    for rounding in ("truncate", "nearest"):
        assert_close(limited_matmul(a, b, 45, rounding=rounding), exact, **EXACT)


def test_short_sums_by_hand():
    """1 + 1/8 with two bits behind the point: the eighth is cut off each time."""
    a = torch.tensor([[1.0, 0.125, 0.125, 0.125]])
    ones = torch.ones(4, 1)
    assert limited_matmul(a, ones, 2, group=1).item() == 1
    assert limited_matmul(a, ones, 3, group=1).item() == 1.375
    assert limited_matmul(a, ones, 2, group=1, promote=1).item() == 1.375
    assert limited_matmul(a, ones, 2, group=1, rounding="nearest").item() == 1
    assert limited_matmul(-a, ones, 2, group=1).item() == -1


def test_stochastic_rounding_is_right_on_average():
    a, b = torch.full((400, 64), 1.125), torch.ones(64, 1)
    generator = torch.Generator().manual_seed(0)
    sums = limited_matmul(a, b, 6, 4, rounding="stochastic", generator=generator)
    cut = limited_matmul(a, b, 6, 4)
    assert abs(sums.mean() / 72 - 1) < 0.01
    assert cut.max() / 72 - 1 < -0.05


def test_promotion_cures_the_short_sum():
    a, b = (quantize(x)[0] for x in (normal(16, 4096).abs(), normal(4096, 16).abs()))
    exact = a.double() @ b.double()
    errors = [error(limited_matmul(a, b, promote=n), exact) for n in (None, 512, 128)]
    assert errors[0] > 0.05 > 0.01 > errors[1] > errors[2]
    assert errors[2] < 0.001


def test_mistakes_in_short_sums_are_named():
    a = torch.ones(1, 32)
    with pytest.raises(ValueError, match="use a multiple of group=32"):
        limited_matmul(a, a.T, promote=40)
    with pytest.raises(ValueError, match="'truncate', 'nearest' or 'stochastic'"):
        limited_matmul(a, a.T, rounding="up")


def gradients(x, w, g, recipe=None):
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    y = F.linear(x, w) if recipe is None else linear(x, w, recipe)
    y.backward(g)
    return y.detach(), x.grad, w.grad


def operands(rows=200, inner=160, outer=144):
    return (
        normal(rows, inner),
        normal(outer, inner, seed=1),
        normal(rows, outer, seed=2),
    )


def test_a_linear_layer_multiplies_what_the_report_says():
    x, w, g = operands()
    y, dx, dw = gradients(x, w, g, V3)
    row, block, column = (1, 128), (128, 128), (128, 1)
    rows, blocks = fake_quantize(x, row), fake_quantize(w, block)
    assert_close(y, (rows @ blocks.T).bfloat16().float(), **EXACT)
    assert_close(dx, (fake_quantize(g, row) @ blocks).bfloat16().float(), **EXACT)
    again = fake_quantize(rows, column)
    assert_close(dw, fake_quantize(g, column).T @ again, **EXACT)


@pytest.mark.parametrize("name", RECIPES)
def test_gradients_are_those_of_plain_torch_up_to_rounding(name):
    """Errors of both operands are independent, so their squares add up."""
    x, w, g = operands()
    recipe, plain = RECIPES[name], gradients(x, w, g)
    found = gradients(x, w, g, recipe)
    left = recipe.fmt, recipe.gradient_fmt, recipe.gradient_fmt
    one = {None: 0.002, E4M3: 0.027, E5M2: 0.054}
    stored = 2 if name.startswith("fp8") else 1  # the input was rounded twice
    right = one[recipe.fmt], one[recipe.fmt], one[recipe.fmt] * stored**0.5
    for mine, theirs, a, b in zip(found, plain, left, right, strict=True):
        expected = math.hypot(one[a], b)
        if recipe.fraction_bits in (1, 4):  # sums are off by more than their operands
            assert error(mine, theirs) > expected
            continue
        assert 0.5 * expected < error(mine, theirs) < 1.3 * expected + 0.001


def test_without_rounding_nothing_is_left_but_bf16():
    """Small whole numbers are the same in every format."""
    x, w = torch.tensor([[1.0, 2, 448]]), torch.tensor([[448.0, 4, 1], [8, 448, 2]])
    g = torch.tensor([[448.0, 16.0]])
    y, dx, dw = gradients(x, w, g, V3)
    plain = gradients(x, w, g)
    assert_close(y, plain[0].bfloat16().float(), **EXACT)
    assert_close(dx, plain[1].bfloat16().float(), **EXACT)
    assert_close(dw, plain[2], **EXACT)


def test_tokens_that_are_far_apart_suffer_in_blocks_only():
    x, w, g = operands(rows=128)
    g[:64] *= 1e-7
    dx = gradients(x, w, g)[1]
    tiles, blocks = (gradients(x, w, g, RECIPES[n])[1] for n in ("fp8", "fp8-block"))
    assert error(tiles[:64], dx[:64]) < 0.05
    assert error(blocks[:64], dx[:64]) == 1  # all of it is lost
    assert_close(
        error(blocks[64:], dx[64:]), error(tiles[64:], dx[64:]), rtol=0.1, atol=0
    )


def test_an_input_that_is_stored_in_twelve_bits_gives_the_better_gradient():
    x, w, g = operands()
    stored = replace(V3, stored_fmt=E5M6, round_input_scales=True)
    exact = gradients(x, w, g)[2]
    assert error(gradients(x, w, g, stored)[2], exact) < error(
        gradients(x, w, g, V3)[2], exact
    )
    assert_close(gradients(x, w, g, stored)[1], gradients(x, w, g, V3)[1], **EXACT)


def test_a_batch_of_sequences_is_a_batch_of_tokens():
    x, w, _ = operands()
    assert_close(
        linear(x.view(5, 40, 160), w, V3).flatten(0, 1), linear(x, w, V3), **EXACT
    )
    assert linear(x[:0], w, V3).shape == (0, 144)
    assert_close(round_operand(x, None, None), x.bfloat16().float(), **EXACT)


def test_a_model_keeps_its_parameters_and_some_of_its_precision():
    torch.manual_seed(0)
    model, lowered = (Model(ModelConfig.tiny()) for _ in range(2))
    lowered.load_state_dict(model.state_dict())
    before = dict(lowered.named_parameters())
    lower_precision(lowered, V3)
    after = dict(lowered.named_parameters())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert type(lowered.head) is torch.nn.Linear
    kept = {n for n, m in lowered.named_modules() if type(m) is torch.nn.Linear}
    assert kept == {"head"}
    special = {
        n
        for n, m in lowered.named_modules()
        if isinstance(m, Linear) and m.recipe.stored_fmt == E5M6
    }
    assert special
    assert all(name.endswith("attn.wo") for name in special)
    for name, module in lowered.named_modules():
        if isinstance(module, Linear):
            # behind attention, both: twelve bits, and scales that are powers of two
            twelve = replace(V3, stored_fmt=E5M6, round_input_scales=True)
            assert module.recipe == (twelve if name in special else V3), name
    experts = [m.ffn for m in lowered.modules() if isinstance(m, Experts)]
    inner = torch.nn.functional.silu
    for ffn in experts:
        x, weights = torch.randn(4, 64), [torch.randn(8, 64), torch.randn(64, 8)]
        up = replace(V3, round_input_scales=True)
        down = replace(V3, round_gradient_scales=True)
        middle = linear(x, weights[0], up)
        expected = linear(inner(middle) * middle, weights[1], down)
        assert_close(ffn(x, weights[0], weights[1], weights[0]), expected, **EXACT)
    assert all(
        m.ffn.__module__ == "r1.model.fp8"
        for m in lowered.modules()
        if isinstance(m, Experts)
    )
    tokens = torch.randint(0, 32, (2, 40))
    off = error(lowered(tokens), model(tokens))
    assert 0.001 < off < 0.2


def test_a_recipe_that_rounds_to_bf16_does_not_touch_what_is_kept():
    torch.manual_seed(0)
    model = Model(ModelConfig.tiny())
    lower_precision(model, RECIPES["bf16"])
    linears = [m for m in model.modules() if isinstance(m, Linear)]
    assert {m.recipe for m in linears} == {RECIPES["bf16"]}
    assert RECIPES["bf16"] == Recipe(fmt=None, gradient_fmt=None, stored_fmt=None)


@pytest.mark.parametrize("dtype", ["fp8", "bf16"])
def test_the_command_trains_with_eight_bits(tmp_path, dtype):
    out = tmp_path / "run"
    command = f"--config tiny --out {out} --dtype {dtype} --rows 2 --steps"
    command += " 3 --problems 0 --save-every 0 --threads 1"
    pretrain.main(command.split())
    log = read_log(out.with_suffix(".csv"))
    assert len(log["loss"]) == 3
    assert all(2 < loss < 5 for loss in log["loss"])
    plain = command.replace(f"--dtype {dtype}", "").replace("run", "plain").split()
    pretrain.main(plain)
    assert read_log(tmp_path / "plain.csv")["loss"] != log["loss"]
    assert not (tmp_path / "run_terms.csv").exists()


def test_experts_that_are_shared_out_compute_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(pretrain, "join", lambda device: 0)
    command = ["--out", str(tmp_path / "a"), "--dtype", "fp8"]
    with pytest.raises(SystemExit, match="leave out --dtype"):
        pretrain.main([*command, "--parallel", "experts"])


@both
@pytest.mark.parametrize("tile", [None, (128, 128), (1, 128)], ids=str)
def test_numbers_of_torchs_own_eight_bits_are_dequantized_as_ours(fmt, tile):
    x = normal(200, 300)
    q, scales = quantize(x, tile, fmt, power_of_two=True)
    found = dequantize(q.to(TORCH[fmt]), scales.to(torch.float8_e8m0fnu), tile)
    assert_close(found, dequantize(q, scales, tile), **EXACT)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_scales_that_are_not_one_a_tile_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(200, 300\) in tiles of .* has \(2, 3\)"):
        dequantize(normal(200, 300), torch.ones(shape), (128, 128))


def test_a_product_of_matrices_that_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="the inner axes must be equal"):
        inspect.unwrap(limited_matmul)(normal(2, 64), normal(1, 3))
