"""Text to token ids and back: the only file that imports `tokenizers`.

From a folder (`tokenizer.json` and its neighbours) or from GGUF metadata; both become one pipeline.
"""

from __future__ import annotations

import codecs
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizers

from girih.checkpoints import tokenizer_folder, tokenizer_gguf
from girih.checkpoints.errors import FormatError
from girih.checkpoints.tokenizer_parts import Described, byte_characters

_BYTES = byte_characters()
_END = "<|end|>"
_SPACE = "\u2581"  # how SentencePiece writes a space


class Tokenizer:
    """Text to token ids and back, as the model's own tokenizer does it.

    `bos` and `eos` are ids or None; `stop_ids` end a reply; `template_tokens` maps bos_token,
    eos_token ... to the texts a chat template may use. Made by `from_folder` or `from_gguf`.
    """

    def __init__(self, described: Described, where: str) -> None:
        self._described = described
        self._inner = _build(described, where)
        added = self._inner.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)
        self.bos = self._id(described.bos)
        self.eos = self._id(described.eos)
        ends = frozenset() if self.eos is None else {self.eos}
        self.stop_ids: frozenset[int] = described.stop_ids | ends
        self.chat_template = described.chat_template
        self.template_tokens: dict[str, str] = dict(described.tokens)
        self.vocab_size: int = max(self._inner.get_vocab_size(), *(n + 1 for n in (-1, *added)))
        style = _style(json.loads(described.document).get("decoder"))
        self._bytelike: Callable[[str], bytes] | None = style[0] if style else None
        self._leading_space = style is not None and style[1]
        self._cache: dict[int, bytes] = {}

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer of a Hugging Face or girih folder. FormatError names the culprit."""
        return cls(tokenizer_folder.describe(Path(folder)), f"{folder}/tokenizer.json")

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, object]) -> Tokenizer:
        """The tokenizer in the `tokenizer.*` keys of a GGUF header; ids equal llama.cpp's."""
        return cls(tokenizer_gguf.describe(metadata), "tokenizer.ggml")

    @classmethod
    def learned(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """A byte-level BPE of at most `size` tokens learned from texts; of 257, bytes and an end.

        Source: Sennrich et al., arXiv 1508.07909, over bytes.
        """
        inner = tokenizers.Tokenizer(tokenizers.models.BPE())
        inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size, special_tokens=[_END], initial_alphabet=[*_BYTES], show_progress=False
        )
        inner.train_from_iterator(texts, trainer)
        described = Described(
            document=inner.to_str(),
            bos=None,
            eos=_END,
            stop_ids=frozenset(),
            tokens={"eos_token": _END},
            chat_template=None,
        )
        return cls(described, "the learned tokenizer")

    @property
    def described(self) -> Described:
        """What it was made from."""
        return self._described

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token as it is written in the vocabulary, and its id."""
        found: dict[str, int] = self._inner.get_vocab(with_added_tokens=True)
        return found

    def added(self) -> dict[int, tuple[str, bool]]:
        """The tokens taken out of a text before anything else: text, and whether it is special."""
        found = self._inner.get_added_tokens_decoder()
        return {number: (token.content, token.special) for number, token in found.items()}

    def cuts(self, text: str) -> list[str]:
        """The pieces that a text is cut into before any tokens are merged."""
        normal, cut = self._inner.normalizer, self._inner.pre_tokenizer
        plain = normal.normalize_str(text) if normal else text
        return [piece for piece, _ in cut.pre_tokenize_str(plain)] if cut else [plain]

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; `special` adds BOS and EOS as the model does for a plain prompt.

        Special tokens written in the text become their ids either way. ValueError for text that is
        not Unicode (a lone surrogate).
        """
        try:
            ids: list[int] = self._inner.encode(text, add_special_tokens=special).ids
        except (TypeError, UnicodeEncodeError):
            raise ValueError(_not_text(text)) from None
        return ids

    def encode_chat(self, text: str) -> list[int]:
        """Token ids of a rendered chat template, which writes BOS itself where one is wanted."""
        return self.encode(text, special=False)

    def decode(
        self, ids: Iterable[int], *, skip_special: bool = True, continues: bool = False
    ) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD, ids that are no token nothing.

        The space SentencePiece puts before a text is dropped unless the text `continues` another.
        """
        stream = self.stream(skip_special=skip_special, continues=continues)
        return "".join([*map(stream.push, ids), stream.flush()])

    def stream(self, *, skip_special: bool = True, continues: bool = False) -> Detokenizer:
        """A decoder of one id at a time, with the options of `decode`."""
        return Detokenizer(self, skip_special=skip_special, continues=continues)

    def token(self, number: int) -> str:
        """The raw piece of an id. ValueError for an id outside the vocabulary."""
        text = self._inner.id_to_token(number) if 0 <= number < self.vocab_size else None
        if text is None:
            raise ValueError(
                f"token id {number} is not in the vocabulary of {self.vocab_size} tokens"
            )
        return str(text)

    def save(self, folder: str | Path) -> None:
        """Writes files from which `transformers.AutoTokenizer` gives the same ids.

        What was read from a folder is copied byte for byte.
        """
        target, source = Path(folder), self._described.folder
        target.mkdir(parents=True, exist_ok=True)
        for name in self._described.files if source else ():
            assert source is not None
            if (source / name).resolve() != (target / name).resolve():
                shutil.copyfile(source / name, target / name)
        if source is None:
            (target / "tokenizer.json").write_text(self._described.document, encoding="utf-8")
            config = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": False,
                **self.template_tokens,
            }
            if self.chat_template is not None:
                config["chat_template"] = self.chat_template
            _write_json(target / "tokenizer_config.json", config)
        if self.stop_ids and "generation_config.json" not in self._described.files:
            _write_json(target / "generation_config.json", {"eos_token_id": sorted(self.stop_ids)})

    def _id(self, token: int | str | None) -> int | None:
        found = self._inner.token_to_id(token) if isinstance(token, str) else token
        return None if found is None else int(found)

    def _piece(self, number: int, skip_special: bool) -> bytes:
        """The bytes an id adds to a text; a decoder that is not bytes in a row has none."""
        if skip_special and number in self._special:
            return b""
        if number not in self._cache:
            text = self._inner.id_to_token(number) if 0 <= number < self.vocab_size else None
            assert self._bytelike is not None
            self._cache[number] = self._bytelike(text or "")
        return self._cache[number]

    def _decode_whole(self, ids: list[int], skip_special: bool) -> str:
        known = [number for number in ids if 0 <= number < self.vocab_size]
        return str(self._inner.decode(known, skip_special_tokens=skip_special))


class Detokenizer:
    """Token ids to text, one at a time, never half a character: made by `Tokenizer.stream`.

    What `push` and `flush` return, joined, is `Tokenizer.decode` of the same ids. A decoder that
    cannot be taken apart (WordPiece and other encoders) gives all its text in `flush`.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool, continues: bool) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._continues = continues
        self._start()

    def push(self, number: int) -> str:
        """The text an id adds; "" while a character is incomplete."""
        if self._tokenizer._bytelike is None:
            self._held.append(number)
            return ""
        return self._trim(self._bytes.decode(self._tokenizer._piece(number, self._skip_special)))

    def flush(self) -> str:
        """What is still held back, an incomplete character as U+FFFD; then starts over."""
        if self._tokenizer._bytelike is None:
            text = self._tokenizer._decode_whole(self._held, self._skip_special)
        else:
            text = self._trim(self._bytes.decode(b"", True))
        self._start()
        return text

    def _start(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._held: list[int] = []
        self._drop_space = self._tokenizer._leading_space and not self._continues

    def _trim(self, text: str) -> str:
        if self._drop_space and text:
            self._drop_space = False
            return text.removeprefix(" ")
        return text


def _build(described: Described, where: str) -> tokenizers.Tokenizer:
    """The `tokenizers` pipeline; a document it cannot read is one clear line."""
    try:
        inner = tokenizers.Tokenizer.from_str(described.document)
        inner.add_tokens([tokenizers.AddedToken(**asdict(token)) for token in described.more])
    except BaseException as error:  # a panic of the library is a BaseException
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise FormatError(f"{where}: this tokenizer cannot be built: {reason}") from None
    inner.no_truncation()
    inner.no_padding()
    return inner


def _style(decoder: Any) -> tuple[Callable[[str], bytes], bool] | None:
    """How a decoder makes bytes of pieces and if it drops a leading space; None: not so simple."""
    steps = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    if [step.get("type") for step in steps] == ["ByteLevel"]:
        return _byte_level, False
    space, fallback = False, False
    seen: list[str] = []
    for step in steps:
        match step:
            case {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}:
                seen.append("space")
            case {"type": "Metaspace", "replacement": "\u2581"}:
                seen.append("space")
                space = step.get("prepend_scheme", "always") != "never"
            case {"type": "ByteFallback"}:
                fallback = True
            case {"type": "Fuse"}:
                pass
            case {"type": "Strip", "content": " ", "start": 1, "stop": 0} if seen:
                space = True
            case _:
                return None
    if seen != ["space"]:
        return None
    return (_byte_fallback if fallback else _spaces), space


def _byte_level(text: str) -> bytes:
    if all(char in _BYTES for char in text):
        return bytes(_BYTES[char] for char in text)
    return text.encode()


def _byte_fallback(text: str) -> bytes:
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        try:
            return bytes([int(text[3:5], 16)])
        except ValueError:
            pass
    return _spaces(text)


def _spaces(text: str) -> bytes:
    return text.replace(_SPACE, " ").encode()


def _not_text(text: object) -> str:
    if not isinstance(text, str):
        return f"text to encode must be a string, not {type(text).__name__}"
    at = next((i for i, char in enumerate(text) if "\ud800" <= char <= "\udfff"), 0)
    return f"the text is not Unicode: a lone surrogate stands at character {at}"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
