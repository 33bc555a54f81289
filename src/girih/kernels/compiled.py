"""The C++ of the folder `cpp`, compiled at first use for this processor and kept in a cache.

The cache is `$GIRIH_CACHE`, else `girih` in `$XDG_CACHE_HOME` or `~/.cache`. A library there is
loaded only if it and its folder belong to this user and nobody else can write them.
"""

import atexit
import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).with_name("cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fPIC", "-fvisibility=hidden")
COMPILERS = ("g++", "clang++", "c++")
SECONDS = 120


WHOLE, PLACE, NUMBER = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int


class UnavailableError(Exception):
    """Why there is no compiled library, in words."""


@cache
def library() -> ctypes.CDLL | str:
    """The loaded library, or the reason why there is none (told once as a warning)."""
    try:
        return loaded(built())
    except UnavailableError as error:
        reason = str(error)
    except OSError as error:
        reason = f"the compiled library cannot be used: {error}"
    warnings.warn(f"packed blocks run slower: {reason}", RuntimeWarning, stacklevel=2)
    return reason


class MatrixC(ctypes.Structure):
    """A matrix: where it is, its format, its outputs."""

    _fields_ = [("data", PLACE), ("format", WHOLE), ("outputs", WHOLE)]


class PreparationC(ctypes.Structure):
    """What is done to rows before their product."""

    _fields_ = [
        ("kind", WHOLE),
        ("gated", WHOLE),
        ("weight", PLACE),
        ("bias", PLACE),
        *((name, ctypes.c_float) for name in ("eps", "limit", "slope")),
    ]


class HeadsC(ctypes.Structure):
    """How rows fall into heads."""

    _fields_ = [
        *((name, WHOLE) for name in ("query", "kept", "width", "rotary", "step", "apart")),
        ("query_norm", PLACE),
        ("key_norm", PLACE),
        ("eps", ctypes.c_float),
    ]


class RoomC(ctypes.Structure):
    """The state of a layer: keys and values, pages, their dtype, their strides and sizes."""

    _fields_ = [
        *((name, PLACE) for name in ("keys", "values", "table")),
        *((name, WHOLE) for name in ("number", "page_stride", "head_stride")),
        *((name, WHOLE) for name in ("kept", "page", "pages")),
    ]


class FlashC(ctypes.Structure):
    """Queries of one sequence, its keys and values in pairs, and which of them are seen."""

    _fields_ = [
        *((name, PLACE) for name in "qkv"),
        ("out", PLACE),
        ("scale", ctypes.c_float),
        *((n, WHOLE) for n in ("heads", "group", "width", "tokens", "stripes", "seen", "more")),
    ]


SIGNATURES = {
    "girih_lanes": (),
    "girih_products": (PLACE, WHOLE, PLACE, PLACE, *[WHOLE] * 3, *[PLACE] * 3, NUMBER),
    "girih_append": (*[PLACE] * 3, WHOLE, PLACE, WHOLE, *[PLACE] * 3, NUMBER),
    "girih_attend": (PLACE, PLACE, PLACE, WHOLE, PLACE, ctypes.c_float, PLACE, NUMBER),
    "girih_latent": (*[PLACE] * 4, *[WHOLE] * 3, *(PLACE, WHOLE) * 2, *[PLACE] * 3),
    "girih_per_head": (PLACE, *[WHOLE] * 6, *(PLACE, WHOLE, WHOLE) * 2, NUMBER),
    "girih_flash": (PLACE, NUMBER),
    "girih_round": (PLACE, PLACE, *[WHOLE] * 3, PLACE, NUMBER),
    "girih_widen": (PLACE, WHOLE, WHOLE, *[PLACE] * 3, WHOLE, WHOLE, NUMBER),
    "girih_conv": (PLACE, PLACE, PLACE, WHOLE, PLACE, NUMBER),
    "girih_selective": (*[PLACE] * 4, NUMBER),
    "girih_ssd_step": (*[PLACE] * 4, NUMBER),
    "girih_ssd_chunks": (*[PLACE] * 4, NUMBER),
    "girih_delta": (*[PLACE] * 4, NUMBER),
    "girih_route": (PLACE, PLACE, PLACE, WHOLE, WHOLE, *[PLACE] * 4, NUMBER),
    "girih_experts": (PLACE, PLACE, *[WHOLE] * 3, *[PLACE] * 4, NUMBER),
}
"""The functions of the library and what they take."""


def loaded(path: Path) -> ctypes.CDLL:
    """The library at a path, its functions declared."""
    found = ctypes.CDLL(str(path))
    for name, kinds in SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes = kinds
        function.restype = NUMBER if name == "girih_lanes" else None
    return found


def built() -> Path:
    """The path of the library, compiled unless the cache has it."""
    compiler = compiler_here()
    name = f"kernels-{key(compiler)}.so"
    folder = cache_folder()
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="girih-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        warnings.warn(
            f"the cache {cache_path()} is not a folder that this user alone can write, so products "
            "are compiled at every start; GIRIH_CACHE names another",
            RuntimeWarning,
            stacklevel=2,
        )
    path = folder / name
    if not (path.is_file() and ours(path)):
        compile_to(path, compiler)
    return path


def compiler_here() -> str:
    """The C++ compiler: `$CXX`, else the first known one that is installed."""
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else COMPILERS:
        if name and (found := shutil.which(name)):
            return found
    raise UnavailableError(f"no C++ compiler is here ({wanted or ', '.join(COMPILERS)})")


def key(compiler: str) -> str:
    """What the library depends on: source, flags, compiler and processor."""
    parts = [path.read_bytes() for path in sorted(SOURCES.iterdir())]
    parts += [" ".join(FLAGS).encode(), compiler.encode()]
    parts.append(str(os.stat(compiler).st_mtime_ns).encode())
    parts.append(processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def processor() -> str:
    """The processor's kind and instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def cache_path() -> Path:
    """Where compiled libraries are kept."""
    if "GIRIH_CACHE" in os.environ:
        return Path(os.environ["GIRIH_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "girih"


def cache_folder() -> Path | None:
    """The cache, made if it is not there; None if it cannot be written or is not only ours."""
    folder = cache_path()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if ours(folder) and os.access(folder, os.W_OK | os.X_OK) else None


def ours(path: Path) -> bool:
    """Whether a path belongs to this user and nobody else may write it."""
    found = path.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid == os.getuid() and not found.st_mode & others


def compile_to(path: Path, compiler: str) -> None:
    """Compile the library; it appears at its path when it is whole."""
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        folder = Path(name)
        sources = sorted(SOURCES.glob("*.cpp"))
        objects = [str(folder / f"{source.stem}.o") for source in sources]
        commands = [
            [compiler, *FLAGS, "-c", str(source), "-o", made]
            for source, made in zip(sources, objects, strict=True)
        ]
        with ThreadPoolExecutor(len(commands)) as pool:
            list(pool.map(ran, commands))
        part = folder / path.name
        ran([compiler, *FLAGS, "-shared", *objects, "-o", str(part)])
        part.chmod(0o700)
        part.replace(path)


def ran(command: list[str]) -> None:
    """Run one command of the compiler; raises UnavailableError with its first error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} takes longer than {SECONDS} seconds") from None
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), "no reason")
        raise UnavailableError(f"{command[0]} fails: {said.strip()[:200]}")
