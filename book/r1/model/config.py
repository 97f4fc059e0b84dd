"""The configuration of a model, in DeepSeek's own field names."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from r1.model.config_checks import check_values, checked
from r1.model.formats import (
    HUGGING_FACE_NAMES,
    ConfigError,
    from_hugging_face,
    from_inference,
)


@dataclass(frozen=True)
class ModelConfig:
    """What a model is made of; widths are numbers of features, all counts integers.

    `kv_lora_rank=0` is plain multi-head attention, in which all
    `qk_rope_head_dim` features of a head turn with the position (and
    `qk_nope_head_dim` more do not); `q_lora_rank=0` leaves queries uncompressed;
    `n_dense_layers=n_layers` has no experts. Names are those of DeepSeek's
    `inference/model.py`, and where that has none, of its Hugging Face files.

    Raises ConfigError, naming the field, when the fields contradict each other.
    """

    vocab_size: int
    dim: int  # d, the residual stream
    inter_dim: int  # hidden width of a dense feed-forward layer
    n_layers: int
    n_heads: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    # latent attention
    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    n_kv_heads: int | None = None  # plain attention only; None: one per head
    # mixture of experts
    n_dense_layers: int | None = None  # None: all of them
    moe_inter_dim: int = 0
    n_routed_experts: int = 0
    n_shared_experts: int = 0
    n_activated_experts: int = 0
    n_expert_groups: int = 1
    n_limited_groups: int = 1
    score_func: str = "sigmoid"
    route_scale: float = 1.0
    topk_method: str = "noaux_tc"  # noaux_tc: with the bias that only chooses
    norm_topk_prob: bool = True
    # several tokens
    num_nextn_predict_layers: int = 0
    # positions
    max_seq_len: int = 4096
    original_seq_len: int = 4096
    rope_theta: float = 10000.0
    rope_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    # the rest
    tie_word_embeddings: bool = False
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    latent_norm_eps: float = 1e-6  # of the norms in front of W_UQ and of the cache
    # V3.2's indexer; it is counted, not built
    index_n_heads: int = 0
    index_head_dim: int = 0
    index_topk: int = 0

    def __post_init__(self):
        if self.n_dense_layers is None:
            # A frozen dataclass forbids assignment, also in its own __post_init__.
            object.__setattr__(self, "n_dense_layers", self.n_layers)
        if self.n_kv_heads is None:
            object.__setattr__(self, "n_kv_heads", self.n_heads)
        checked(vars(self), fields(self))
        check_values(self)

    @property
    def n_moe_layers(self) -> int:
        """Layers that have experts."""
        return self.n_layers - self.n_dense_layers

    @property
    def qk_head_dim(self) -> int:
        """Width of one head's query and key."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def yarn(self) -> bool:
        """Whether positions are stretched: the context is longer than the trained."""
        return self.rope_factor > 1 and self.max_seq_len > self.original_seq_len

    @property
    def routing_bias(self) -> bool:
        """Whether each router holds a bias that chooses experts and weighs none."""
        return self.topk_method == "noaux_tc"

    @classmethod
    def from_json(cls, path: str | Path) -> ModelConfig:
        """Read a configuration file of DeepSeek's family, in either of two formats.

        The format of `inference/configs/*.json` has a field `dim`, that of
        Hugging Face's `config.json` has `hidden_size` and `model_type`.

        Raises ConfigError for a file that is not JSON, and for a field that is
        missing, unknown, or of the wrong type, which the message names.
        """
        path = Path(path)
        try:
            # utf-8-sig: some editors put a byte order mark in front.
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path.name} is not valid JSON: {error}") from error
        if not isinstance(data, dict):
            raise ConfigError(
                f"{path.name} holds a {type(data).__name__}; "
                "a configuration is an object with named fields"
            )
        return cls.from_dict(data, path.name)

    @classmethod
    def from_dict(
        cls, data: dict[str, Any], name: str = "configuration"
    ) -> ModelConfig:
        """Build a configuration from the fields of either format; see from_json."""
        theirs = {"hidden_size", "model_type", "text_config"} & set(data)
        reader = from_hugging_face if theirs else from_inference
        values = reader(data, {f.name for f in fields(cls)}, name)
        required = [f.name for f in fields(cls) if f.default is MISSING]
        if values.get("n_routed_experts"):
            required += [
                "moe_inter_dim",
                "n_dense_layers",
                "n_activated_experts",
            ]
        hugging_face = {ours: theirs for theirs, ours in HUGGING_FACE_NAMES.items()}
        for field in required:
            if field not in values:
                name_in_file = hugging_face.get(field, field) if theirs else field
                raise ConfigError(f"{name} has no field {name_in_file!r}; add it")
        return cls(**checked(values, fields(cls)))

    @classmethod
    def deepseek_v3(cls) -> ModelConfig:
        """DeepSeek-V3, which is also R1 and R1-Zero: 671B parameters, 37B active."""
        # Written out: an installed package has no folder of data.
        return cls(
            vocab_size=129280,
            dim=7168,
            inter_dim=18432,
            n_layers=61,
            n_heads=128,
            qk_nope_head_dim=128,
            qk_rope_head_dim=64,
            v_head_dim=128,
            q_lora_rank=1536,
            kv_lora_rank=512,
            n_dense_layers=3,
            moe_inter_dim=2048,
            n_routed_experts=256,
            n_shared_experts=1,
            n_activated_experts=8,
            n_expert_groups=8,
            n_limited_groups=4,
            route_scale=2.5,
            num_nextn_predict_layers=1,
            max_seq_len=163840,
            rope_factor=40.0,
        )

    @classmethod
    def dense(cls, vocab_size: int = 32) -> ModelConfig:
        """The plain transformer of chapter 02, the baseline of the small world."""
        return cls(
            vocab_size=vocab_size,
            dim=96,
            inter_dim=256,
            n_layers=3,
            n_heads=4,
            qk_nope_head_dim=0,
            qk_rope_head_dim=24,
            v_head_dim=24,
            max_seq_len=256,
            original_seq_len=256,
        )

    @classmethod
    def tiny(cls, vocab_size: int = 32) -> ModelConfig:
        """DeepSeek-V3 in small: latent attention, eight experts, one MTP module."""
        return cls(
            vocab_size=vocab_size,
            dim=96,
            inter_dim=256,
            n_layers=3,
            n_heads=4,
            qk_nope_head_dim=16,
            qk_rope_head_dim=8,
            v_head_dim=24,
            kv_lora_rank=32,
            q_lora_rank=48,
            n_dense_layers=1,
            moe_inter_dim=96,
            n_routed_experts=8,
            n_shared_experts=1,
            n_activated_experts=2,
            num_nextn_predict_layers=1,
            max_seq_len=256,
            original_seq_len=256,
        )
