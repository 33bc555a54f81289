"""`girih convert`: the same model in another kind of folder or file."""

import argparse
import time
from pathlib import Path

import girih
from girih.cli.console import Progress, bytes_text, say
from girih.cli.options import add_model

KINDS = ("huggingface", "girih", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "mxfp4")

EXAMPLES = """\
The Hugging Face folder is one that `transformers` loads; the girih folder holds spec.json,
canonical tensor names and the tokenizer. A GGUF file is one that llama.cpp runs. Vectors stay
float32 in it; with q4_0 and q4_k the head (or the embedding that is one) is Q8_0; where rows are
not whole blocks of q4_k a matrix is Q5_0 or float16; with mxfp4 experts are MXFP4, all else is
Q8_0. Nothing half-written stays when it fails, and nothing that is there is overwritten.

examples:
  girih convert sample sample-hf
  girih convert model.gguf folder --dtype bfloat16
  girih convert owner/name folder --to girih
  girih convert owner/name model.gguf
  girih convert folder small.gguf --to q4_k
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih convert` takes."""
    add_model(parser)
    parser.add_argument(
        "target",
        metavar="TARGET",
        type=Path,
        help="what to write: a new folder or FILE.gguf",
    )
    parser.add_argument(
        "--to",
        choices=KINDS,
        help="which kind: a folder for transformers (default) or for girih, or how the matrices of "
        "a GGUF file are stored (default f16)",
    )
    parser.add_argument("--dtype", metavar="NAME", help="of a folder: float32, bfloat16 or float16")


def command(arguments: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    started = time.perf_counter()
    with Progress(f"converting {arguments.model}") as progress:
        remarks = girih.convert(
            arguments.model,
            arguments.target,
            to=arguments.to,
            dtype=arguments.dtype,
            ignore=tuple(arguments.ignore),
            progress=progress,
        )
    target = arguments.target
    found = sorted(target.rglob("*")) if target.is_dir() else [target]
    files = [file for file in found if file.is_file()]
    size = bytes_text(sum(file.stat().st_size for file in files))
    seconds = time.perf_counter() - started
    count = f"{len(files)} files, " if target.is_dir() else ""
    say(f"{target}: {count}{size}, written in {seconds:.1f} s")
    for remark in remarks:
        say(f"  {remark}")
    return 0
