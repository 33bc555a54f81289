"""Tokenizers of folders: the ids and text of transformers, saved byte for byte, bad files named."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers as library
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from girih.checkpoints.errors import FormatError
from girih.checkpoints.tokenizer import Tokenizer
from vocabularies import SOME


def gpt2_like(folder: Path) -> None:
    inner = library.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    inner.train_from_iterator(
        SOME,
        trainers.BpeTrainer(
            vocab_size=900, initial_alphabet=alphabet, special_tokens=marks, show_progress=False
        ),
    )
    inner.enable_truncation(8)  # which is for training, not for a prompt
    inner.enable_padding(length=5, pad_token="<|endoftext|>")
    inner.add_tokens([library.AddedToken("<tool>", normalized=False), "getElement"])
    write_folder(folder, inner, {"bos_token": marks[0], "eos_token": marks[2]})


def llama_like(folder: Path, **config: Any) -> None:
    inner = library.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    marks = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner.train_from_iterator(
        [text for text in SOME if text.isascii()],
        trainers.BpeTrainer(vocab_size=700, special_tokens=marks, show_progress=False),
    )
    described = json.loads(inner.to_str())
    described["added_tokens"] = [
        token for token in described["added_tokens"] if token["content"] in marks[:3]
    ]
    inner = library.Tokenizer.from_str(json.dumps(described))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_folder(folder, inner, named | config)


def llama_with_ends(folder: Path) -> None:
    llama_like(folder, add_bos_token=False, add_eos_token=True)  # tokenizer.json says otherwise


def llama_with_more(folder: Path) -> None:
    more = {
        "800": {"content": "<|im_end|>", "special": True},
        "801": {"content": "x86", "special": False},
        "2": {"content": "</s>", "special": True, "rstrip": True, "normalized": False},
    }
    llama_like(
        folder, added_tokens_decoder=more, pad_token={"__type": "AddedToken", "content": "<pad>"}
    )


def metaspace(folder: Path) -> None:
    inner = library.Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    inner.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    inner.train_from_iterator(
        SOME, trainers.BpeTrainer(vocab_size=900, special_tokens=["<unk>"], show_progress=False)
    )
    write_folder(folder, inner, {"unk_token": "<unk>"})


def word_pieces(folder: Path) -> None:
    inner = library.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    marks = ["[UNK]", "[CLS]", "[SEP]"]
    inner.train_from_iterator(
        SOME, trainers.WordPieceTrainer(vocab_size=900, special_tokens=marks, show_progress=False)
    )
    inner.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    write_folder(folder, inner, {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"})


def write_folder(folder: Path, inner: library.Tokenizer, config: dict[str, Any]) -> None:
    inner.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


MAKERS = [gpt2_like, llama_like, llama_with_ends, llama_with_more, metaspace, word_pieces]


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp(request.param.__name__)
    request.param(folder)
    return folder


def theirs(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def test_a_folder_gives_the_ids_and_text_of_transformers(made: Path) -> None:
    ours, reference = Tokenizer.from_folder(made), theirs(made)
    for text in SOME:
        ids = ours.encode(text)
        assert ids == reference.encode(text)
        assert ours.encode_chat(text) == reference.encode(text, add_special_tokens=False)
        for skip in (True, False):
            expected = reference.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special=skip) == expected
    assert ours.vocab_size == len(reference)
    assert (ours.bos, ours.eos) == (reference.bos_token_id, reference.eos_token_id)


def test_a_folder_is_saved_byte_for_byte(made: Path, tmp_path: Path) -> None:
    Tokenizer.from_folder(made).save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_stop_ids_and_template_come_from_the_neighbours(tmp_path: Path) -> None:
    gpt2_like(tmp_path)
    assert Tokenizer.from_folder(tmp_path).stop_ids == {2}
    (tmp_path / "config.json").write_text('{"eos_token_id": 0}')
    assert Tokenizer.from_folder(tmp_path).stop_ids == {0, 2}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 5]}')
    assert Tokenizer.from_folder(tmp_path).stop_ids == {1, 2, 5}
    assert Tokenizer.from_folder(tmp_path).chat_template is None
    (tmp_path / "chat_template.json").write_text('{"chat_template": "old"}')
    assert Tokenizer.from_folder(tmp_path).chat_template == "old"
    (tmp_path / "chat_template.jinja").write_text("new")
    assert Tokenizer.from_folder(tmp_path).chat_template == "new"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.json", None, "there is no tokenizer.json"),
        ("tokenizer.json", b"\xff{}", "tokenizer.json: this is not UTF-8"),
        ("tokenizer.json", b"{", "tokenizer.json: this is not JSON"),
        ("tokenizer.json", b"[" * 100_000, "tokenizer.json: this is not JSON"),
        ("tokenizer.json", b"[]", "tokenizer.json: this is not a JSON object"),
        ("tokenizer.json", b'{"model": {"type": "Nothing"}}', "this tokenizer cannot be built"),
        ("tokenizer_config.json", b"no", "tokenizer_config.json: this is not JSON"),
        ("tokenizer_config.json", b'{"bos_token": 5}', "tokenizer_config.json: bos_token is"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"a": 1}}', "added_tokens_decoder"),
        ("tokenizer_config.json", b'{"chat_template": 5}', "chat_template is not a string"),
        ("special_tokens_map.json", b"5", "special_tokens_map.json: this is not a JSON object"),
        ("generation_config.json", b'{"eos_token_id": "x"}', "eos_token_id is not an id"),
        ("chat_template.jinja", b"\xff", "chat_template.jinja: this is not UTF-8"),
    ],
)
def test_a_bad_file_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    gpt2_like(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=says) as caught:
        Tokenizer.from_folder(tmp_path)
    assert "\n" not in str(caught.value)
