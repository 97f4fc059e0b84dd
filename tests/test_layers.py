"""Norm, feed-forward layer and rotation do what their equations say."""

import pytest
import torch
from torch.testing import assert_close

from r1.layers import RMSNorm, SwiGLU, apply_rotary, rotary_angles


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
