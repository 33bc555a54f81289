"""The tokenizer that comes with a checkpoint."""

from girih.checkpoints.errors import FormatError
from girih.checkpoints.source import Source
from girih.checkpoints.tokenizer import Tokenizer


def tokenizer_of(source: Source) -> Tokenizer | None:
    """From the folder's tokenizer.json or the GGUF metadata; None where there is none."""
    if source.gguf is not None:
        has = "tokenizer.ggml.tokens" in source.gguf.metadata
        try:
            return Tokenizer.from_gguf(source.gguf.metadata) if has else None
        except FormatError as error:
            text = str(error)
            named = text.startswith(str(source.path))
            raise FormatError(text if named else f"{source.path}: {text}") from None
    has = (source.path / "tokenizer.json").is_file()
    return Tokenizer.from_folder(source.path) if has else None
