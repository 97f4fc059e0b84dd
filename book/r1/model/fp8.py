"""Eight bits: formats, scales, sums with few bits, and linear layers made of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from r1.model.moe import Experts

Tile = tuple[int, int] | None  # rows and columns that share a scale; None: all of them


class Format(NamedTuple):
    r"""A floating-point format of one sign bit, exponent bits and mantissa bits.

    An exponent field $e > 0$ and a mantissa field $m$ stand for
    $\pm 2^{e - b}(1 + m / 2^M)$ with the bias $b = 2^{E-1} - 1$; $e = 0$ for the
    subnormal numbers $\pm 2^{1-b}\, m / 2^M$. With `infinite`, the largest exponent
    holds infinities and nan, as in IEEE 754; without, one mantissa of it is nan.

    Source: Micikevicius et al., 2022, table 1.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    infinite: bool

    @property
    def bits(self) -> int:
        """Bits of a number, the sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent field."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number, and of all subnormal ones."""
        return 1 - self.bias

    @property
    def smallest(self) -> float:
        """The smallest positive number, which is subnormal."""
        return 2.0 ** (self.min_exponent - self.mantissa_bits)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        # IEEE formats lose their largest exponent to infinities and nan (the bool
        # counts as 1), the others only the mantissa of all ones.
        top = 2**self.exponent_bits - 1 - self.infinite - self.bias
        last = 2**self.mantissa_bits - (1 if self.infinite else 2)
        return 2.0**top * (1 + last / 2**self.mantissa_bits)


E4M3 = Format("E4M3", 4, 3, infinite=False)
E5M2 = Format("E5M2", 5, 2, infinite=True)
E5M6 = Format("E5M6", 5, 6, infinite=True)  # DeepSeek's; special values are our guess


def decode(codes: Int[Tensor, "*shape"], fmt: Format) -> Float[Tensor, "*shape"]:
    """The numbers that bit patterns stand for, in float64; see Format.

    Raises ValueError for codes that are negative or have more bits than the format.
    """
    if ((codes < 0) | (codes >= 2**fmt.bits)).any():
        raise ValueError(f"a code of {fmt.name} is between 0 and {2**fmt.bits - 1}")
    last, top = 2**fmt.mantissa_bits - 1, 2**fmt.exponent_bits - 1
    mantissa = codes & last
    exponent = codes >> fmt.mantissa_bits & top
    sign = 1.0 - 2.0 * (codes >> (fmt.bits - 1))
    # Subnormal numbers (field 0) have the exponent of field 1, without the leading 1:
    # clamp gives them the exponent, (exponent > 0) leaves out the 1.
    power = 2.0 ** (exponent.clamp(min=1) - fmt.bias).double()
    value = sign * power * ((exponent > 0) + mantissa / 2.0**fmt.mantissa_bits)
    if fmt.infinite:
        special = torch.where(mantissa == 0, sign * torch.inf, torch.nan)
        return torch.where(exponent == top, special.double(), value)
    return value.masked_fill((exponent == top) & (mantissa == last), torch.nan)


def round_to(x: Float[Tensor, "*shape"], fmt: Format = E4M3) -> Float[Tensor, "*shape"]:
    r"""The nearest number of a format, as float32; ties go to the even mantissa.

    $\Delta\,\mathrm{round}(x / \Delta)$, where $\Delta = 2^{e - M}$ is the distance of
    neighbors and $e$ the exponent of $x$, but at least that of subnormal numbers. What
    is too large, infinities included, becomes the largest number; nan stays nan.
    """
    x = x.float()
    # A float32 has 8 exponent bits (bias 127) before 23 mantissa bits. Reading them is
    # exact; log2 can round to the wrong side of a power of two.
    exponent = (x.view(torch.int32) >> 23 & 0xFF).clamp_(min=fmt.min_exponent + 127)
    step = (exponent.sub_(fmt.mantissa_bits) << 23).view(torch.float32)
    # Dividing by a power of two changes no digit; round_ takes ties to the even number.
    return (x / step).round_().mul_(step).clamp_(-fmt.largest, fmt.largest)


def _cut(x: Tensor, tile: Tile) -> Tensor:
    """Cut a matrix into tiles: (rows of tiles, rows, columns of tiles, columns)."""
    if tile is not None and min(tile) < 1:
        raise ValueError(f"tile is {tile}; it needs a row and a column at least")
    sizes = zip(tile or x.shape, x.shape, strict=True)
    rows, columns = (max(1, min(size, whole)) for size, whole in sizes)
    down, right = -x.shape[0] % rows, -x.shape[1] % columns
    if down or right:
        x = F.pad(x, (0, right, 0, down))
    return x.reshape(x.shape[0] // rows, rows, x.shape[1] // columns, columns)


def _join(tiles: Tensor, rows: int, columns: int) -> Tensor:
    return tiles.flatten(2, 3).flatten(0, 1)[:rows, :columns]


def quantize(
    x: Float[Tensor, "rows columns"],
    tile: Tile = None,
    fmt: Format = E4M3,
    power_of_two: bool = False,
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "down across"]]:
    r"""Numbers of a format, and one scale a tile: $x \approx s\,q$.

    $s = \max|x| / q_{\max}$ over the tile and $q = \mathrm{round}(x / s)$; with
    `power_of_two`, $s$ is raised to the next power of two, so that only the exponent of
    a number changes. Tiles that stick out are filled with zeros, which are cut off
    again. A tile that holds nan or an infinity becomes nan.

    Raises ValueError for a tile without a row or a column.
    Source: DeepSeek-V3, section 3.3.2, and `act_quant` of its inference code, which
    also raises $\max|x|$ to at least 0.0001; here it may have any size.
    """
    tiles = _cut(x.float(), tile)
    scales = tiles.abs().amax((1, 3)) / fmt.largest
    # A tile of zeros would have the scale 0, and then 0 / 0 = nan.
    scales = scales.clamp(min=torch.finfo(torch.float32).tiny)
    if power_of_two:
        # Adding all ones to the mantissa carries into the exponent unless the mantissa
        # is 0; the mask deletes the mantissa. With a scale that is rounded down, x / s
        # could exceed the largest number.
        scales = (scales.view(torch.int32) + 0x7FFFFF & 0x7F800000).view(torch.float32)
    return _join(round_to(tiles / scales[:, None, :, None], fmt), *x.shape), scales


def dequantize(
    q: Float[Tensor, "rows columns"],
    scales: Shaped[Tensor, "down across"],
    tile: Tile = None,
) -> Float[Tensor, "rows columns"]:
    """The numbers that were quantized: each times the scale of its tile.

    Numbers and scales may be of torch's own types of eight bits.

    Raises ValueError for scales that are not one for each tile.
    Source: `weight_dequant` of DeepSeek's inference code.
    """
    # torch has no arithmetic in eight bits; every number of them is one of float32.
    q = q.float() if q.itemsize == 1 else q
    scales = scales.float() if scales.itemsize == 1 else scales
    tiles = _cut(q, tile)
    wanted = tiles.shape[0], tiles.shape[2]
    # A single row of scales would be taken for all rows of tiles.
    if scales.shape != wanted:
        raise ValueError(
            f"scales have the shape {tuple(scales.shape)}; a matrix of "
            f"{tuple(q.shape)} in tiles of {tile or 'all of it'} has {wanted}"
        )
    return _join(tiles * scales[:, None, :, None], *q.shape)


def fake_quantize(
    x: Float[Tensor, "rows columns"],
    tile: Tile = None,
    fmt: Format = E4M3,
    power_of_two: bool = False,
) -> Float[Tensor, "rows columns"]:
    """What is left of x after `quantize` and back: a product of these, in float32, is
    the product of the eight-bit numbers with their scales."""
    return dequantize(*quantize(x, tile, fmt, power_of_two), tile)


def _shorten(units: Tensor, rounding: str, generator: torch.Generator | None) -> Tensor:
    if rounding == "truncate":
        return units.trunc_()
    if rounding == "nearest":
        return units.round_()
    if rounding == "stochastic":
        # floor(u + dice) is the upper neighbor with probability equal to the fraction
        # of u, so the result is right on average.
        dice = torch.rand(units.shape, dtype=units.dtype, generator=generator)
        return units.add_(dice).floor_()
    raise ValueError(
        f"rounding is {rounding!r}; use 'truncate', 'nearest' or 'stochastic'"
    )


def limited_matmul(
    a: Float[Tensor, "rows inner"],
    b: Float[Tensor, "inner columns"],
    fraction_bits: int = 13,
    group: int = 32,
    promote: int | None = None,
    rounding: str = "truncate",
    fmt: Format = E4M3,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "rows columns"]:
    r"""A product of matrices whose sums keep few bits, as on a Hopper tensor core.

    The inner axis is worked off in groups. The products of a group and the register are
    shifted to the largest exponent $e$ among them, cut to multiples of
    $2^{e - \mathrm{fraction\_bits}}$, and added; of the sum the register keeps
    `fraction_bits` behind the leading one. After every `promote` products it is added
    to a sum in float32 and starts at zero again; None: only at the end.

    Exponents are those of the factors, so a and b should hold numbers of `fmt`.
    `rounding` is "truncate" (toward zero, the hardware's), "nearest" or "stochastic".

    Raises ValueError for another rounding, for inner axes that differ, and for
    `promote` that is no multiple of `group`.
    Source: DeepSeek-V3, sections 3.3.2 and 3.5.2; Xie et al., 2025, whose model of the
    Hopper instruction gives the numbers that a test pins.
    """
    if promote and promote % group:
        raise ValueError(f"promote is {promote}; use a multiple of group={group}")
    if a.shape[1] != len(b):
        raise ValueError(
            f"{tuple(a.shape)} times {tuple(b.shape)}: the inner axes must be equal"
        )
    # float64 holds a product of two FP8 numbers and their sums exactly, so all rounding
    # is the rounding that we ask for below.
    a, b = a.double(), b.double()
    # frexp gives a mantissa in [0.5, 1), the usual convention is [1, 2): hence - 1. The
    # hardware takes a subnormal number with the exponent of the smallest normal one.
    powers = [(torch.frexp(x)[1] - 1).clamp(min=fmt.min_exponent) for x in (a, b)]
    # Zero must never set the common exponent, so it gets one below all others.
    zero_power = -1000
    powers = [
        p.masked_fill(x == 0, zero_power) for p, x in zip(powers, (a, b), strict=True)
    ]
    total = torch.zeros(len(a), b.shape[1])
    register = total.double()
    for start in range(0, a.shape[1], group):
        part = slice(start, start + group)
        terms = a[:, None, part] * b.T[None, :, part]
        # The sum of the factors' exponents, even where their mantissas multiply to 2 or
        # more: the hardware does not look at that.
        power = (powers[0][:, None, part] + powers[1].T[None, :, part]).amax(-1)
        register_power = (torch.frexp(register)[1] - 1).masked_fill(
            register == 0, zero_power
        )
        # Terms are aligned to the largest one; what a small term has below this step is
        # lost. The clamp keeps the power of two within float64.
        step = _power(
            torch.maximum(power, register_power).clamp(min=-900) - fraction_bits
        )
        # The register is aligned and cut together with the products, as one more term.
        terms = torch.cat([terms, register[..., None]], dim=-1).div_(step[..., None])
        added = _shorten(terms, rounding, generator).sum(-1).mul_(step)
        # The sum may have become longer, so it is cut again, now by its own exponent.
        step = _power((torch.frexp(added)[1] - 1) - fraction_bits)
        register = _shorten(added.div_(step), rounding, generator).mul_(step)
        # DeepSeek's remedy: move the partial sum to a float32 register before it is so
        # large that new terms are cut away.
        if promote and (start + group) % promote == 0:
            total, register = total + register.float(), torch.zeros_like(register)
    return total + register.float()


def register_matmul(
    a: Float[Tensor, "rows inner"],
    b: Float[Tensor, "inner columns"],
    fraction_bits: int,
    promote: int | None = None,
    group: int = 16,
) -> Float[Tensor, "rows columns"]:
    r"""A product of matrices whose register keeps few bits; cheap enough to train with.

    The terms of a group are added as float32 adds them and added to the register, of
    which `fraction_bits` behind the leading one are kept and the rest cut off. After
    every `promote` terms the register is added to a sum in float32 and starts at zero
    again; None: only at the end. `limited_matmul` also cuts each term, and needs a
    number in memory for each term.

    Raises ValueError for `promote` that is no multiple of `group`, and for bits that a
    float32 does not have.
    """
    if promote and promote % group:
        raise ValueError(f"promote is {promote}; use a multiple of group={group}")
    if not 0 <= fraction_bits <= 23:
        raise ValueError(f"fraction_bits is {fraction_bits}; a float32 has 0 to 23")
    missing = -a.shape[1] % group
    a, b = F.pad(a, (0, missing)), F.pad(b, (0, 0, 0, missing))
    left = a.unflatten(1, (-1, group)).transpose(0, 1)
    parts = torch.bmm(left, b.unflatten(0, (-1, group)))  # a sum for each group
    kept = -1 << (23 - fraction_bits)  # a mask: sign, exponent, first mantissa bits
    total = a.new_zeros(len(a), b.shape[1])
    register = total.clone()
    for done, part in enumerate(parts, 1):
        register += part
        register.view(torch.int32).bitwise_and_(kept)
        if promote and done * group % promote == 0:
            total += register
            register.zero_()
    return total + register


def _power(exponent: Tensor) -> Tensor:
    """Two to whole numbers, exactly: the number is written into the exponent field."""
    # float64 has the bias 1023 and 52 mantissa bits.
    return (exponent.long() + 1023 << 52).view(torch.float64)


@dataclass(frozen=True)
class Recipe:
    """How the operands of a linear layer's three products are rounded.

    `fmt` is for inputs and weights, `gradient_fmt` for gradients, None stands for BF16.
    `activation`, `weight` and `gradient` are tiles of the forward product and of the
    data gradient, `tokens` those of both operands of the weight gradient. `stored_fmt`
    is what an input is kept in until then. Two say whose scales are powers of two. With
    `fraction_bits` sums are those of `register_matmul`, promoted as `promote` says;
    None: of float32.

    Source: DeepSeek-V3, section 3.3.
    """

    fmt: Format | None = E4M3
    gradient_fmt: Format | None = E4M3
    stored_fmt: Format | None = E4M3
    activation: Tile = (1, 128)
    weight: Tile = (128, 128)
    gradient: Tile = (1, 128)
    tokens: Tile = (128, 1)
    round_input_scales: bool = False
    round_gradient_scales: bool = False
    fraction_bits: int | None = None
    promote: int | None = None

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """The product of two operands that are rounded already."""
        if self.fraction_bits is None:
            return a @ b
        return register_matmul(a, b, self.fraction_bits, self.promote)


def round_operand(
    x: Float[Tensor, "rows columns"],
    tile: Tile,
    fmt: Format | None,
    power_of_two: bool = False,
) -> Float[Tensor, "rows columns"]:
    """`fake_quantize`, or BF16 for no format, which needs no scale."""
    if fmt is None:
        return x.bfloat16().float()
    return fake_quantize(x, tile, fmt, power_of_two)


class _Products(torch.autograd.Function):
    """The three products of a linear layer; see linear."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, recipe: Recipe) -> Tensor:
        operand = round_operand(
            x, recipe.activation, recipe.fmt, recipe.round_input_scales
        )
        weight = round_operand(weight, recipe.weight, recipe.fmt)
        stored = operand
        if recipe.stored_fmt != recipe.fmt:
            stored = round_operand(
                x, recipe.activation, recipe.stored_fmt, recipe.round_input_scales
            )
        ctx.save_for_backward(stored, weight)
        ctx.recipe = recipe
        return recipe.multiply(operand, weight.T).bfloat16().float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (stored, weight), recipe = ctx.saved_tensors, ctx.recipe
        rounded = recipe.round_gradient_scales
        # The sum of this product runs over outputs, so scales belong to parts of a row.
        operand = round_operand(grad, recipe.gradient, recipe.gradient_fmt, rounded)
        to_input = recipe.multiply(operand, weight).bfloat16().float()
        # The sum of this product runs over tokens. Scales must be constant along the
        # summed axis of a tile, so the tiles are turned from 1 x 128 to 128 x 1.
        left = round_operand(grad, recipe.tokens, recipe.gradient_fmt, rounded)
        right = round_operand(
            stored, recipe.tokens, recipe.fmt, recipe.round_input_scales
        )
        return to_input, recipe.multiply(left.T, right), None


def linear(
    x: Float[Tensor, "*batch inner"],
    weight: Float[Tensor, "outer inner"],
    recipe: Recipe,
) -> Float[Tensor, "*batch outer"]:
    r"""A linear layer with rounded operands, forward and backward.

    $Y = \hat X \hat W^\top$, $\partial X = \hat G \hat W$ and
    $\partial W = \hat G^\top \hat X$, where hats are `recipe`'s roundings and the last
    product has its own: along tokens, and of the input as it was stored. Sums are
    `recipe`'s, the first two results BF16, the gradient of the weight float32.

    Source: DeepSeek-V3, section 3.3.1 and figure 6.
    """
    flat = _Products.apply(x.flatten(0, -2), weight, recipe)
    return flat.unflatten(0, x.shape[:-1])


class Linear(nn.Linear):
    """An `nn.Linear` without bias that multiplies by a recipe."""

    def __init__(self, like: nn.Linear, recipe: Recipe):
        # nn.Linear's own __init__ would allocate and draw a weight that is thrown away.
        # The weight is that of the old layer, so the optimizer keeps it.
        nn.Module.__init__(self)
        self.in_features, self.out_features = like.in_features, like.out_features
        self.weight, self.recipe = like.weight, recipe
        self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.recipe)


def expert_ffn(recipe: Recipe) -> Callable[..., Tensor]:
    """The feed-forward layer of a routed expert, for `Experts.ffn`.

    Tokens travel to their experts in eight bits, and so do gradients on the way back,
    so the scales of both are powers of two.

    Source: DeepSeek-V3, section 3.3.3.
    """
    up = partial(linear, recipe=replace(recipe, round_input_scales=True))
    down = partial(linear, recipe=replace(recipe, round_gradient_scales=True))

    def ffn(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
        return down(F.silu(up(x, w1)) * up(x, w3), w2)

    return ffn


def lower_precision(model: nn.Module, recipe: Recipe) -> None:
    """Let a model multiply by a recipe, in place, with the same parameters.

    Embedding, output head, routers, norms and attention itself stay as they are. The
    layer behind attention keeps its input in E5M6 with rounded scales, if the recipe
    has formats of eight bits.

    Source: DeepSeek-V3, sections 3.3.1 and 3.3.3.
    """
    eight_bits = recipe.fmt is not None
    output_recipe = replace(recipe, stored_fmt=E5M6, round_input_scales=True)
    for name, module in list(model.named_modules()):
        if isinstance(module, Experts):
            module.ffn = expert_ffn(recipe)
        elif isinstance(module, nn.Linear) and name != "head":
            parent = model.get_submodule(name.rpartition(".")[0])
            child = name.rpartition(".")[2]
            special = eight_bits and child == "wo"
            setattr(parent, child, Linear(module, output_recipe if special else recipe))


V3 = Recipe()
ONE_SCALE = Recipe(activation=None, weight=None, gradient=None, tokens=None)
RECIPES = {
    "bf16": Recipe(fmt=None, gradient_fmt=None, stored_fmt=None),
    "fp8": V3,
    "fp8-block": replace(V3, gradient=(128, 128)),
    "fp8-scale": ONE_SCALE,
    "fp8-format": replace(V3, gradient_fmt=E5M2),
    "fp8-tensor": replace(ONE_SCALE, gradient_fmt=E5M2),
    "fp8-sum13": replace(V3, fraction_bits=13),
    "fp8-sum4": replace(V3, fraction_bits=4),
    "fp8-sum4-promoted": replace(V3, fraction_bits=4, promote=32),
    "fp8-sum1": replace(V3, fraction_bits=1),
    "fp8-sum1-promoted": replace(V3, fraction_bits=1, promote=32),
}
