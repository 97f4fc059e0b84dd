"""What several tests of this assignment use."""

import torch


def scores_of(gen, tokens=6, experts=8):
    """Scores like a sigmoid's, no two alike."""
    return torch.rand(tokens, experts, generator=gen) * 0.9 + 0.05
