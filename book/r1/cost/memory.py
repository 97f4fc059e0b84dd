"""Memory and layout: the bytes that each device of a training or a service holds.

A layout cuts a model into stages of layers (pipeline), spreads the experts of a layer
(expert) and repeats the whole (data). Everything here is arithmetic on a configuration:
nothing is allocated. What DeepSeek does not publish is a named choice, and the text
of chapter 09 lists these choices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from r1.cost.counting import kv_cache_bytes, need_no_indexer
from r1.cost.schedule import METHODS
from r1.model.config import ModelConfig

BITS = {"FP32": 32, "BF16": 16, "E5M6": 12, "FP8": 8}
TILE = 128  # numbers that share a scale: 1 x 128 in activations, 128 x 128 in weights
SCALE = 4  # bytes of a scale


class Precision(NamedTuple):
    """Formats and bytes of one way to train.

    `stream` is the format of the residual stream, of latents and of what attention
    reads, `linear` of the input of linear layers and of SwiGLU, `output` of what
    attention puts out; the others are bytes per parameter.
    """

    stream: str
    linear: str
    output: str
    weight: int
    gradient: int
    master: int
    moment: int


# FP32 needs no master weights: the weights themselves are exact. The two others keep
# what DeepSeek-V3 keeps (section 3.3.3): gradients and master weights in float32, the
# two moments of AdamW in BF16. That the weights of the passes are in BF16 while it
# trains in FP8 is our assumption.
PRECISIONS = {
    "FP32": Precision("FP32", "FP32", "FP32", 4, 4, 0, 4),
    "BF16": Precision("BF16", "BF16", "BF16", 2, 4, 4, 2),
    "FP8": Precision("BF16", "FP8", "E5M6", 2, 4, 4, 2),
}
RECOMPUTE = ("nothing", "deepseek", "layers")


@dataclass(frozen=True)
class Layout:
    """How a model is spread over `pipeline * data` devices.

    `pipeline` devices follow one another, `data` such pipelines work side by side, and
    `expert` of these share the experts of each layer, so `expert` divides `data`.
    `zero` says what the holders of one parameter share out among them: 1 master weights
    and moments, 2 gradients too, 3 weights too. `recompute` is "nothing", "deepseek"
    (norms, up-projections of attention, SwiGLU) or "layers" (all but a layer's input).
    A micro-batch has `micro_batch` sequences of `sequence` tokens; `micro_batches` is
    their number per step and pipeline, None for as many as the schedule can hold.
    `stage_layers` are the layers of each stage, None for split_stages' own choice.
    `moment_bytes` replaces the bytes of each moment. Without `train` a device holds
    weights, buffers, and the cache of `cached_tokens` tokens.

    Raises ValueError, with a remedy, for values that contradict each other.
    """

    pipeline: int = 1
    data: int = 1
    expert: int = 1
    schedule: str = "1F1B"
    zero: int = 1
    precision: str = "BF16"
    recompute: str = "nothing"
    micro_batch: int = 1
    sequence: int = 4096
    micro_batches: int | None = None
    stage_layers: tuple[int, ...] | None = None
    moment_bytes: int | None = None
    train: bool = True
    cached_tokens: int = 0

    def __post_init__(self):
        for name in ("pipeline", "data", "expert", "micro_batch", "sequence"):
            _need(getattr(self, name) >= 1, self, name, "1 or more")
        for name, choices in (
            ("schedule", tuple(METHODS)),
            ("precision", tuple(PRECISIONS)),
            ("recompute", RECOMPUTE),
            ("zero", (0, 1, 2, 3)),
        ):
            words = ", ".join(map(str, choices))
            _need(getattr(self, name) in choices, self, name, f"one of {words}")
        _need(self.cached_tokens >= 0, self, "cached_tokens", "0 or more")
        if self.data % self.expert:
            raise ValueError(
                f"expert is {self.expert} and data {self.data}; the pipelines that "
                "share experts must come out even: choose a data that is a multiple "
                f"of {self.expert}"
            )
        if self.schedule == "DualPipe":
            _need(self.pipeline % 2 == 0, self, "pipeline", "an even number (DualPipe)")
        least = {"DualPipe": 2 * self.stages, "DualPipeV": self.stages}
        least = least.get(self.schedule, 1)
        if self.micro_batches is not None:
            words = f"{least} or more ({self.schedule})"
            _need(self.micro_batches >= least, self, "micro_batches", words)
            odd = self.schedule == "DualPipe" and self.micro_batches % 2
            _need(not odd, self, "micro_batches", "an even number (DualPipe)")

    @property
    def devices(self) -> int:
        """All devices."""
        return self.pipeline * self.data

    @property
    def stages(self) -> int:
        """Parts into which the layers are cut: two per device in DualPipeV."""
        return self.pipeline * (2 if self.schedule == "DualPipeV" else 1)

    @property
    def copies(self) -> int:
        """Devices of one pipeline that hold the same stage: two in DualPipe."""
        return 2 if self.schedule == "DualPipe" else 1

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.micro_batch * self.sequence

    def stages_of(self, device: int) -> tuple[int, ...]:
        """The stages that a device of the pipeline holds."""
        if self.schedule.startswith("DualPipe"):
            return device, self.stages - 1 - device
        return (device,)

    @classmethod
    def deepseek_v3(cls) -> "Layout":
        """The layout of DeepSeek-V3's pretraining, as far as it is published.

        Published: 2,048 devices, 16-way pipeline, 64-way experts, ZeRO-1, DualPipe,
        FP8, what is recomputed, 15,360 sequences of 4,096 tokens per step. Micro-
        batches of one sequence are what chapter 09 infers.

        Source: DeepSeek-V3, sections 3.1 to 3.3 and 4.2.
        """
        return cls(
            pipeline=16,
            data=128,
            expert=64,
            schedule="DualPipe",
            precision="FP8",
            recompute="deepseek",
            micro_batches=120,
        )


def _need(held: bool, layout: Layout, name: str, choose: str) -> None:
    if not held:
        raise ValueError(f"{name} is {getattr(layout, name)!r}; choose {choose}")


class Stage(NamedTuple):
    """Consecutive layers, and what stands before the first and after the last."""

    layers: range
    embedding: bool
    head: bool
    mtp: int


def split_stages(
    config: ModelConfig, stages: int, stage_layers: tuple[int, ...] | None = None
) -> list[Stage]:
    r"""Cut a model into stages: embedding first, head and MTP modules last.

    Embedding, layers, MTP modules and head are slots of equal rank; each stage gets
    $\lfloor n / S \rfloor$ of the $n$ slots, and the first $n \bmod S$ stages one
    more; MTP modules stay with the head, whose matrix they use. DeepSeek-V3 has
    1 + 61 + 1 + 1 = 64 slots, so 16 stages get four each. `stage_layers` gives the
    layers of each stage instead.

    Raises ValueError for too many stages, and for layers that do not add up.
    Source: none; DeepSeek publishes 16 stages and that the first and the last share a
    device, and not which layers a stage has.
    """
    depth = config.num_nextn_predict_layers
    if not 1 <= stages <= config.n_layers + 2:
        raise ValueError(
            f"{stages} stages for {config.n_layers} layers, an embedding and a head; "
            f"choose between 1 and {config.n_layers + 2}"
        )
    if stage_layers is not None:
        if len(stage_layers) != stages or min(stage_layers) < 0:
            raise ValueError(
                f"stage_layers is {stage_layers}; give {stages} numbers of layers"
            )
        if sum(stage_layers) != config.n_layers:
            raise ValueError(
                f"stage_layers has {sum(stage_layers)} layers and the model "
                f"{config.n_layers}; make the numbers add up to {config.n_layers}"
            )
        ends = [sum(stage_layers[: i + 1]) for i in range(stages)]
    else:
        slots = config.n_layers + depth + 2
        cut, behind = stages, 0
        if slots // stages <= depth:  # MTP modules and head fill the last stage
            cut, behind = stages - 1, depth + 1
        each, more = divmod(slots - behind, cut)
        # Slot 0 is the embedding, so slot i + 1 is layer i. The slots behind the last
        # layer, of MTP modules and head, leave the last stage fewer layers.
        ends = [(s + 1) * each + min(s + 1, more) - 1 for s in range(stages)]
        ends = [min(end, config.n_layers) for end in ends]
    starts = [0, *ends[:-1]]
    last = stages - 1
    return [
        Stage(range(start, end), s == 0, s == last, depth if s == last else 0)
        for s, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


class Matrix(NamedTuple):
    """Equal matrices of a layer.

    `kind` is "linear" (in FP8 where a service uses it), "expert" (the same, spread
    over devices), "plain", or "bias" (float32, and no gradient).
    """

    name: str
    kind: str
    rows: int
    columns: int = 1
    number: int = 1

    @property
    def parameters(self) -> int:
        """Numbers in all of them."""
        return self.rows * self.columns * self.number

    def size(self, weight: str) -> int:
        """Bytes of one of them in a format; FP8 has a scale per block of 128 x 128."""
        if self.kind == "bias":
            return 4 * self.rows
        if weight != "FP8":
            return self.rows * self.columns * BITS[weight] // 8
        if self.kind == "plain":
            return 2 * self.rows * self.columns
        blocks = -(-self.rows // TILE) * -(-self.columns // TILE)
        return self.rows * self.columns + SCALE * blocks


def layer_matrices(config: ModelConfig, layer: int) -> list[Matrix]:
    """The matrices, norms and biases of one layer, as count_parameters counts them.

    Source: DeepSeek-V3, equations 1 to 16; which are in FP8: its published files.
    """
    d, heads = config.dim, config.n_heads
    query, value = heads * config.qk_head_dim, heads * config.v_head_dim
    found = [Matrix("norms", "plain", 2 * d), Matrix("wo", "linear", d, value)]
    if config.q_lora_rank:
        rank = config.q_lora_rank
        found += [
            Matrix("wq_a", "linear", rank, d),
            Matrix("q_norm", "plain", rank),
            Matrix("wq_b", "linear", query, rank),
        ]
    else:
        found += [Matrix("wq", "linear", query, d)]
    if config.kv_lora_rank:
        rank = config.kv_lora_rank
        up = heads * (config.qk_nope_head_dim + config.v_head_dim)
        found += [
            Matrix("wkv_a", "linear", rank + config.qk_rope_head_dim, d),
            Matrix("kv_norm", "plain", rank),
            Matrix("wkv_b", "linear", up, rank),
        ]
    else:
        for name, width in (("wk", config.qk_head_dim), ("wv", config.v_head_dim)):
            found += [Matrix(name, "linear", config.n_kv_heads * width, d)]
    if config.index_n_heads:  # V3.2
        small, each = config.index_n_heads, config.index_head_dim
        found += [
            Matrix("index queries", "linear", small * each, config.q_lora_rank),
            Matrix("index keys", "linear", each, d),
            Matrix("index norm", "plain", 2 * each),
            Matrix("index weights", "plain", small, d),
        ]
    if layer < config.n_dense_layers:
        return [*found, *_swiglu("ffn", "linear", d, config.inter_dim)]
    experts, inter = config.n_routed_experts, config.moe_inter_dim
    found += [Matrix("router", "plain", experts, d)]
    found += [Matrix("routing bias", "bias", experts)] * config.routing_bias
    if config.n_shared_experts:
        found += _swiglu("shared", "linear", d, config.n_shared_experts * inter)
    return [*found, *_swiglu("experts", "expert", d, inter, experts)]


def _swiglu(name: str, kind: str, d: int, inter: int, number: int = 1) -> list[Matrix]:
    return [
        Matrix(f"{name} w1", kind, inter, d, number),
        Matrix(f"{name} w2", kind, d, inter, number),
        Matrix(f"{name} w3", kind, inter, d, number),
    ]


def stage_matrices(config: ModelConfig, stage: Stage) -> list[list[Matrix]]:
    """The matrices of a stage, piece by piece: embedding, layers, MTP modules, head."""
    d = config.dim
    vocabulary = Matrix("vocabulary", "plain", config.vocab_size, d)
    pieces = [[vocabulary]] if stage.embedding else []
    pieces += [layer_matrices(config, layer) for layer in stage.layers]
    for _ in range(stage.mtp):
        # eh_proj maps 2 d to d; the three norms are enorm, hnorm and the last one.
        own = [Matrix("eh_proj", "plain", d, 2 * d), Matrix("norms", "plain", 3 * d)]
        pieces += [own + layer_matrices(config, config.n_layers - 1)]
    if stage.head:
        tied = config.tie_word_embeddings
        pieces += [[Matrix("norm", "plain", d)] + ([] if tied else [vocabulary])]
    return pieces


def stage_parameters(config: ModelConfig, stage: Stage) -> int:
    """Parameters of a stage, on all devices that share its experts together."""
    pieces = stage_matrices(config, stage)
    return sum(matrix.parameters for piece in pieces for matrix in piece)


class Kept(NamedTuple):
    """A tensor that stays from the forward to the backward pass, for each token.

    It has `rows` rows of `width` numbers; `format` is a field of Precision, or "FP32".
    """

    name: str
    format: str
    width: int
    rows: int = 1

    def size(self, precision: Precision) -> int:
        """Bytes per token; FP8 and E5M6 have a scale for each 128 numbers of a row."""
        name = getattr(precision, self.format, self.format)
        bits = -(-self.width * BITS[name] // 8)
        scales = SCALE * -(-self.width // TILE) if name in ("FP8", "E5M6") else 0
        return self.rows * (bits + scales)


def kept_tensors(config: ModelConfig, layer: int, recompute: str) -> list[Kept]:
    """What one layer keeps of each token for its backward pass.

    A product keeps its input, a norm its input and a scale, SwiGLU its two inputs, a
    sigmoid its output, attention (computed in blocks) its inputs, its output and one
    number per head; a sum keeps nothing. Rotations keep nothing, and a gate stands
    before the last product of its expert, so the outputs of experts need not be kept.
    Loads are even. With "deepseek", norms, the up-projections of latent attention and
    SwiGLU are computed again, so their inputs are kept instead of their outputs.

    Raises ValueError for attention that chooses its tokens by an indexer.
    Source: DeepSeek-V3, sections 3.2.3 and 3.3.3; the rest follows from derivatives.
    """
    d, heads = config.dim, config.n_heads
    kept = [Kept("layer input", "stream", d)]
    if recompute == "layers":
        return kept
    need_no_indexer(config)
    anew = recompute == "deepseek"
    query = Kept("queries", "stream", heads * config.qk_head_dim)
    if not config.kv_lora_rank:
        kept += [query]
        kept += [Kept("keys", "stream", config.n_kv_heads * config.qk_head_dim)]
        kept += [Kept("values", "stream", config.n_kv_heads * config.v_head_dim)]
    else:
        latents = [config.kv_lora_rank] + [config.q_lora_rank] * (
            config.q_lora_rank > 0
        )
        kept += [Kept("latents", "stream", sum(latents))]
        if anew:
            # Keys are made again from the latent, but their rotary part is not: it
            # comes from the layer's input.
            kept += [Kept("rotary key", "stream", config.qk_rope_head_dim)]
        else:
            kept += [Kept("latents, normalized", "linear", width) for width in latents]
            kept += [Kept("keys", "stream", heads * config.qk_head_dim)]
            kept += [Kept("values", "stream", heads * config.v_head_dim)]
        kept += [query] if not (anew and config.q_lora_rank) else []
        kept += [Kept("scales of norms", "FP32", len(latents))] if not anew else []
    kept += [Kept("output of attention", "output", heads * config.v_head_dim)]
    kept += [Kept("sums of attention", "FP32", heads)]
    kept += [Kept("stream between", "stream", d)]
    if not anew:
        kept += [Kept("inputs, normalized", "linear", d, 2)]
        kept += [Kept("scales of norms", "FP32", 2)]
    if layer < config.n_dense_layers:
        hidden, rows = config.inter_dim, 1
    else:
        k, experts = config.n_activated_experts, config.n_routed_experts
        # float32 scores of all experts; weight and number of the chosen, 4 bytes each.
        kept += [Kept("routing", "FP32", experts + 2 * k)]
        kept += [Kept("tokens sent to experts", "linear", d, k)]
        hidden, rows = config.moe_inter_dim, k + config.n_shared_experts
    kept += [Kept("inputs of SwiGLU", "linear", hidden, 2 * rows)]
    kept += [Kept("outputs of SwiGLU", "linear", hidden, rows)] if not anew else []
    return kept


def kept_bytes(config: ModelConfig, layer: int, layout: Layout) -> int:
    """Bytes per token that one layer keeps for its backward pass."""
    precision = PRECISIONS[layout.precision]
    kept = kept_tensors(config, layer, layout.recompute)
    return sum(tensor.size(precision) for tensor in kept)


def in_flight(layout: Layout, stage: int) -> int:
    r"""Most micro-batches whose activations a stage holds at one time.

    $\min(S - s, m)$ for stage $s$ of $S$: the later a stage, the sooner a micro-batch
    is back. ZB1P puts weights off until every stage holds $\min(S, m)$; DualPipe lets
    half of the $m$ micro-batches in at each end. The two stages of a device reach their
    most at the same time.

    Source: DeepSeek-V3, table 2, which has the sum per device, P or P + 1.
    """
    most = layout.stages - (0 if layout.schedule == "ZB1P" else stage)
    if layout.micro_batches is None:
        return most
    return min(most, layout.micro_batches // layout.copies)


def _beyond_layers(config: ModelConfig, stage: Stage, layout: Layout) -> int:
    """Bytes of activations of a stage that belong to none of its layers."""
    if not stage.head:
        return 0
    d, precision = config.dim, PRECISIONS[layout.precision]
    all_kept = layout.recompute == "nothing"
    # The last norm keeps its input. If it is not computed again, also its output, which
    # the head reads, and a scale.
    norm = [Kept("stream", "stream", d)]
    norm += [Kept("output", "stream", d), Kept("scale", "FP32", 1)] * all_kept
    # An MTP module has the embedding of the next token, and two norms whose outputs
    # its projection reads, and a last norm.
    module = [Kept("embedded", "stream", d), *norm]
    module += [Kept("eh_proj", "stream", 2 * d), Kept("scales", "FP32", 2)] * all_kept
    held = sum(tensor.size(precision) for tensor in norm + module * stage.mtp)
    # Logits, and their probabilities in float32, live for one micro-batch: the last
    # stage goes back at once.
    logits = Kept("logits", "stream", config.vocab_size).size(precision)
    logits += 4 * config.vocab_size
    flying = in_flight(layout, layout.stages - 1)
    return layout.tokens * (held * flying + logits * (1 + stage.mtp))


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on one device of the pipeline, by kind.

    `parameters` are numbers and not bytes: what the device works with, before any of
    it is shared out by ZeRO-3.
    """

    device: int
    stages: tuple[int, ...]
    parameters: int
    weights: int
    gradients: int
    master: int
    moments: int
    activations: int
    cache: int
    buffers: int

    @property
    def kinds(self) -> dict[str, int]:
        """Bytes by kind."""
        return {
            "weights": self.weights,
            "gradients": self.gradients,
            "master weights": self.master,
            "moments": self.moments,
            "activations": self.activations,
            "cache": self.cache,
            "buffers": self.buffers,
        }

    @property
    def total(self) -> int:
        """Bytes of all kinds."""
        return sum(self.kinds.values())


def count_memory(config: ModelConfig, layout: Layout) -> list[DeviceMemory]:
    r"""Count the bytes on each device of a pipeline; the `data` pipelines are alike.

    With $N_d$ parameters of the stages of a device that every holder has, $N_e$ of its
    routed experts, $c$ = copies, and $b$ bytes per parameter of a kind, a kind that is
    shared out (see Layout's `zero`) has

    $b \left(\frac{N_d}{c \cdot \mathrm{data}} + \frac{N_e / \mathrm{expert}}
    {c \cdot \mathrm{data} / \mathrm{expert}}\right)$, else
    $b\,(N_d + N_e / \mathrm{expert})$.

    That ZeRO counts the holders of both directions of DualPipe is our assumption.
    Activations are, for each stage, in_flight times tokens times kept_bytes of its
    layers. The cache has $d_c + d_h^R$ numbers per token and layer. Buffers: what a
    layer sends to experts and gets back, in as many passes as run at once; what one
    layer computes again; with ZeRO-3 two gathered layers, from ZeRO-2 on the gradients
    of one. Not counted: the libraries' own memory, fragmentation, and what single
    operations need while they run.

    Raises ValueError where experts or stages cannot be shared out.
    Source: DeepSeek-V3, sections 3.2 and 3.3; Rajbhandari et al., 2020, for ZeRO.
    """
    if layout.expert > 1 and not config.n_moe_layers:
        raise ValueError(
            f"expert is {layout.expert}, and no layer of the model has experts; "
            "choose 1"
        )
    if layout.expert > 1 and config.n_routed_experts % layout.expert:
        raise ValueError(
            f"expert is {layout.expert}, which does not divide the "
            f"{config.n_routed_experts} routed experts; choose a divisor"
        )
    stages = split_stages(config, layout.stages, layout.stage_layers)
    return [_count(config, layout, stages, d) for d in range(layout.pipeline)]


def _count(
    config: ModelConfig, layout: Layout, stages: list[Stage], device: int
) -> DeviceMemory:
    own = [stages[s] for s in layout.stages_of(device)]
    pieces = [piece for stage in own for piece in stage_matrices(config, stage)]
    first, last = (any(getattr(s, end) for s in own) for end in ("embedding", "head"))
    looks_up = config.num_nextn_predict_layers or config.tie_word_embeddings
    if last and not first and looks_up:
        # MTP modules look the next token up, and a tied head is the embedding: a last
        # stage that lies on another device than the first needs a copy.
        pieces += [[Matrix("vocabulary", "plain", config.vocab_size, config.dim)]]
    precision = PRECISIONS[layout.precision]
    stored = {2: "BF16", 4: "FP32"}[precision.weight]
    if layout.precision == "FP8" and not layout.train:
        stored = "FP8"
    everything = [matrix for piece in pieces for matrix in piece]
    plain = [m for m in everything if m.kind not in ("expert", "bias")]
    experts = [m for m in everything if m.kind == "expert"]
    biases = sum(m.parameters for m in everything if m.kind == "bias")
    numbers = (
        sum(m.parameters for m in plain),
        sum(m.parameters for m in experts) // layout.expert,
    )
    sizes = (
        sum(m.size(stored) * m.number for m in plain),
        sum(m.size(stored) * m.number // layout.expert for m in experts),
    )

    def held(amounts: tuple[int, int], level: int) -> int:
        if layout.zero < level:
            return sum(amounts)
        holders = layout.copies * layout.data
        dense, routed = amounts
        return -(-dense // holders) - (-routed // (holders // layout.expert))

    trained = held if layout.train else lambda amounts, level: 0
    moment = layout.moment_bytes or precision.moment
    return DeviceMemory(
        device=device,
        stages=layout.stages_of(device),
        parameters=sum(numbers) + biases,
        # Routing biases are no weights of an optimizer: nobody shares them out.
        weights=held(sizes, 3) + 4 * biases,
        gradients=precision.gradient * trained(numbers, 2),
        master=precision.master * trained(numbers, 1),
        moments=2 * moment * trained(numbers, 1),
        activations=_activations(config, layout, stages, device),
        cache=_cache(config, layout, own),
        buffers=_buffers(config, layout, own, pieces, stored),
    )


def _activations(
    config: ModelConfig, layout: Layout, stages: list[Stage], device: int
) -> int:
    if not layout.train:
        return 0
    total = 0
    for s in layout.stages_of(device):
        layers = [*stages[s].layers, *[config.n_layers - 1] * stages[s].mtp]
        kept = sum(kept_bytes(config, layer, layout) for layer in layers)
        total += in_flight(layout, s) * layout.tokens * kept
        total += _beyond_layers(config, stages[s], layout)
    return total


def _cache(config: ModelConfig, layout: Layout, own: list[Stage]) -> int:
    itemsize = BITS[PRECISIONS[layout.precision].stream] // 8
    model = kv_cache_bytes(config, layout.cached_tokens, itemsize)
    return model * sum(len(stage.layers) for stage in own) // config.n_layers


def _buffers(
    config: ModelConfig,
    layout: Layout,
    own: list[Stage],
    pieces: list[list[Matrix]],
    stored: str,
) -> int:
    precision = PRECISIONS[layout.precision]
    layers = [*(layer for stage in own for layer in stage.layers)]
    layers += [config.n_layers - 1] * sum(stage.mtp for stage in own)
    total = 0
    if layout.expert > 1 and any(layer >= config.n_dense_layers for layer in layers):
        there = Kept("sent", "linear", config.dim).size(precision)
        back = Kept("returned", "stream", config.dim).size(precision)
        passes = 2 if layout.train and layout.schedule.startswith("DualPipe") else 1
        choices = layout.tokens * config.n_activated_experts
        total += choices * (there + back) * passes
    if not layout.train:
        return total
    anew = [
        sum(kept.size(precision) for kept in kept_tensors(config, layer, "nothing"))
        - kept_bytes(config, layer, layout)
        for layer in layers
    ]
    total += layout.tokens * max(anew, default=0)
    if layout.zero < 2:
        return total

    def largest(size: Callable[[Matrix], int]) -> int:
        return max(
            (
                sum(
                    size(m) // (layout.expert if m.kind == "expert" else 1)
                    for m in piece
                )
                for piece in pieces
            ),
            default=0,
        )

    total += precision.gradient * largest(lambda m: m.parameters * (m.kind != "bias"))
    if layout.zero == 3:
        # Gathered weights of two layers: the one at work and the one that follows.
        total += 2 * largest(lambda m: m.size(stored) * m.number)
    return total
