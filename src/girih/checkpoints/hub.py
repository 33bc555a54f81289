"""Models of the Hugging Face hub, by id: fetched once, kept in its cache, usable offline."""

import importlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(/[\w.-]+\.gguf)?")
"""`owner/name`, or `owner/name/file.gguf` for one file of a repository."""

SMALL = ["*.json", "*.jinja", "tokenizer.model"]
WEIGHTS = ["*.safetensors"]


def fetch(name: str, *, weights: bool = True) -> Path:
    """The local folder (or GGUF file) of a hub id; with `weights=False` only its small files.

    Shows the library's progress bars on a terminal. `HF_HUB_OFFLINE=1` uses the cache alone.
    Raises FileNotFoundError or ConnectionError in one line that says what to do.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    errors: Any = importlib.import_module("huggingface_hub.errors")
    owner, repo, *file = name.split("/")
    try:
        with one_line_only():
            if file:
                return Path(huggingface_hub.hf_hub_download(f"{owner}/{repo}", file[0]))
            patterns = SMALL + (WEIGHTS if weights else [])
            folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except errors.LocalEntryNotFoundError as error:
        answer = getattr(error.__cause__, "response", None)
        why = "cannot be reached" if answer is None else f"answers {answer.status_code}"
        raise ConnectionError(
            f"{name}: no such path here, not (whole) in the cache, and the hub {why}; "
            "check the name, or the network (and HF_HUB_OFFLINE)"
        ) from None
    except errors.GatedRepoError:
        raise PermissionError(
            f"{name}: gated; ask for access on the hub, then run: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"{name}: no such path here and no such model on the hub "
            "(for a private one, run: hf auth login)"
        ) from None
    except errors.EntryNotFoundError:
        raise FileNotFoundError(f"{name}: the repository has no such file") from None
    except (OSError, errors.HTTPError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ConnectionError(f"{name}: the hub could not be read: {reason}") from None
    return complete(name, folder)


def complete(name: str, folder: Path) -> Path:
    """The folder, if it is a model's; raises FileNotFoundError that says what is missing."""
    if not any((folder / file).is_file() for file in ("config.json", "spec.json")):
        raise FileNotFoundError(
            f"{name}: this repository has neither config.json nor spec.json; "
            f"for a GGUF file in it, give {name}/NAME.gguf"
        )
    return folder


@contextmanager
def one_line_only() -> Iterator[None]:
    """The library without its log, and without progress bars unless standard error is a terminal.

    What it logs on its way to an error, the error says too.
    """
    utils: Any = importlib.import_module("huggingface_hub.utils")
    importlib.import_module("huggingface_hub.utils.logging")  # which sets a level of its own
    log = logging.getLogger("huggingface_hub")
    level, terminal = log.level, sys.stderr is not None and sys.stderr.isatty()
    quiet = not terminal and not utils.are_progress_bars_disabled()
    log.setLevel(logging.CRITICAL)
    if quiet:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if quiet:
            utils.enable_progress_bars()
