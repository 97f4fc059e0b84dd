"""A model as Hugging Face's Transformers saves it."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from r1.model.files import write_atomically
from r1.model.formats import to_hugging_face
from r1.model.transformer import Model
from r1.model.weight_names import to_hugging_face_weights
from r1.text.tokenizer import BOS, BOS_ID, EOS, EOS_ID, IDS, PAD, PAD_ID, TAGS


def to_transformers(model: Model, folder: Path | str) -> None:
    """Save a model as Hugging Face does, for `DeepseekV3ForCausalLM.from_pretrained`.

    Writes `config.json` and `model.safetensors` with the names of DeepSeek's published
    files; MTP modules are the layers behind the last.

    Raises ConfigError for what Transformers' DeepSeek-V3 cannot be.
    """
    folder, config = Path(folder), to_hugging_face(model.config)
    tied = model.config.tie_word_embeddings
    weights = to_hugging_face_weights(model.state_dict(), model.config.n_layers)
    if tied:
        weights.pop("lm_head.weight")
    config |= {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "pad_token_id": PAD_ID}
    config["dtype"] = str(next(model.parameters()).dtype).removeprefix("torch.")
    write_atomically(
        folder / "model.safetensors",
        lambda path: save_file(weights, path, {"format": "pt"}),
    )
    text = json.dumps(config, indent=2) + "\n"
    write_atomically(folder / "config.json", lambda path: path.write_text(text))


def new_tokenizer() -> Any:
    """The book's tokenizer as one of Transformers.

    Tags are no special tokens, so that text without those still has its tags.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(IDS)))
    pieces = Regex("|".join([BOS, EOS, PAD, *TAGS, "(?m:.)"]))
    words.pre_tokenizer = pre_tokenizers.Split(pieces, "isolated")
    words.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
    )


def save_tokenizer(folder: Path | str) -> None:
    """Put the book's tokenizer beside a model, for `AutoTokenizer.from_pretrained`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        new_tokenizer().save_pretrained(beside)
        for path in Path(beside).iterdir():
            os.replace(path, folder / path.name)
