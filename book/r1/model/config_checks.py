"""What a configuration must keep: types, numbers, and fields that fit each other."""

import math
from collections.abc import Iterable
from dataclasses import Field
from typing import Any

from r1.model.formats import ConfigError


def checked(values: dict[str, Any], known: Iterable[Field]) -> dict[str, Any]:
    """The values of the fields `known`, whole numbers made float where a field is one.

    Raises ConfigError for a value of the wrong type, and for one that is no number.
    """
    kinds = {"int": (int,), "int | None": (int, type(None)), "str": (str,)}
    found = {}
    for field in known:
        if field.name not in values:
            continue
        value = values[field.name]
        if field.type == "float" and type(value) is int:
            # A whole number may be longer than any float.
            value = float(value) if abs(value) < 2**1023 else math.inf
        allowed = kinds.get(field.type, (float if field.type == "float" else bool,))
        if type(value) not in allowed:  # type, since bool is a subclass of int
            wanted = field.type.removesuffix(" | None")
            raise ConfigError(f"{field.name} is {value!r}; it must be of type {wanted}")
        if type(value) is float and not math.isfinite(value):
            raise ConfigError(f"{field.name} is {value!r}; it must be a finite number")
        found[field.name] = value
    return found


def check_values(config: Any) -> None:
    """Raise ConfigError, naming the field, where a ModelConfig contradicts itself."""

    def need(held: bool, field: str, must: str) -> None:
        if not held:
            raise ConfigError(f"{field} is {getattr(config, field)!r}; it must {must}")

    for field in ("vocab_size", "dim", "inter_dim", "n_layers", "n_heads"):
        need(getattr(config, field) >= 1, field, "be at least 1")
    need(config.n_kv_heads >= 1, "n_kv_heads", "be at least 1")
    for field, value in vars(config).items():
        if type(value) is int:
            need(value >= 0, field, "not be negative")
    for field in ("max_seq_len", "original_seq_len", "v_head_dim", "qk_head_dim"):
        need(getattr(config, field) >= 1, field, "be at least 1")
    positive = ("rms_norm_eps", "latent_norm_eps", "route_scale")
    for field in (*positive, "beta_fast", "beta_slow"):
        need(getattr(config, field) > 0, field, "be more than 0")
    need(config.rope_theta > 1, "rope_theta", "be more than 1, so that speeds differ")
    for field in ("mscale", "initializer_range"):
        need(getattr(config, field) >= 0, field, "not be negative")
    need(config.rope_factor >= 1, "rope_factor", "be at least 1")
    need(
        bool(config.kv_lora_rank) or not config.q_lora_rank,
        "q_lora_rank",
        "be 0 without latent attention (kv_lora_rank)",
    )
    indexer = [config.index_n_heads, config.index_head_dim, config.index_topk]
    need(
        not any(indexer) or (all(indexer) and bool(config.q_lora_rank)),
        "index_n_heads",
        "come with index_head_dim, index_topk and q_lora_rank, or all three are 0",
    )
    need(
        config.qk_rope_head_dim % 2 == 0,
        "qk_rope_head_dim",
        "be even: pairs turn",
    )
    need(
        config.n_dense_layers <= config.n_layers,
        "n_dense_layers",
        "be <= n_layers",
    )
    need(config.n_heads % config.n_kv_heads == 0, "n_kv_heads", "divide n_heads")
    need(
        config.score_func in ("softmax", "sigmoid"),
        "score_func",
        "be 'softmax' or 'sigmoid'",
    )
    need(
        config.topk_method in ("greedy", "group_limited_greedy", "noaux_tc"),
        "topk_method",
        "be 'greedy', 'group_limited_greedy' or 'noaux_tc'",
    )
    if config.n_moe_layers:
        experts, groups = config.n_routed_experts, config.n_expert_groups
        need(
            experts >= 1,
            "n_routed_experts",
            "be at least 1: some layers have experts",
        )
        need(config.moe_inter_dim >= 1, "moe_inter_dim", "be at least 1")
        need(
            1 <= config.n_activated_experts <= experts,
            "n_activated_experts",
            f"be between 1 and n_routed_experts={experts}",
        )
        need(
            groups >= 1 and experts % groups == 0,
            "n_expert_groups",
            f"divide n_routed_experts={experts}",
        )
        need(
            1 <= config.n_limited_groups <= groups,
            "n_limited_groups",
            f"be between 1 and n_expert_groups={groups}",
        )
        need(
            config.n_activated_experts <= config.n_limited_groups * experts // groups,
            "n_activated_experts",
            "fit into the groups kept (n_limited_groups)",
        )
