"""The tokenizer that comes with a checkpoint."""

from girih.checkpoints import tokenizer_folder, tokenizer_gguf
from girih.checkpoints.errors import FormatError
from girih.checkpoints.source import Source
from girih.checkpoints.tokenizer import Tokenizer


def tokenizer_of(source: Source) -> Tokenizer | None:
    """From the folder's tokenizer.json or the GGUF metadata; None where there is none."""
    if not has_tokenizer(source):
        return None
    if source.gguf is None:
        return Tokenizer.from_folder(source.path)
    try:
        return Tokenizer.from_gguf(source.gguf.metadata)
    except FormatError as error:
        text = str(error)
        named = text.startswith(str(source.path))
        raise FormatError(text if named else f"{source.path}: {text}") from None


def has_tokenizer(source: Source) -> bool:
    """Whether it comes with a tokenizer."""
    if source.gguf is not None:
        return "tokenizer.ggml.tokens" in source.gguf.metadata
    return (source.path / "tokenizer.json").is_file()


def chats(source: Source) -> bool:
    """Whether it comes with a chat template; what is wrong with that is told when it is used."""
    if not has_tokenizer(source):
        return False
    try:
        if source.gguf is not None:
            return bool(tokenizer_gguf.template(source.gguf.metadata))
        return bool(tokenizer_folder.template(source.path))
    except FormatError:
        return False
