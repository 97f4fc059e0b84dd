"""What a run and a day cost: operations, utilization, hours, dollars, energy."""

from dataclasses import dataclass

from r1.cost.counting import (
    attention_flops,
    count_expert,
    count_parameters,
    dollars,
    gpu_hours,
    need_no_indexer,
)
from r1.model.config import ModelConfig

PEAK = 989.4e12  # BF16 operations a second of an H100; the H800 is taken as equal


def mtp_flops(config: ModelConfig, seq_len: int = 4096, causal: bool = True) -> float:
    r"""Operations to train the MTP modules on one token, beside the main model's.

    $6 N$ with the parameters of the modules that multiply (the shared head included,
    the shared embedding not), and attention in one more layer for each module. Table
    2 of the Insights paper leaves them out: that is our inference from its 250.
    """
    # Experts of the modules that are not chosen do no work on a token.
    depth, idle = config.num_nextn_predict_layers, 0
    if config.n_moe_layers:
        unused = config.n_routed_experts - config.n_activated_experts
        idle = unused * count_expert(config)
    own = count_parameters(config).mtp - depth * idle
    # Each module calls the shared head once more: sharing saves no arithmetic.
    head = depth * config.vocab_size * config.dim
    # attention_flops is for all layers of the main model; a module has one layer.
    attention = attention_flops(config, seq_len, causal) / config.n_layers
    return 6.0 * (own + head) + depth * attention


def writing_flops(config: ModelConfig, context: float) -> float:
    r"""Operations to write one token after `context` others: $2N$, and attention's.

    Latent attention is absorbed: $2\,\mathrm{context}\,n_h (2 d_c + d_h^R) L$; plain
    attention takes $2\,\mathrm{context}\,n_h (d_q + d_v) L$. Drafts are not counted.

    Raises ValueError for attention that chooses its tokens by an indexer.
    """
    need_no_indexer(config)
    if config.kv_lora_rank:
        # The score is a product over d_c + d_h^R features, the mixture over d_c. In V3
        # both are wider than d_q and d_v: absorbed attention computes more and reads
        # less.
        width = 2 * config.kv_lora_rank + config.qk_rope_head_dim
    else:
        width = config.qk_head_dim + config.v_head_dim
    attention = 2.0 * context * config.n_heads * width * config.n_layers
    # 2 and not 6: writing has no backward pass.
    return 2 * count_parameters(config).active_without_embedding + attention


def utilization(flops: float, hours: float, peak: float = PEAK) -> float:
    """Share of the peak that `flops` in so many GPU hours make use of: the MFU.

    Raises ValueError unless `hours` is positive.
    """
    if not hours > 0:  # nan is not above 0 either
        raise ValueError(f"hours is {hours!r}; a run takes more than 0 GPU hours")
    return flops / (3600 * hours * peak)


def energy_mwh(hours: float, watts: float = 700.0, overhead: float = 1.0) -> float:
    """Megawatt-hours of GPU hours at `watts` a GPU, times the building's `overhead`.

    700 W is the board limit of an H100, so that the default bounds its GPUs from
    above and counts nothing else; `overhead` is the PUE, at least 1.
    """
    return hours * watts * overhead / 1e6


@dataclass(frozen=True)
class TrainingBill:
    """A run in the terms of table 1 of the V3 report, whose numbers are the defaults.

    Pre-training hours follow from operations and are rounded to thousands, as there;
    `other_hours` are its longer context (119K) and post-training (5K). The default
    `utilization` is the one at which 250.5 GFLOP a token give the printed 2,664K.
    """

    flops_per_token: float
    tokens: float = 14.8e12
    utilization: float = 0.3906
    other_hours: float = 124e3
    rent: float = 2.0  # dollars a GPU hour
    watts: float = 700.0  # a GPU

    @property
    def pretraining_hours(self) -> float:
        """GPU hours of pre-training, to the thousand."""
        flops = self.flops_per_token * self.tokens
        # Dollars of the report are computed from the thousands that it prints.
        return round(gpu_hours(flops, PEAK, self.utilization), -3)

    @property
    def hours(self) -> float:
        """All GPU hours."""
        return self.pretraining_hours + self.other_hours

    @property
    def dollars(self) -> float:
        """Their rent."""
        return dollars(self.hours, self.rent)

    @property
    def megawatt_hours(self) -> float:
        """Their energy."""
        return energy_mwh(self.hours, self.watts)


@dataclass(frozen=True)
class Prices:
    """Dollars for a million tokens: read from the cache, read anew, written."""

    hit: float
    miss: float
    written: float


# Source: DeepSeek's price list of February to September 2025 (night is 16:30 to 00:30
# UTC); o1 as quoted from OpenAI's list.
PRICES = {
    "R1": Prices(0.14, 0.55, 2.19),
    "R1 at night": Prices(0.035, 0.135, 0.55),
    "V3": Prices(0.07, 0.27, 1.10),
    "V3 at night": Prices(0.035, 0.135, 0.55),
    "o1": Prices(7.5, 15.0, 60.0),
}


@dataclass(frozen=True)
class ServiceDay:
    """A day of serving; the defaults are the day that DeepSeek published.

    Source: DeepSeek's Day 6, 27 to 28 February 2025.
    """

    hits: float = 342e9  # tokens read from the cache
    misses: float = 266e9  # tokens read anew
    written: float = 168e9
    nodes: float = 226.75  # on average, of 8 GPUs
    rent: float = 2.0  # dollars a GPU hour

    @property
    def hours(self) -> float:
        """GPU hours of the day."""
        return self.nodes * 8 * 24

    @property
    def cost(self) -> float:
        """Their rent, in dollars."""
        return dollars(self.hours, self.rent)

    def revenue(self, prices: Prices, billed: float = 1.0) -> float:
        """Dollars if a share `billed` of all tokens is paid for at `prices`."""
        tokens = (
            self.hits * prices.hit
            + self.misses * prices.miss
            + self.written * prices.written
        )
        return billed * tokens / 1e6

    def margin(self, prices: Prices, billed: float = 1.0) -> float:
        """Profit over cost, as DeepSeek defines its 545 %: revenue / cost - 1."""
        return self.revenue(prices, billed) / self.cost - 1
