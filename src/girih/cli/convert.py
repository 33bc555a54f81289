"""`girih convert`: the same model in another kind of folder."""

import argparse
import time
from pathlib import Path

import girih
from girih.cli.console import Progress, bytes_text, say
from girih.cli.options import add_model

EXAMPLES = """\
The Hugging Face folder is one that `transformers` loads; the girih folder holds spec.json,
canonical tensor names and the tokenizer. Nothing half-written stays when it fails.

examples:
  girih convert sample sample-hf
  girih convert model.gguf folder --dtype bfloat16
  girih convert owner/name folder --to girih
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih convert` takes."""
    add_model(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder to write")
    parser.add_argument(
        "--to", choices=("huggingface", "girih"), default="huggingface", help="which kind"
    )
    parser.add_argument("--dtype", metavar="NAME", help="float32, bfloat16 or float16")


def command(arguments: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    started = time.perf_counter()
    with Progress(f"converting {arguments.model}") as progress:
        girih.convert(
            arguments.model,
            arguments.folder,
            to=arguments.to,
            dtype=arguments.dtype,
            ignore=tuple(arguments.ignore),
            progress=progress,
        )
    files = [file for file in sorted(arguments.folder.rglob("*")) if file.is_file()]
    size = bytes_text(sum(file.stat().st_size for file in files))
    seconds = time.perf_counter() - started
    say(f"{arguments.folder}: {len(files)} files, {size}, written in {seconds:.1f} s")
    return 0
