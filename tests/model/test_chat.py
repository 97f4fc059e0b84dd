"""The command that writes with a downloaded model, on a folder made on the spot."""

import io
from dataclasses import replace

import pytest
import torch
from folders import V3, random_model, write_folder
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from r1.model import chat
from r1.model.sampling import sample
from r1.model.transformer import Model

WORDS = ["<bos>", "<eos>", "<unk>", "User:", "Bot:", *"abcdefghijklmnopqrstuvwxyz", "!"]
TEMPLATE = (
    "<bos> {% for m in messages %}{{ 'User:' if m.role == 'user' else 'Bot:' }} "
    "{{ m.content }} {% endfor %}Bot:"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "model"
    write_folder(
        folder,
        random_model(replace(V3, max_seq_len=48, original_seq_len=12)),
        eight_bits=True,
    )
    vocab = {word: number for number, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": [1]}')
    return folder


LIKELIEST = ["--temperature", "0", "--dtype", "float32", "--tokens", "12"]


def expected(folder, prompt, new=12):
    """What the model writes by `sample`, which knows no drafts and no tokenizer."""
    model = Model.from_pretrained(folder, torch.float32, progress=False)
    ids = [WORDS.index(word) for word in prompt.split()]
    (tokens,) = sample(model, [ids], new, temperature=0.0)
    assert len(set(tokens)) > 2
    return " ".join(WORDS[t] for t in tokens if t > 2)


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
@pytest.mark.parametrize("drafts", [[], ["--no-drafts"]])
def test_an_answer_is_what_the_model_writes(how, drafts, folder, capsys):
    chat.main([str(folder), "--prompt", "a b", how, *drafts, *LIKELIEST])
    out, err = capsys.readouterr()
    assert out.strip() == expected(folder, "<bos> User: a b Bot:")
    assert ("drafts kept" in err) == (not drafts)


def test_a_raw_prompt_is_continued_and_a_talk_remembers(folder, capsys, monkeypatch):
    words = [str(folder), "--no-drafts", "--no-stream", *LIKELIEST]
    chat.main([*words, "--raw", "--prompt", "c d"])
    assert capsys.readouterr().out.strip() == expected(folder, "c d")
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n"))
    chat.main(words)
    first = expected(folder, "<bos> User: a Bot:")
    second = expected(folder, f"<bos> User: a Bot: {first} User: b Bot:")
    assert capsys.readouterr().out.split("\n")[:2] == [first, second]


@pytest.mark.parametrize(("free", "streams"), [(1000, True), (10**9, False)])
def test_what_does_not_fit_is_read_from_disk(
    free, streams, folder, monkeypatch, capsys
):
    monkeypatch.setattr(chat, "free_bytes", lambda device: free)
    model = chat.open_model(folder, torch.float32, torch.device("cpu"), None)
    assert isinstance(model, chat.StreamedModel) == streams
    assert ("are read from disk" in capsys.readouterr().err) == streams


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--prompt", ""], "the prompt has 0 tokens"),
        (["--prompt", "a " * 60], "the text has 60 tokens, the model reads 48"),
        (["--prompt", "a", "--temperature", "-1"], "temperature is -1"),
        (["--prompt", "a", "--tokens", "0"], "0 new tokens"),
        (["--prompt", "a", "--device", "nowhere"], "'nowhere' cannot be used"),
        (["--prompt", "a", "--device", "xpu"], "'xpu' cannot be used"),
    ],
)
def test_a_mistake_is_one_line(words, match, folder):
    with pytest.raises(SystemExit, match=match) as caught:
        chat.main([str(folder), "--raw", "--no-stream", *words])
    assert "\n" not in str(caught.value)


def test_a_name_on_hugging_face_is_no_folder():
    with pytest.raises(SystemExit, match="DeepSeek-V2-Lite is no folder"):
        chat.main(["deepseek-ai/DeepSeek-V2-Lite", "--prompt", "a"])


def test_a_folder_without_a_tokenizer_is_said_before_weights_are_read(tmp_path):
    write_folder(tmp_path, random_model(V3))
    with pytest.raises(SystemExit, match="no tokenizer that Transformers opens"):
        chat.main([str(tmp_path), "--prompt", "a"])


def test_a_tokenizer_of_another_model_is_refused(folder, tmp_path):
    write_folder(tmp_path, random_model(replace(V3, vocab_size=8)))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(SystemExit, match="the model has 8: is it this model's tok"):
        chat.main([str(tmp_path), "--raw", "--prompt", "z", "--no-stream"])
