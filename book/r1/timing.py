"""How long something takes."""

from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer


def median_seconds(compute: Callable[[], object], least: float = 0.2) -> float:
    """Median time of a call, in seconds, over calls that fill `least` seconds.

    The calls use as many threads as torch is set to.
    """
    timer = Timer(
        "compute()",
        globals={"compute": compute},
        num_threads=torch.get_num_threads(),
    )
    return timer.blocked_autorange(min_run_time=least).median
