"""Fields of Hugging Face's config.json that change nothing in a model's arithmetic."""

import warnings
from typing import Any

# Of the file: what made it, and how its weights are stored.
FILE = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "name_or_path",
    "quantization_config",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
}
# Of training alone.
TRAINING = {
    "attention_dropout",
    "aux_loss_alpha",
    "output_router_logits",
    "router_aux_loss_coef",
    "seq_aux",
}
# Of how a program runs the model, and what follows from other fields.
RUNNING = {
    "_attn_implementation",
    "attn_implementation",
    "chunk_size_feed_forward",
    "ep_size",
    "head_dim",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "qk_head_dim",
    "return_dict",
    "torchscript",
    "unsloth_fixed",
    "use_bfloat16",
    "use_cache",
}
# Of how text is drawn, and of classes, which older programs wrote into every file.
GENERATING = {
    "bos_token_id",
    "diversity_penalty",
    "do_sample",
    "eos_token_id",
    "id2label",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "pad_token_id",
    "repetition_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
}
SILENT = FILE | TRAINING | RUNNING | GENERATING


def warn_of_others(data: dict[str, Any], known: set[str], name: str) -> None:
    """Name the fields of a file `name` that say something and are not known.

    A field that is null, false, 0 or empty says nothing.
    """
    others = [f"{k}={v!r}" for k, v in data.items() if k not in known and v]
    if others:
        warnings.warn(
            f"{name} has {', '.join(others)}, which is not read; if it changes the "
            "arithmetic, the file describes another model",
            stacklevel=4,
        )
