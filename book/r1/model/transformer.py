"""The whole model: layers of attention and experts, and modules that look ahead."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from r1.model.block import Block
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.folder import Folder
from r1.model.formats import ConfigError, check_transformers
from r1.model.layers import RMSNorm
from r1.model.mtp import MTPModule
from r1.model.pretrained import fill
from r1.model.weight_names import rename_mtp, rename_weights


class Model(nn.Module):
    r"""Token ids to logits: embedding, blocks, a last norm, the output head.

    Matrices start as $\mathcal N(0, \texttt{initializer\_range}^2)$, norms as ones. The
    MTP modules in `mtp` share embedding and head; `forward` does not use them.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.index_n_heads:
            raise ConfigError(
                f"index_n_heads is {config.index_n_heads}; V3.2's indexer is counted "
                "and not built (make_sparse gives a model of ours a small one)"
            )
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.rms_norm_eps)
        self.head = nn.Linear(config.dim, config.vocab_size, bias=False)
        modules = range(config.num_nextn_predict_layers)
        self.mtp = nn.ModuleList(MTPModule(config) for _ in modules)
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=config.initializer_range)
        if config.tie_word_embeddings:
            self.head.weight = self.embed.weight

    def encode(
        self,
        tokens: Int[Tensor, "batch seq"],
        caches: list[KVCache] | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        """What the layers make of the tokens, after the last norm: $h^0$ of MTP."""
        x = self.embed(tokens)
        for block, cache in zip(
            self.layers, caches or [None] * len(self.layers), strict=True
        ):
            x = block(x, cache, pads)
        return self.norm(x)

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        caches: list[KVCache] | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq vocab"]:
        return self.head(self.encode(tokens, caches, pads))

    @property
    def device(self) -> torch.device:
        """Where it computes; tokens are to be there too."""
        return self.norm.weight.device

    def new_caches(self, capacity: int) -> list[KVCache]:
        """One empty cache a layer, each for `capacity` tokens."""
        return [KVCache(capacity) for _ in self.layers]

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
        progress: bool = True,
    ) -> "Model":
        """Read a folder as it is downloaded from Hugging Face, part by part.

        Says on stderr how much memory it takes, then shows a bar. What is larger than
        the memory can be used as a `StreamedModel`.

        Raises FolderError for a folder that is not whole, ConfigError for a model of
        another family.
        """
        source = Folder(folder)
        with torch.device("meta"):
            model = cls(source.config)
        source.check(model)
        source.check_copies()
        fill(source, model, dtype, device, progress)
        return model.eval()

    @classmethod
    def from_transformers(
        cls, theirs: nn.Module, their_mtp: nn.Module | None = None
    ) -> "Model":
        """Build the same model from a `DeepseekV3ForCausalLM` of Transformers.

        MTP modules stand apart there, in an `MtpModel`, and are taken from `their_mtp`.

        Raises ConfigError for a configuration that no model of the book has.
        """
        data = theirs.config.to_dict()
        check_transformers(data)
        config = ModelConfig.from_dict(data)
        depth = len(their_mtp.layers) if their_mtp else 0
        model = cls(replace(config, num_nextn_predict_layers=depth))
        weights = rename_weights(theirs.state_dict())
        if their_mtp:
            weights |= rename_mtp(their_mtp.state_dict())
        model.to(theirs.dtype).load_state_dict(weights)
        return model


def cross_entropy(
    logits: Float[Tensor, "batch seq vocab"], targets: Int[Tensor, "batch seq"]
) -> Float[Tensor, ""]:
    r"""Mean surprise at the targets, in nats: $-\frac1T\sum_t \log p_t(y_t)$."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
