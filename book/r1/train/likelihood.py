"""How likely the tokens of an answer are, and one number from one for each token."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

AGGREGATIONS = ("sequence", "token", "constant")


def token_logprobs(
    logits: Float[Tensor, "batch seq vocab"], tokens: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch seq"]:
    r"""$\log \pi(o_t)$ of each token under the logits of its own position."""
    # log_softmax subtracts the maximum, so exp cannot overflow, and the logarithm of a
    # tiny probability is finite.
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


def aggregate(
    values: Float[Tensor, "batch seq"],
    mask: Bool[Tensor, "batch seq"],
    how: str = "sequence",
    constant: float | None = None,
) -> Float[Tensor, ""]:
    r"""One number from one for each token of each answer.

    "sequence": the mean of every answer, then the mean over answers, so tokens of long
    answers count less. "token": the mean over all tokens, so long answers count more.
    "constant": the sum over `constant` (batch times the longest length, say), so every
    token counts the same in every batch.

    Raises ValueError for another way, for "constant" without its number, and for an
    answer without a token.
    Source: DeepSeekMath, equation 3; DAPO, equation 8; Dr. GRPO, section 3.2.
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"how is {how!r}; use one of {AGGREGATIONS}")
    if (how == "constant") == (constant is None):
        raise ValueError(f"how is {how!r} and constant is {constant}; give it there")
    lengths = mask.sum(-1)
    if (lengths == 0).any():
        raise ValueError("an answer has no token; every row of mask needs one")
    # masked_fill and not a product with the mask: 0 times inf would be nan.
    sums = values.masked_fill(~mask, 0.0).sum(-1)
    # The three ways differ in the weight of one token: 1 / (B |o_i|), 1 / sum of all
    # |o_i|, or 1 / constant.
    if how == "sequence":
        return (sums / lengths).mean()
    return sums.sum() / (lengths.sum() if how == "token" else constant)
