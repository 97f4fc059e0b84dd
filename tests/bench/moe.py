"""How fast is the layer of experts beside Transformers'? python tests/bench/moe.py

Both have the same sizes and run forward and backward on the same tokens, turn by turn
in one process, so that the ratio means something on a machine that others use as well.
"""

import time

import torch
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from r1.model.config import ModelConfig
from r1.model.moe import MoE

SIZES = [(64, 32, 16, 4), (256, 128, 16, 4), (256, 64, 64, 8)]  # dim, inter, experts, k
TOKENS, TURNS = 2048, 15


def layers(dim, inter, experts, k):
    """Ours and theirs, with experts of the same sizes and one shared expert."""
    ours = MoE(
        ModelConfig(
            vocab_size=32,
            dim=dim,
            inter_dim=dim,
            n_layers=1,
            n_heads=1,
            qk_nope_head_dim=0,
            qk_rope_head_dim=2,
            v_head_dim=2,
            n_dense_layers=0,
            moe_inter_dim=inter,
            n_routed_experts=experts,
            n_activated_experts=k,
            n_shared_experts=1,
        )
    )
    theirs = DeepseekV3MoE(
        DeepseekV3Config(
            hidden_size=dim,
            moe_intermediate_size=inter,
            n_routed_experts=experts,
            num_experts_per_tok=k,
            n_group=1,
            topk_group=1,
            n_shared_experts=1,
        )
    )
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return ours, theirs


def seconds(layer, x):
    start = time.perf_counter()
    layer(x).sum().backward()
    return time.perf_counter() - start


def main():
    torch.manual_seed(0)
    for sizes in SIZES:
        pair = layers(*sizes)
        x = torch.randn(1, TOKENS, sizes[0], requires_grad=True)
        times = [[seconds(layer, x) for layer in pair] for _ in range(TURNS)]
        ours, theirs = (sorted(t)[TURNS // 2] for t in zip(*times, strict=True))
        dim, inter, experts, k = sizes
        print(
            f"{k} of {experts} experts, {dim} x {inter}: {1e3 * ours:.0f} ms, "
            f"Transformers {1e3 * theirs:.0f} ms, ratio {ours / theirs:.2f}"
        )


if __name__ == "__main__":
    main()
