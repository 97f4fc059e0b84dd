"""Experts: three computations that agree, a bias that only chooses, a fair load."""

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3MoE,
    DeepseekV3TopkRouter,
)

from r1.cost.counting import count_parameters
from r1.model.config import ModelConfig
from r1.model.layers import SwiGLU
from r1.model.moe import (
    Experts,
    MoE,
    Router,
    count_load,
    dense_experts,
    expert_balance_loss,
    grouped_experts,
    max_violation,
    route,
    routers,
    sequence_balance_loss,
    update_bias,
)
from r1.model.sampling import sample
from r1.model.transformer import Model, cross_entropy
from r1.train.checkpoint import load_checkpoint, save_checkpoint

CONFIG = dataclasses.replace(
    ModelConfig.tiny(),
    dim=12,
    moe_inter_dim=6,
    kv_lora_rank=0,
    q_lora_rank=0,
    qk_nope_head_dim=0,
    num_nextn_predict_layers=0,
    initializer_range=0.5,
)


def changed(**fields):
    return dataclasses.replace(CONFIG, **fields)


def new_layer(config=CONFIG):
    torch.manual_seed(0)
    return MoE(config).double()


def tokens(n=40, dim=12):
    torch.manual_seed(1)
    return torch.randn(n, dim, dtype=torch.float64, requires_grad=True)


def expert(layer, e, x):
    w = layer.experts
    return F.linear(F.silu(F.linear(x, w.w1[e])) * F.linear(x, w.w3[e]), w.w2[e])


def token_by_token(layer, x):
    """The naive form: equation 12 as it is written."""
    weights, indices = layer.gate(x)
    rows = []
    for t in range(len(x)):
        y = layer.shared_experts(x[t]) if layer.shared_experts else 0
        for weight, e in zip(weights[t], indices[t].tolist(), strict=True):
            y = y + weight * expert(layer, e, x[t])
        rows.append(y)
    return torch.stack(rows)


# the same thing


@pytest.mark.parametrize("few", [0, 64], ids=["grouped", "dense"])
@pytest.mark.parametrize("shared", [0, 1, 2])
def test_experts_equal_the_loop_over_tokens_forward_and_backward(shared, few):
    layer, x = new_layer(changed(n_shared_experts=shared)), tokens()
    layer.experts.FEW = few
    naive, fast = token_by_token(layer, x), layer(x)
    assert_close(fast, naive)
    wanted = [x, *layer.parameters()]
    ours = torch.autograd.grad(fast.pow(2).sum(), wanted)
    theirs = torch.autograd.grad(naive.pow(2).sum(), wanted)
    assert_close(ours, theirs)


@pytest.mark.parametrize("compute", [grouped_experts, dense_experts])
def test_gradients_are_those_of_finite_differences(compute):
    layer = new_layer(changed(dim=4, moe_inter_dim=3, n_routed_experts=4))
    w = layer.experts
    x = tokens(5, 4)
    weights, indices = (t.detach() for t in layer.gate(x))
    inputs = (x, weights.requires_grad_(), w.w1, w.w2, w.w3)
    assert torch.autograd.gradcheck(lambda x, g, *w: compute(x, g, indices, *w), inputs)


def test_gradients_of_the_weights_are_those_of_finite_differences():
    scores = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    bias = torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda s: route(s, bias, 2, n_groups=3, n_limited_groups=2)[0], scores
    )


def test_permuting_the_experts_permutes_the_loads_and_nothing_else():
    layer, x = new_layer(), tokens()
    order = torch.randperm(8)
    other = new_layer()
    with torch.no_grad():
        other.gate.weight.copy_(layer.gate.weight[order])
        for name in ("w1", "w2", "w3"):
            getattr(other.experts, name).copy_(getattr(layer.experts, name)[order])
    assert_close(other(x), layer(x))
    assert torch.equal(other.gate.load, layer.gate.load[order])


def test_choosing_every_expert_is_the_dense_mixture():
    layer, x = new_layer(changed(n_activated_experts=8, n_shared_experts=0)), tokens()
    scores = torch.sigmoid(x @ layer.gate.weight.T)
    shares = scores / scores.sum(-1, keepdim=True)
    dense = sum(shares[:, e, None] * expert(layer, e, x) for e in range(8))
    assert_close(layer(x), dense)


def test_one_expert_is_a_dense_layer():
    config = changed(n_routed_experts=1, n_activated_experts=1, n_shared_experts=0)
    layer, x = new_layer(config), tokens()
    dense = SwiGLU(12, 6).double()
    state = {f"{name}.weight": w[0] for name, w in layer.experts.named_parameters()}
    dense.load_state_dict(state)
    assert_close(layer(x), dense(x))


def test_equal_experts_are_one_expert():
    layer, x = new_layer(changed(n_shared_experts=0)), tokens()
    with torch.no_grad():
        for weight in layer.experts.parameters():
            weight.copy_(weight[:1].expand_as(weight))
    assert_close(layer(x), expert(layer, 0, x))


def test_a_slot_of_minus_one_is_left_out():
    layer, x = new_layer(changed(n_shared_experts=0)), tokens()
    weights, indices = layer.gate(x)
    gone = indices.clone()
    gone[3, 0] = gone[7] = -1
    y = layer.experts(x, weights, gone)
    whole = layer.experts(x, weights, indices)
    assert_close(y[3], weights[3, 1] * expert(layer, int(indices[3, 1]), x[3]))
    assert y[7].abs().max() == 0
    rest = [t for t in range(len(x)) if t not in (3, 7)]
    assert_close(y[rest], whole[rest])


@pytest.mark.parametrize("n", [1, 3], ids=["grouped", "dense"])
def test_an_expert_without_a_token_has_a_gradient_of_zero(n):
    """The slip: None, for which processes that average gradients wait in vain."""
    experts = Experts(4, 12, 6)
    indices = torch.tensor([[0, 1], [1, 2], [0, 2]])[:n]
    experts(tokens(n).float(), torch.ones(n, 2), indices).sum().backward()
    for weight in experts.parameters():
        assert weight.grad[3].abs().max() == 0 < weight.grad[0].abs().max()


def test_no_token_at_all_gives_no_output():
    assert new_layer()(tokens(0)).shape == (0, 12)


# who is chosen


def test_weights_of_a_small_case_by_hand():
    scores = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    weights, indices = route(scores, None, 2, route_scale=2.5)
    assert indices.tolist() == [[1, 2]]
    assert_close(weights, 2.5 * torch.tensor([[4 / 7, 3 / 7]]))
    raw, _ = route(scores, None, 2, norm_topk_prob=False)
    assert_close(raw, torch.tensor([[0.4, 0.3]]))


@pytest.mark.parametrize("normalize", [True, False])
def test_the_factor_holds_with_and_without_normalization(normalize):
    """The slip: it stands in the branch that normalizes."""
    scores = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    plain, _ = route(scores, None, 2, norm_topk_prob=normalize)
    scaled, _ = route(scores, None, 2, norm_topk_prob=normalize, route_scale=2.5)
    assert_close(scaled, 2.5 * plain)


def test_a_bias_that_leaves_the_choice_alone_leaves_the_weights_alone():
    """The slip: the bias leaks into the weights, or is added before the sigmoid."""
    scores = torch.tensor([[0.9, 0.8, 0.2, 0.1]])
    bias = torch.tensor([0.3, -0.1, 0.05, -0.2])
    plain, biased = route(scores, None, 2), route(scores, bias, 2)
    assert torch.equal(plain[1], biased[1])
    assert torch.equal(plain[0], biased[0])


@pytest.mark.parametrize("score_func", ["sigmoid", "softmax"])
def test_equal_biases_change_nothing_at_all(score_func):
    """Added before the sigmoid, or gathered with the scores, they would."""
    router = Router(changed(score_func=score_func)).double()
    before = router(tokens())
    router.bias += 5
    assert_close(router(tokens()), before, rtol=0, atol=0)


def test_a_bias_can_change_who_is_chosen_and_weights_stay_unbiased():
    scores = torch.tensor([[0.9, 0.8, 0.2, 0.1]])
    weights, indices = route(scores, torch.tensor([0, -0.8, 0, 0.2]), 2)
    assert indices.tolist() == [[0, 3]]
    assert_close(weights, torch.tensor([[0.9, 0.1]]))


def test_the_bias_exists_at_every_width():
    """The slip: DeepSeek's own inference code has it only where dim is 7168."""
    assert Router(CONFIG).bias.shape == (8,)
    assert Router(changed(topk_method="greedy")).bias is None


def test_dropped_groups_stay_out_when_every_biased_score_is_negative():
    """The slip: they are filled with 0, which beats a negative score."""
    scores = torch.tensor([[0.9, 0.8, 0.3, 0.2]])
    bias = torch.full((4,), -1.0)
    _, indices = route(scores, bias, 2, n_groups=2, n_limited_groups=1)
    assert indices.sort().values.tolist() == [[0, 1]]


def test_a_group_is_as_good_as_its_two_best_biased_scores():
    scores = torch.tensor([[0.9, 0.1, 0.1, 0.6, 0.5, 0.0]])
    zero = torch.zeros(6)
    _, indices = route(scores, zero, 2, n_groups=2, n_limited_groups=1)
    assert indices.sort().values.tolist() == [[3, 4]]  # 1.1 against 1.0
    _, indices = route(scores, None, 2, n_groups=2, n_limited_groups=1)
    assert 0 in indices  # V2: the best alone
    bias = torch.tensor([0, 0.2, 0, 0, 0, 0])
    _, indices = route(scores, bias, 2, n_groups=2, n_limited_groups=1)
    assert indices.sort().values.tolist() == [[0, 1]]


def test_a_limited_token_stays_within_its_groups():
    scores = torch.rand(200, 64)
    bias = 0.1 * torch.randn(64)
    _, indices = route(scores, bias, 8, n_groups=8, n_limited_groups=4)
    touched = F.one_hot(indices // 8, 8).amax(1).sum(1)
    assert touched.max() <= 4
    _, free = route(scores, bias, 8)
    assert F.one_hot(free // 8, 8).amax(1).sum(1).float().mean() > 4


def test_keeping_every_group_limits_nothing():
    scores, bias = torch.rand(50, 8), torch.randn(8)
    ours = route(scores, bias, 3, n_groups=4, n_limited_groups=4)
    assert_close(ours, route(scores, bias, 3))


def test_no_chosen_expert_is_chosen_twice():
    _, indices = route(torch.rand(50, 8), torch.randn(8), 3)
    assert F.one_hot(indices, 8).sum(1).max() == 1


def test_scores_that_underflow_do_not_divide_zero_by_zero():
    weights, _ = route(torch.zeros(2, 4), None, 2)
    assert weights.tolist() == [[0, 0], [0, 0]]


def test_routing_in_bfloat16_is_computed_in_float32():
    router = Router(CONFIG).bfloat16()
    weights, _ = router(tokens().bfloat16())
    assert weights.dtype == torch.bfloat16
    assert router.scores.dtype == torch.float32


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"k": 5}, "k is 5; choose between 1 and all 4"),
        ({"k": 0}, "k is 0"),
        ({"k": 2, "n_groups": 3}, "groups must be of equal size"),
        ({"k": 2, "n_groups": 2, "n_limited_groups": 3}, "at most all of them"),
        ({"k": 3, "n_groups": 2}, "hold only 2 experts; keep more groups"),
    ],
)
def test_what_cannot_be_routed_is_refused_with_the_remedy(kwargs, words):
    with pytest.raises(ValueError, match=words):
        route(torch.rand(3, 4), None, **kwargs)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_refused(value):
    scores = torch.rand(3, 4)
    scores[1, 2] = value
    with pytest.raises(ValueError, match="lower the learning rate"):
        route(scores, None, 2)


# an independent implementation

THEIRS = DeepseekV3Config(
    hidden_size=12,
    moe_intermediate_size=6,
    n_routed_experts=16,
    num_experts_per_tok=4,
    n_group=4,
    topk_group=2,
    n_shared_experts=2,
    hidden_act="silu",
)
OURS = changed(
    n_routed_experts=16,
    n_activated_experts=4,
    n_expert_groups=4,
    n_limited_groups=2,
    n_shared_experts=2,
    route_scale=2.5,
)


def by_expert(weights, indices):
    """Gates as a table of tokens by experts, whatever the order of the choices."""
    return torch.zeros(len(weights), 16).scatter(1, indices, weights)


@pytest.mark.parametrize("shift", [0.0, -2.0], ids=["positive", "negative"])
def test_the_gate_agrees_with_transformers(shift):
    """Both where biased scores are positive and where all of them are negative.

    Transformers once filled dropped groups with 0, which differs in the second case;
    the pinned version fills them with -inf, as DeepSeek's inference code and ours do.
    """
    torch.manual_seed(0)
    gate = DeepseekV3TopkRouter(THEIRS)
    torch.nn.init.normal_(gate.weight)
    torch.nn.init.uniform_(gate.e_score_correction_bias, 0.0, 0.3)
    gate.e_score_correction_bias += shift
    router = Router(OURS)
    router.load_state_dict(
        {"weight": gate.weight, "bias": gate.e_score_correction_bias}
    )
    x = torch.randn(300, 12)
    _, weights, indices = gate(x)
    biased = router.bias + torch.sigmoid(x @ router.weight.T)
    assert (biased > 0).all() if shift == 0 else (biased < 0).all()
    assert_close(by_expert(*router(x)), by_expert(weights, indices))


def test_filling_dropped_groups_with_zero_differs_only_where_scores_are_negative():
    """The documented difference: the older fill, written out."""

    def route_with_zeros(scores, bias):
        groups = (scores + bias).unflatten(-1, (4, 4))
        best = groups.topk(2).values.sum(-1).topk(2).indices
        keep = torch.zeros(len(scores), 4).scatter(1, best, 1.0).bool()
        biased = groups.masked_fill(~keep[..., None], 0.0).flatten(1)
        indices = biased.topk(4).indices
        weights = scores.gather(1, indices)
        return by_expert(2.5 * weights / weights.sum(-1, keepdim=True), indices)

    torch.manual_seed(0)
    scores, bias = torch.rand(300, 16), 0.3 * torch.rand(16)
    ours = by_expert(*route(scores, bias, 4, 4, 2, route_scale=2.5))
    assert_close(ours, route_with_zeros(scores, bias))
    lower = bias - 2
    ours = by_expert(*route(scores, lower, 4, 4, 2, route_scale=2.5))
    assert not torch.allclose(ours, route_with_zeros(scores, lower))
    kept = (ours.unflatten(-1, (4, 4)) > 0).any(-1).sum(-1)
    assert kept.max() <= 2


def test_the_layer_agrees_with_transformers_forward_and_backward():
    torch.manual_seed(0)
    theirs, ours = DeepseekV3MoE(THEIRS).double(), MoE(OURS).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    gate_up = theirs.experts.gate_up_proj
    shared = theirs.shared_experts
    state = {
        "gate.weight": theirs.gate.weight,
        "gate.bias": theirs.gate.e_score_correction_bias,
        "experts.w1": gate_up[:, :6],
        "experts.w3": gate_up[:, 6:],
        "experts.w2": theirs.experts.down_proj,
        "shared_experts.w1.weight": shared.gate_proj.weight,
        "shared_experts.w3.weight": shared.up_proj.weight,
        "shared_experts.w2.weight": shared.down_proj.weight,
    }
    ours.load_state_dict(state)
    x = torch.randn(2, 20, 12, dtype=torch.float64, requires_grad=True)
    # Transformers routes in float32, so its gates are those of float32
    mine, other = ours(x), theirs(x)
    assert_close(mine, other, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(y.pow(2).sum(), x)[0] for y in (mine, other)]
    assert_close(*gradients, rtol=1e-5, atol=1e-4)


# a fair load


def test_max_violation_by_hand():
    assert_close(max_violation(torch.tensor([2.0, 2, 2, 2])).item(), 0.0)
    assert_close(max_violation(torch.tensor([8, 0, 0, 0])).item(), 3.0)
    assert_close(max_violation(torch.tensor([[3, 1], [1, 1]])).tolist(), [0.5, 0.0])
    with pytest.raises(ValueError, match="no token"):
        max_violation(torch.zeros(4))


def test_the_bias_of_a_busy_expert_falls_and_that_of_a_lazy_one_rises():
    load = torch.tensor([10, 0, 5, 5])
    bias = update_bias(torch.zeros(4), load, 0.001)
    assert_close(bias, torch.tensor([-0.001, 0.001, 0, 0]))
    with pytest.raises(ValueError, match="it must be 0 or more"):
        update_bias(bias, load, -0.1)


def test_updates_of_the_bias_balance_a_skewed_load():
    torch.manual_seed(0)
    scores = torch.sigmoid(torch.randn(4000, 8) + torch.linspace(-1, 1, 8))
    bias = torch.zeros(8)
    before = max_violation(count_load(route(scores, bias, 2)[1], 8))
    for _ in range(600):
        bias = update_bias(bias, count_load(route(scores, bias, 2)[1], 8), 0.001)
    after = max_violation(count_load(route(scores, bias, 2)[1], 8))
    assert before > 1 > 0.05 > after


def test_the_bias_has_no_gradient_and_checkpoints_hold_it(tmp_path):
    model = Model(CONFIG)
    assert not [name for name, _ in model.named_parameters() if "bias" in name]
    batch = torch.randint(0, 32, (2, 8))
    for value in (0.01, 0.02):
        cross_entropy(model(batch), batch).backward()
        loads = [router.update_bias(value) for router in routers(model)]
        assert all(load.sum() == 2 * 8 * 2 for load in loads)
    save_checkpoint(tmp_path / "model.safetensors", model)
    loaded, _, _ = load_checkpoint(tmp_path / "model.safetensors")
    for ours, theirs in zip(routers(model), routers(loaded), strict=True):
        assert ours.bias.abs().max() > 0
        assert torch.equal(ours.bias, theirs.bias)
        assert theirs.load.sum() == 0


def test_loads_add_up_over_micro_batches():
    whole, parts, x = new_layer(), new_layer(), tokens()
    whole(x)
    for micro in x.split(7):
        parts(micro)
    assert torch.equal(parts.gate.load, whole.gate.load)
    assert torch.equal(parts.gate.update_bias(0.1), whole.gate.update_bias(0.1))
    assert torch.equal(parts.gate.bias, whole.gate.bias)
    assert parts.gate.load.sum() == 0


def test_reading_counts_no_load():
    layer = new_layer().eval()
    layer(tokens())
    assert layer.gate.load.sum() == 0


def test_writing_counts_no_load_in_the_middle_of_training():
    model = Model(CONFIG).train()
    sample(model, [[0, 3]], max_new_tokens=3)
    assert [router.load.sum() for router in routers(model)] == [0, 0]
    model(torch.tensor([[0, 3]]))
    assert [router.load.sum() for router in routers(model)] == [4, 4]


def test_a_model_that_has_read_can_be_copied_and_the_copy_has_read_nothing():
    model, batch = Model(CONFIG), torch.tensor([[0, 3, 4]])
    logits = model(batch)
    other = copy.deepcopy(model)
    assert [router.scores for router in routers(other)] == [None, None]
    assert all(router.scores.requires_grad for router in routers(model))
    assert torch.equal(other(batch), logits)


def test_a_router_without_a_bias_says_so():
    router = Router(changed(topk_method="greedy"))
    with pytest.raises(ValueError, match="use 'noaux_tc'"):
        router.update_bias(0.1)


def test_balance_losses_are_one_where_the_load_is_even():
    scores = torch.full((2, 4, 4), 0.5)
    indices = torch.tensor([[0, 1], [2, 3], [0, 2], [1, 3]]).expand(2, 4, 2)
    assert_close(sequence_balance_loss(scores, indices), torch.tensor(1.0))
    assert_close(expert_balance_loss(scores, indices), torch.tensor(1.0))


def test_balance_losses_by_hand():
    scores = torch.tensor([[[0.6, 0.2], [0.6, 0.2]], [[0.2, 0.6], [0.2, 0.6]]])
    indices = scores.topk(1).indices
    # within a sequence one expert takes all, f = (2, 0) and P = (3/4, 1/4)
    assert_close(sequence_balance_loss(scores, indices), torch.tensor(1.5))
    # over the batch both take half
    assert_close(expert_balance_loss(scores, indices), torch.tensor(1.0))


def test_one_sequence_is_its_own_batch():
    scores = torch.rand(1, 9, 4)
    indices = scores.topk(2).indices
    ours = sequence_balance_loss(scores, indices)
    assert_close(ours, expert_balance_loss(scores[0], indices[0]))


def test_the_balance_loss_pulls_the_busy_expert_down():
    scores = torch.tensor([[0.9, 0.5], [0.8, 0.5], [0.7, 0.6]], requires_grad=True)
    expert_balance_loss(scores, scores.topk(1).indices).backward()
    assert (scores.grad[:, 0] > 0).all()
    assert (scores.grad[:, 1] < 0).all()


# inside the model


def test_a_model_with_experts_has_the_parameters_that_are_counted():
    model = Model(CONFIG)
    built = sum(p.numel() for p in model.parameters())
    built += sum(router.bias.numel() for router in routers(model))
    assert built == count_parameters(CONFIG).total
    assert len(routers(model)) == CONFIG.n_moe_layers == 2


def test_the_future_changes_no_choice():
    """And no logit but by rounding: other rows share the experts' matrix products."""
    model = Model(CONFIG).double()
    text = torch.randint(0, 32, (2, 9))
    before = model(text)
    chosen = [router.indices[:, :6].clone() for router in routers(model)]
    text[:, 6:] = (text[:, 6:] + 1) % 32
    assert_close(model(text)[:, :6], before[:, :6])
    for router, then in zip(routers(model), chosen, strict=True):
        assert torch.equal(router.indices[:, :6], then)


def test_a_model_with_experts_generates_with_its_cache():
    model = Model(CONFIG).double().eval()
    text = torch.randint(3, 32, (2, 9))
    caches = model.new_caches(9)
    parts = [model(text[:, i : i + 1], caches) for i in range(9)]
    assert_close(torch.cat(parts, 1), model(text))
    answers = sample(model, text.tolist(), 4, 0.0, torch.Generator())
    assert len(answers) == 2


def test_no_number_is_neither_a_speed_nor_a_load():
    with pytest.raises(ValueError, match="speed is nan; it must be 0 or more"):
        update_bias(torch.zeros(2), torch.ones(2), math.nan)
    with pytest.raises(ValueError, match="the load holds no token"):
        max_violation(torch.tensor([math.nan, 1.0]))
