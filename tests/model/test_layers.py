"""Norm, feed-forward layer and rotation do what their equations say."""

import pytest
import torch
from torch.testing import assert_close

from r1.model.layers import (
    RMSNorm,
    SwiGLU,
    apply_rotary,
    rotary_angles,
    rotary_speeds,
    yarn_mscale,
    yarn_range,
    yarn_speeds,
)


def rotated(x, shift=0):
    angles = rotary_angles(x.shape[1] + shift, x.shape[-1])[shift:]
    return apply_rotary(x, angles)


def test_rms_norm_ignores_the_length_of_a_vector():
    norm, x = RMSNorm(8, eps=0.0).double(), torch.randn(3, 8).double()
    assert_close(norm(5 * x), norm(x))
    assert_close(norm(x).pow(2).mean(-1), torch.ones(3).double())


def test_rms_norm_matches_a_case_by_hand():
    expected = torch.tensor([3.0, 4.0]) / 12.5**0.5
    assert_close(RMSNorm(2)(torch.tensor([3.0, 4.0])), expected)


def test_swiglu_is_silu_gate_times_value():
    layer, x = SwiGLU(1, 1).double(), torch.tensor([[2.0]]).double()
    for weight, value in zip((layer.w1, layer.w2, layer.w3), (1, 3, 5), strict=True):
        torch.nn.init.constant_(weight.weight, value)
    gate = 2 / (1 + torch.exp(torch.tensor(-2.0).double()))
    assert_close(layer(x), (3 * gate * 10).view(1, 1))


def test_rotation_leaves_position_zero_and_every_length_alone():
    x = torch.randn(2, 5, 3, 8).double()
    turned = rotated(x)
    assert_close(turned[:, 0], x[:, 0])
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_rotated_scores_depend_on_the_difference_of_positions_only():
    q, k = torch.randn(2, 1, 6, 1, 8).double()
    near = (rotated(q)[0, :, 0] @ rotated(k)[0, :, 0].T).diagonal()
    far = (rotated(q, shift=37)[0, :, 0] @ rotated(k, shift=37)[0, :, 0].T).diagonal()
    assert_close(near, far)


def test_rotation_turns_neighbors_not_halves():
    x = torch.tensor([1.0, 0.0, 0.0, 0.0]).double().expand(1, 2, 1, 4)
    cos, sin = torch.tensor(1.0).double().cos(), torch.tensor(1.0).double().sin()
    expected = torch.stack([cos, sin, 0 * cos, 0 * cos])
    assert_close(rotated(x)[0, 1, 0], expected)


def test_an_odd_rotary_width_is_refused():
    with pytest.raises(ValueError, match="7 is odd"):
        rotary_angles(4, 7)


def test_yarn_at_the_size_of_v3():
    assert yarn_range(64, 10000.0, 4096) == (10, 23)
    assert abs(yarn_mscale(40.0) ** 2 - 1.873854) < 1e-6
    kept, slowed = rotary_speeds(64), yarn_speeds(64, 10000.0, 40.0, 4096)
    assert_close(slowed[:11], kept[:11])
    assert_close(slowed[23:], kept[23:] / 40)
    between = slowed[11:23] / kept[11:23]
    assert (between.diff() < 0).all()
    assert 1 / 40 < between[-1] < between[0] < 1


def test_yarn_with_factor_one_changes_nothing():
    assert_close(yarn_speeds(8, 10000.0, 1.0, 64), rotary_speeds(8))
    assert yarn_mscale(1.0) == yarn_mscale(0.5) == 1.0
    with pytest.raises(ValueError, match="factor is nan"):
        yarn_speeds(8, 1e4, float("nan"), 64)
    with pytest.raises(ValueError, match=r"factor is 0\.5"):
        yarn_speeds(8, 10000.0, 0.5, 64)
