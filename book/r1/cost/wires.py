"""What it takes to move tokens between processors."""


def all_to_all_seconds(
    tokens: int,
    experts: int,
    width: int,
    bandwidth: float | int,
    there: int = 1,
    back: int = 2,
) -> float:
    r"""Seconds to send tokens to their experts and the results back.

    $(b_{there} + b_{back}) \cdot \mathrm{tokens} \cdot \mathrm{experts} \cdot
    \mathrm{width} / \mathrm{bandwidth}$, with `there` and `back` bytes a number (FP8
    and BF16) and `bandwidth` in bytes a second.

    Raises ValueError for a bandwidth that is not positive.
    Source: DeepSeek's Insights paper, section 2.3.2.
    """
    _above_zero(bandwidth=bandwidth)
    return (there + back) * tokens * experts * width / bandwidth


def token_seconds(
    nodes: float | int,
    experts: int,
    size: float | int,
    infiniband: float | int,
    nvlink: float | int,
) -> tuple[float, float]:
    r"""Seconds that a token of `size` bytes keeps InfiniBand and NVLink busy.

    $\mathrm{nodes} \cdot \mathrm{size} / \mathrm{infiniband}$ and $\mathrm{experts}
    \cdot \mathrm{size} / \mathrm{nvlink}$: the vector goes to each node once, and there
    to each of its experts; bandwidths in bytes a second.

    Raises ValueError for a bandwidth that is not positive.
    Source: DeepSeek-V3, section 3.2.2.
    """
    _above_zero(infiniband=infiniband, nvlink=nvlink)
    # InfiniBand connects nodes, NVLink the GPUs of one node. In V3 both transfers
    # overlap, so the larger number decides.
    return nodes * size / infiniband, experts * size / nvlink


def _above_zero(**bandwidths: float | int) -> None:
    for name, value in bandwidths.items():
        if not value > 0:  # nan is not above 0 either
            raise ValueError(f"{name} is {value}; choose bytes a second above 0")
