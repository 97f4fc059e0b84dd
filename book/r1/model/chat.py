"""Write with a model of Hugging Face: python -m r1.model.chat FOLDER.

The folder is one of DeepSeek's family as it is downloaded, with its tokenizer. Where
the files hold an MTP module, the module drafts. A model that is larger than the memory
is read from disk, a layer at a time, for each pass.

Needs `pip install 'inside-deepseek-r1[checkpoints]'`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from r1.model.drafting import Drafted, MTPDrafter, drafted_steps
from r1.model.folder import Folder, FolderError
from r1.model.pretrained import peak_bytes
from r1.model.streamed import StreamedModel
from r1.model.transformer import Model

DTYPES = ("bfloat16", "float16", "float32")


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m r1.model.chat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, help="config.json, *.safetensors and the tokenizer")
    add("--prompt", help="answer this and stop; without it, each line of the input")
    add("--raw", action="store_true", help="go on with the text; ask no assistant")
    add("--tokens", type=int, default=512, help="the longest answer")
    add("--temperature", type=float, default=0.6, help="0 takes the likeliest token")
    add("--seed", type=int, default=0)
    add("--dtype", choices=DTYPES, default="bfloat16")
    add("--device", default="cpu", help="cpu, cuda or cuda:1")
    add("--no-drafts", action="store_true", help="leave the MTP module out")
    add(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="read layers from disk; by default where the memory is too small",
    )
    return parser.parse_args(words)


def open_device(name: str) -> torch.device:
    """A device that torch can use here.

    Raises ValueError for another.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"the device {name!r} cannot be used: {reason}") from error


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def open_model(
    folder: Path, dtype: torch.dtype, device: torch.device, stream: bool | None
) -> Model:
    """The model of a folder, in memory or from disk, that is given tokens on the CPU
    and gives logits there.

    Raises what `Folder` raises.
    """
    if stream is None:
        source = Folder(folder)
        with torch.device("meta"):
            need = peak_bytes(source, Model(source.config), dtype)
        stream = need > (free := free_bytes(device))
        if stream:
            say(
                f"{need / 1e9:.3g} GB are needed, {free / 1e9:.3g} GB are free: "
                "layers are read from disk for each pass"
            )
    model = (
        StreamedModel(folder, dtype, device)
        if stream
        else Model.from_pretrained(folder, dtype, device)
    )
    # Drawing and judging are done on the CPU, in float32.
    model.embed.register_forward_pre_hook(lambda _, tokens: (tokens[0].to(device),))
    model.head.register_forward_hook(lambda _, x, logits: logits.float().cpu())
    return model


def open_tokenizer(folder: Path) -> Any:
    """Transformers' tokenizer of a folder; nothing is downloaded, no code is run.

    Raises FolderError where there is none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FolderError(
            f"{folder} has no tokenizer that Transformers opens by itself ({reason}); "
            "download tokenizer.json and tokenizer_config.json"
        ) from error


def end_tokens(folder: Path, tokenizer: Any) -> set[int]:
    """Tokens that end an answer, by the tokenizer and by `generation_config.json`."""
    ends = {tokenizer.eos_token_id} - {None}
    path = folder / "generation_config.json"
    if path.exists():
        said = json.loads(path.read_text(encoding="utf-8-sig")).get("eos_token_id")
        ends |= set(said if isinstance(said, list) else [said]) - {None}
    return ends


def to_tokens(tokenizer: Any, messages: list[dict[str, str]], raw: bool) -> list[int]:
    """A talk as tokens; the last message alone, as it is, if `raw` or without a
    template."""
    if raw or not tokenizer.chat_template:
        return tokenizer(messages[-1]["content"])["input_ids"]
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    # The template writes the token of the beginning.
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def answer(
    model: Model, tokenizer: Any, ids: list[int], ends: set[int], said: Any
) -> Iterator[Drafted]:
    """The steps of an answer; `said` has the command line's words.

    Raises FolderError for tokens that the model does not have, and for a text that is
    too long.
    """
    config = model.config
    if not ids or max(ids) >= config.vocab_size:
        raise FolderError(
            f"the prompt has {len(ids)} tokens, the largest {max(ids, default=None)}; "
            f"the model has {config.vocab_size}: is it this model's tokenizer?"
        )
    room = config.max_seq_len - len(ids)
    if room < 1:
        raise FolderError(
            f"the text has {len(ids)} tokens, the model reads {config.max_seq_len}"
        )
    drafter = MTPDrafter(model) if len(model.mtp) and not said.no_drafts else None
    generator = torch.Generator().manual_seed(said.seed)
    return drafted_steps(
        model, ids, drafter, min(said.tokens, room), said.temperature, generator, ends
    )


def write(tokenizer: Any, steps: Iterator[Drafted]) -> str:
    """Print an answer as it comes, and on stderr what its drafts were worth."""
    from transformers import TextStreamer

    streamer, tokens = TextStreamer(tokenizer, skip_special_tokens=True), []
    guessed = kept = 0
    for step in steps:
        tokens += step.tokens
        guessed, kept = guessed + step.guessed, kept + step.kept
        streamer.put(torch.tensor(step.tokens))
    streamer.end()
    if guessed:
        say(f"{len(tokens)} tokens; {kept} of {guessed} drafts kept")
    return tokenizer.decode(tokens, skip_special_tokens=True)


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)


def main(words: Sequence[str] | None = None) -> None:
    """Answer one prompt, or line by line."""
    said = read_words(words)
    try:
        if not said.folder.is_dir():
            raise FolderError(f"{said.folder} is no folder; give one on this disk")
        device = open_device(said.device)
        tokenizer = open_tokenizer(said.folder)
        model = open_model(said.folder, getattr(torch, said.dtype), device, said.stream)
        ends, talk = end_tokens(said.folder, tokenizer), []
        for line in [said.prompt] if said.prompt is not None else sys.stdin:
            talk.append({"role": "user", "content": line.rstrip("\n")})
            ids = to_tokens(tokenizer, talk, said.raw)
            steps = answer(model, tokenizer, ids, ends, said)
            text = write(tokenizer, steps)
            talk.append({"role": "assistant", "content": text})
    except ImportError as error:
        raise SystemExit(
            f"{error}; pip install 'inside-deepseek-r1[checkpoints]'"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
