"""A mixture of experts: who is chosen, what they compute, and a balanced load."""

from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from r1.model.config import ModelConfig
from r1.model.layers import SwiGLU


def route(
    scores: Float[Tensor, "*batch experts"],
    bias: Float[Tensor, " experts"] | None,
    k: int,
    n_groups: int = 1,
    n_limited_groups: int = 1,
    norm_topk_prob: bool = True,
    route_scale: float = 1.0,
) -> tuple[Float[Tensor, "*batch {k}"], Int[Tensor, "*batch {k}"]]:
    r"""Choose `k` experts for each token; returns their weights and their indices.

    The chosen have the largest $s_i + b_i$; their weights are $\lambda s_i$, or
    $\lambda s_i / \sum_{j\,\text{chosen}} s_j$ if normalized, with the bias left out.
    With groups, only those `n_limited_groups` of them take part that have the
    largest sum of their two best biased scores, or where there is no bias, the
    largest score.

    Raises ValueError for scores that are not finite, for more experts than there
    are, and for groups that do not divide or do not hold `k` experts.
    Source: DeepSeek-V3, section 2.1.2 and equations 13 to 16; V2, section 2.2.2.
    """
    experts = scores.shape[-1]
    if not 1 <= k <= experts:
        raise ValueError(f"k is {k}; choose between 1 and all {experts} experts")
    if not 1 <= n_limited_groups <= n_groups or experts % n_groups:
        raise ValueError(
            f"{experts} experts, {n_limited_groups} of {n_groups} groups: groups must "
            "be of equal size, and at least one and at most all of them are kept"
        )
    if k > n_limited_groups * experts // n_groups:
        raise ValueError(
            f"k is {k}, but {n_limited_groups} of {n_groups} groups hold only "
            f"{n_limited_groups * experts // n_groups} experts; keep more groups"
        )
    if not torch.isfinite(scores).all():
        raise ValueError(
            "scores are not finite; lower the learning rate, or look for an overflow "
            "in the layers before"
        )
    # The bias enters the choice only: the weights below are gathered from scores.
    biased = scores if bias is None else scores + bias
    if n_groups > 1:
        groups = biased.unflatten(-1, (n_groups, -1))
        # V3 (with a bias) ranks a group by its two best experts, V2 (without) by the
        # best one. A group of one expert has no second.
        best = 1 if bias is None else min(2, experts // n_groups)
        totals = groups.topk(best).values.sum(-1)
        kept = totals.topk(n_limited_groups).indices
        dropped = torch.ones_like(totals, dtype=torch.bool).scatter(-1, kept, False)
        # -inf and not 0: a biased score may be negative, and then an expert of a
        # dropped group with a 0 would be chosen before it.
        biased = groups.masked_fill(dropped[..., None], -torch.inf).flatten(-2)
    # topk gives no gradient to the choice. The router learns through the weights only.
    indices = biased.topk(k).indices
    weights = scores.gather(-1, indices)
    if norm_topk_prob:
        # 1e-20, DeepSeek's number, prevents 0 / 0 where all chosen sigmoids underflow.
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return route_scale * weights, indices


def count_load(indices: Int[Tensor, "*batch k"], experts: int) -> Int[Tensor, " e"]:
    """Tokens that each of `experts` experts was given."""
    return torch.bincount(indices.flatten(), minlength=experts)


def max_violation(load: Tensor) -> Tensor:
    r"""How far the busiest expert is above the mean, as a share of the mean.

    $\mathrm{MaxVio} = (\max_i \mathrm{Load}_i - \overline{\mathrm{Load}}) /
    \overline{\mathrm{Load}}$ over the last axis: 0 is perfect balance, and with $N$
    experts one that takes every token gives $N/k - 1$.

    Raises ValueError for a load without a token.
    Source: Wang et al., 2024, equation 4.
    """
    load = load if load.is_floating_point() else load.double()
    mean = load.mean(-1)
    if not (mean > 0).all():  # nan is not above 0 either
        raise ValueError("the load holds no token; count it over a batch first")
    return load.amax(-1) / mean - 1


def update_bias(
    bias: Float[Tensor, " experts"], load: Tensor, speed: float
) -> Float[Tensor, " experts"]:
    r"""Raise the bias of experts below the mean load, lower that of those above.

    $b_i \leftarrow b_i + \gamma\,\mathrm{sign}(\overline{c} - c_i)$ with $c_i$ = `load`
    and $\gamma$ = `speed`.

    Raises ValueError for a speed that is negative, which would unbalance, or nan.
    Source: Wang et al., 2024, algorithm 1; DeepSeek-V3, section 2.1.2.
    """
    if not speed >= 0:
        raise ValueError(f"speed is {speed}; it must be 0 or more")
    # +1 for an expert with too few tokens: its bias rises and it is chosen more often.
    # The size of the difference does not enter, so a step is always speed.
    load = load.to(bias.dtype)
    return bias + speed * torch.sign(load.mean() - load)


def sequence_balance_loss(
    scores: Float[Tensor, "batch seq experts"],
    indices: Int[Tensor, "batch seq k"],
) -> Float[Tensor, ""]:
    r"""Price of an unbalanced load within each sequence, averaged over sequences.

    $\sum_i f_i P_i$ with $f_i = \frac{N}{kT}\sum_t \mathbb 1(t \to i)$ and
    $P_i = \frac1T \sum_t s_{i,t} / \sum_j s_{j,t}$; 1 where both are uniform. Equation
    18 counts the `k` largest scores without the bias: `scores.topk(k).indices`.

    Source: DeepSeek-V3, equations 17 to 20, without the factor alpha.
    """
    seq, experts = scores.shape[1:]
    slots = indices.flatten(1)
    counts = torch.zeros_like(scores[:, 0]).scatter_add(
        1, slots, torch.ones_like(slots, dtype=scores.dtype)
    )
    # f has no gradient. It weighs the gradient of p: the scores of busy experts fall.
    f = counts * experts / (indices.shape[-1] * seq)
    # Sigmoid scores do not sum to 1 over the experts; P is defined with shares that do.
    p = (scores / scores.sum(-1, keepdim=True)).mean(1)
    return (f * p).sum(-1).mean()


def expert_balance_loss(
    scores: Float[Tensor, "*batch experts"], indices: Int[Tensor, "*batch k"]
) -> Float[Tensor, ""]:
    """The same price over all tokens of a batch, taken as one sequence.

    DeepSeek-V2's expert-level loss (its equations 23 to 25) has the same form, but is
    of a single sequence and has P of the scores themselves, which a softmax made.

    Source: DeepSeek-V3, the batch-wise loss of section 4.5.3, without a factor.
    """
    flat, slots = scores.flatten(0, -2), indices.flatten(0, -2)
    return sequence_balance_loss(flat[None], slots[None])


class Router(nn.Module):
    r"""Score every expert for every token, and choose.

    $s_i = \sigma(x^\top e_i)$, or a softmax over the experts, then `route`. The bias
    is a buffer: no gradient reaches it, checkpoints hold it. `scores` and `indices`
    are those of the last pass, and a copy of the router has none; while training, the
    `load` of the experts is counted over all passes that learn, which are those with
    gradients, until `update_bias` or `take_load` uses it up.

    Source: DeepSeek-V3, equations 12 to 16.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        experts = config.n_routed_experts
        self.weight = nn.Parameter(torch.empty(experts, config.dim))
        nn.init.normal_(self.weight, std=config.initializer_range)
        bias = torch.zeros(experts) if config.routing_bias else None
        self.register_buffer("bias", bias)
        load = torch.zeros(experts, dtype=torch.int64)
        self.register_buffer("load", load, persistent=False)
        self.scores = self.indices = None

    def _apply(self, fn, recurse=True):
        """Move as any module, with a bias of at least float32: it moves by 0.001."""
        # BF16 keeps 8 significant bits. Next to a bias of 0.5, a step of 0.001 would be
        # rounded away, and the bias would stop moving.
        exact = self.bias
        super()._apply(fn, recurse)
        if exact is not None:
            wide = torch.promote_types(self.bias.dtype, torch.float32)
            self.bias = exact.to(self.bias.device, wide)
        return self

    def forward(
        self, x: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch k"], Int[Tensor, "*batch k"]]:
        # Routing is computed in float32 at least. Two scores that round to the same
        # BF16 number would make the choice arbitrary.
        config, wide = self.config, torch.promote_types(x.dtype, torch.float32)
        logits = F.linear(x.to(wide), self.weight.to(wide))
        scores = (
            logits.sigmoid() if config.score_func == "sigmoid" else logits.softmax(-1)
        )
        weights, indices = route(
            scores,
            self.bias,
            config.n_activated_experts,
            config.n_expert_groups,
            config.n_limited_groups,
            config.norm_topk_prob,
            config.route_scale,
        )
        self.scores, self.indices = scores, indices
        # Neither evaluation nor sampling moves the biases: only training passes count.
        if self.training and torch.is_grad_enabled():
            self.load += count_load(indices, config.n_routed_experts)
        return weights.to(x.dtype), indices

    def __getstate__(self) -> dict:
        # For copies and files: the scores of a pass hold its graph, which has no copy.
        return super().__getstate__() | {"scores": None, "indices": None}

    @torch.no_grad()
    def update_bias(self, speed: float) -> Int[Tensor, " experts"]:
        """Use up the load counted since the last update; returns it, over all ranks.

        Raises ValueError for a router without a bias.
        """
        if self.bias is None:
            raise ValueError(
                f"topk_method is {self.config.topk_method!r}, which has no bias; "
                "use 'noaux_tc'"
            )
        load = self.take_load()
        self.bias.copy_(update_bias(self.bias, load, speed))
        return load

    @torch.no_grad()
    def take_load(self) -> Int[Tensor, " experts"]:
        """The tokens counted since it was last taken, summed over all ranks."""
        load = self.load.clone()
        if dist.is_initialized():
            # All ranks must update with the same load, or their biases would differ.
            dist.all_reduce(load)
        self.load.zero_()
        return load


def expert_ffn(
    x: Float[Tensor, "tokens dim"],
    w1: Float[Tensor, "inter dim"],
    w2: Float[Tensor, "dim inter"],
    w3: Float[Tensor, "inter dim"],
) -> Float[Tensor, "tokens dim"]:
    r"""One expert, a SwiGLU: $W_2\,(\mathrm{silu}(W_1 x) \odot W_3 x)$."""
    return F.linear(F.silu(F.linear(x, w1)) * F.linear(x, w3), w2)


def grouped_experts(
    x: Float[Tensor, "tokens dim"],
    weights: Float[Tensor, "tokens k"],
    indices: Int[Tensor, "tokens k"],
    w1: Float[Tensor, "experts inter dim"],
    w2: Float[Tensor, "experts dim inter"],
    w3: Float[Tensor, "experts inter dim"],
    ffn: Callable[..., Tensor] = expert_ffn,
) -> Float[Tensor, "tokens dim"]:
    r"""Each token through its experts, one expert after the other.

    $\sum_i g_i\,\mathrm{FFN}_i(x)$, equation 12 of DeepSeek-V3 without the shared ones.

    The slots (a token and one of its experts) are sorted by expert, so that every
    expert works once, on rows that lie side by side; the results are added back to
    their tokens. `indices` may hold -1 for a slot that is left out. `ffn` is what an
    expert computes, with other roundings in chapter 08.
    """
    slots = indices.flatten()
    # Flattened slot i belongs to token i // k. Slots of -1 come first and are cut off.
    # A stable sort keeps the order of tokens, so sums are reproducible.
    order = slots.argsort(stable=True)[(slots < 0).sum() :]
    token = order // indices.shape[1]
    # minlength gives idle experts an empty part: parts and matrices stay aligned.
    counts = torch.bincount(slots[order], minlength=len(w1)).tolist()
    rows = x.index_select(0, token).split(counts)
    experts = zip(rows, w1.unbind(), w2.unbind(), w3.unbind(), strict=True)
    outputs = [ffn(part, gate, down, up) for part, gate, down, up in experts]
    weighted = torch.cat(outputs) * weights.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, token, weighted)


def dense_experts(
    x: Float[Tensor, "tokens dim"],
    weights: Float[Tensor, "tokens k"],
    indices: Int[Tensor, "tokens k"],
    w1: Float[Tensor, "experts inter dim"],
    w2: Float[Tensor, "experts dim inter"],
    w3: Float[Tensor, "experts inter dim"],
) -> Float[Tensor, "tokens dim"]:
    """The same sum with every expert on every token, and weight 0 if not chosen.

    More arithmetic in three products instead of three an expert, which for a few tokens
    takes less time. `indices` may hold -1 as in grouped_experts.
    """
    rows = indices.T % (len(w1) + 1)  # -1 becomes one more row, which is cut off
    gates = x.new_zeros(len(w1) + 1, len(x)).scatter(0, rows, weights.T)[:-1]
    inputs = x.expand(len(w1), -1, -1)
    hidden = F.silu(torch.bmm(inputs, w1.mT)) * torch.bmm(inputs, w3.mT)
    # W2 is linear, so the gate may stand before it: g W2 h = W2 (g h). A gate of 0 also
    # makes the gradient of an expert that was not chosen exactly 0.
    return torch.bmm(gates[..., None] * hidden, w2.mT).sum(0)


class Experts(nn.Module):
    """The matrices of all routed experts, in three tensors: w1, w2 and w3 of SwiGLU.

    Up to `FEW` tokens are computed densely where each expert has one on average.
    """

    FEW = 64

    def __init__(self, experts: int, dim: int, inter_dim: int, std: float = 0.02):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(experts, inter_dim, dim))
        self.w2 = nn.Parameter(torch.empty(experts, dim, inter_dim))
        self.w3 = nn.Parameter(torch.empty(experts, inter_dim, dim))
        for weight in self.parameters():
            nn.init.normal_(weight, std=std)
        self.ffn = expert_ffn

    def forward(self, x: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
        few = len(x) <= self.FEW and indices.numel() >= len(self.w1)
        matrices = self.w1, self.w2, self.w3
        if few and self.ffn is expert_ffn:
            return dense_experts(x, weights, indices, *matrices)
        return grouped_experts(x, weights, indices, *matrices, self.ffn)


class MoE(nn.Module):
    r"""A feed-forward layer of experts: the chosen ones, weighed, and the shared ones.

    $y = \sum_{i\,\text{chosen}} g_i\,\mathrm{FFN}_i(x) + \mathrm{FFN}^{(s)}(x)$, where
    the shared experts are one SwiGLU of their joint width.

    Source: DeepSeek-V3, equation 12; the residual is the block's.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim, inter = config.dim, config.moe_inter_dim
        self.gate = Router(config)
        self.experts = Experts(
            config.n_routed_experts, dim, inter, config.initializer_range
        )
        shared = config.n_shared_experts
        self.shared_experts = SwiGLU(dim, shared * inter) if shared else None

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        weights, indices = self.gate(x)
        flat = (t.flatten(0, -2) for t in (x, weights, indices))
        y = self.experts(*flat).view_as(x)
        return y if self.shared_experts is None else y + self.shared_experts(x)


def routers(model: nn.Module) -> list[Router]:
    """The routers of a model, from the first layer to the last."""
    return [module for module in model.modules() if isinstance(module, Router)]
