"""Models of the Hugging Face hub, by id: fetched once, kept in its cache, usable offline."""

import os
import re
from pathlib import Path

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
    from huggingface_hub import errors

    owner, repo, *file = name.split("/")
    try:
        if file:
            return Path(huggingface_hub.hf_hub_download(f"{owner}/{repo}", file[0]))
        patterns = SMALL + (WEIGHTS if weights else [])
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except errors.LocalEntryNotFoundError:
        raise ConnectionError(
            f"{name}: no such path here, not in the cache, and the hub cannot be reached; "
            "check the name, or the network (and HF_HUB_OFFLINE)"
        ) from None
    except errors.GatedRepoError:
        raise PermissionError(
            f"{name}: gated; ask for access on the hub, then run: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(f"{name}: no such path here and no such model on the hub") from None
    except errors.EntryNotFoundError:
        raise FileNotFoundError(f"{name}: the repository has no such file") from None
    except (OSError, errors.HfHubHTTPError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ConnectionError(f"{name}: the hub could not be read: {reason}") from None
