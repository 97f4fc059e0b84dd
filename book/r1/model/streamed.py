"""A model that is larger than the memory: weights come from disk when they are used."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r1.model.attention import model_angles
from r1.model.block import Block
from r1.model.folder import EMBED, ROWS, Folder
from r1.model.layers import RMSNorm
from r1.model.moe import MoE, expert_ffn
from r1.model.mtp import MTPModule
from r1.model.pretrained import put
from r1.model.transformer import Model
from r1.model.weight_names import hugging_face_names


class StreamedModel(Model):
    """A model of a folder that holds one layer at a time, and one expert of it.

    It reads a layer, computes and lets go of it; of the routed experts it reads those
    that a token chose. It is called as any model and computes what `from_pretrained`
    computes. It does not learn.

    Raises what `Folder` raises.
    """

    def __init__(
        self,
        folder: Path | str,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
    ):
        nn.Module.__init__(self)
        source = Folder(folder)
        with torch.device("meta"):
            source.check(Model(source.config))
        source.check_copies()
        self.config = config = source.config
        angles = model_angles(config).to(device)
        self.embed = EmbeddingOnDisk(source, dtype, device)

        def on_disk(prefix: str, kind: type[nn.Module], *words: object) -> PartOnDisk:
            return PartOnDisk(source, angles, dtype, prefix, kind, words)

        layers, modules = config.n_layers, config.num_nextn_predict_layers
        self.layers = nn.ModuleList(
            on_disk(f"layers.{i}.", Block, config, i) for i in range(layers)
        )
        self.norm = RMSNorm(config.dim, config.rms_norm_eps)
        put(self.norm, source.state(self.norm, "norm.", dtype, device), angles)
        self.head = HeadOnDisk(source, dtype)
        self.mtp = nn.ModuleList(
            on_disk(f"mtp.{k}.", MTPModule, config) for k in range(modules)
        )
        self.eval()


class EmbeddingOnDisk(nn.Module):
    """Reads the rows of the tokens that are looked up."""

    def __init__(self, source: Folder, dtype: torch.dtype, device: torch.device | str):
        super().__init__()
        self.source, self.dtype, self.device = source, dtype, device

    def forward(self, tokens: Tensor) -> Tensor:
        ids, places = tokens.unique(return_inverse=True)
        rows = [
            self.source.read_rows(EMBED, slice(i, i + 1), self.dtype)
            for i in ids.tolist()
        ]
        return torch.cat(rows).to(self.device)[places.to(self.device)]


class HeadOnDisk(nn.Module):
    """Multiplies with some rows of the head after the others."""

    def __init__(self, source: Folder, dtype: torch.dtype):
        super().__init__()
        self.source, self.dtype = source, dtype

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        pieces = (
            self.source.read_rows(self.source.head, slice(i, i + ROWS), self.dtype)
            for i in range(0, self.source.config.vocab_size, ROWS)
        )
        return torch.cat([F.linear(x, piece.to(x.device)) for piece in pieces], -1)


class PartOnDisk(nn.Module):
    """A layer, or an MTP module, that is read for each pass and let go of."""

    def __init__(
        self,
        source: Folder,
        angles: Tensor,
        dtype: torch.dtype,
        prefix: str,
        kind: type[nn.Module],
        words: tuple,
    ):
        super().__init__()
        self.source, self.angles, self.dtype = source, angles, dtype
        self.prefix, self.kind, self.words = prefix, kind, words

    @torch.no_grad()
    def forward(self, *inputs: object) -> Tensor:
        return self.load()(*inputs)

    def load(self) -> nn.Module:
        """The part with its weights, all but those of the routed experts."""
        with torch.device("meta"):
            part = self.kind(*self.words)
        block = getattr(part, "block", part)
        if isinstance(block.ffn, MoE):
            inside = "" if block is part else "block."
            prefix = f"{self.prefix}{inside}ffn.experts."
            block.ffn.experts = ExpertsOnDisk(self.source, self.dtype, prefix)
        device = self.angles.device
        state = self.source.state(part, self.prefix, self.dtype, device)
        return put(part, state, self.angles).eval()


class ExpertsOnDisk(nn.Module):
    """Routed experts of which those are read that a token chose, one at a time."""

    def __init__(self, source: Folder, dtype: torch.dtype, prefix: str):
        super().__init__()
        self.source, self.dtype, self.prefix = source, dtype, prefix

    def forward(self, x: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for expert in indices.unique().tolist():
            token, slot = (indices == expert).nonzero(as_tuple=True)
            matrices = (self._read(part, expert).to(x) for part in ("w1", "w2", "w3"))
            y = expert_ffn(x[token], *matrices)
            out.index_add_(0, token, y * weights[token, slot, None])
        return out

    def _read(self, part: str, expert: int) -> Tensor:
        layers = self.source.config.n_layers
        name = hugging_face_names(self.prefix + part, layers).format(expert)
        return self.source.read(name, self.dtype)
