"""How fast is the absorbed cache beside Transformers'? python tests/bench/attention.py

Both models have the same weights and continue the same prompts greedily, turn by turn
in one process, so that the ratio means something on a machine that others use as well.
A turn's time is from the first new token to the last, the prompt not counted.
"""

import time

import torch
from torch.testing import assert_close
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.generation.streamers import BaseStreamer

from r1.model.sampling import pick
from r1.model.transformer import Model

BATCHES, PROMPT, NEW, TURNS = (1, 8, 32), 512, 33, 3


def models():
    """Ours and theirs: four layers, 16 heads, V3's proportions, the same weights."""
    theirs = DeepseekV3ForCausalLM(
        DeepseekV3Config(
            vocab_size=512,
            hidden_size=512,
            intermediate_size=1024,
            num_hidden_layers=4,
            first_k_dense_replace=4,
            num_attention_heads=16,
            num_key_value_heads=16,
            qk_nope_head_dim=32,
            qk_rope_head_dim=16,
            v_head_dim=32,
            kv_lora_rank=128,
            q_lora_rank=None,
            max_position_embeddings=1024,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    ours = Model.from_transformers(theirs).eval()
    return ours, theirs


class Clock(BaseStreamer):
    """Writes down when each token came; Transformers hands it the prompt as well."""

    def __init__(self):
        self.times = []

    def put(self, value):
        self.times.append(time.perf_counter())

    def end(self):
        pass


@torch.no_grad()
def ours_per_token(model, tokens):
    """Seconds a token, from the first new one to the last."""
    caches, clock = model.new_caches(tokens.shape[1] + NEW), Clock()
    for _ in range(NEW):
        chosen = pick(model(tokens, caches)[:, -1], temperature=0)
        clock.put(chosen)
        tokens = chosen[:, None]
    return (clock.times[-1] - clock.times[0]) / (NEW - 1)


def theirs_per_token(model, tokens):
    """The same of Transformers' generate and its cache."""
    clock = Clock()
    model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=NEW,
        do_sample=False,
        streamer=clock,
    )
    assert len(clock.times) == NEW + 1  # the prompt comes first
    return (clock.times[-1] - clock.times[1]) / (NEW - 1)


def main():
    torch.manual_seed(0)
    ours, theirs = models()
    for batch in BATCHES:
        tokens = torch.randint(0, 512, (batch, PROMPT))
        with torch.no_grad():
            assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
        times = [
            (ours_per_token(ours, tokens), theirs_per_token(theirs, tokens))
            for _ in range(TURNS)
        ]
        a, b = (sorted(t)[TURNS // 2] for t in zip(*times, strict=True))
        print(
            f"batch {batch}: {1e3 * a:.1f} ms a token, Transformers {1e3 * b:.1f} ms, "
            f"{b / a:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
