"""The C++ products of this folder, compiled at first use for this processor and kept in a cache.

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
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("products.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC")
COMPILERS = ("g++", "clang++", "c++")
SECONDS = 120


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
    warnings.warn(f"products of packed blocks run slower: {reason}", RuntimeWarning, stacklevel=2)
    return reason


def loaded(path: Path) -> ctypes.CDLL:
    """The library at a path, its function declared."""
    found = ctypes.CDLL(str(path))
    whole, place = ctypes.c_int64, ctypes.c_void_p
    kinds = [ctypes.c_int, place, whole, whole, place, whole, place, ctypes.c_int, ctypes.c_int]
    found.girih_product.argtypes = kinds
    found.girih_product.restype = None
    return found


def built() -> Path:
    """The path of the library, compiled unless the cache has it."""
    compiler = compiler_here()
    name = f"products-{key(compiler)}.so"
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
    parts = [SOURCE.read_bytes(), " ".join(FLAGS).encode(), compiler.encode()]
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
    handle, part = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(handle)
    try:
        command = [compiler, *FLAGS, str(SOURCE), "-o", part]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line), "no reason")
            raise UnavailableError(f"{compiler} fails: {said.strip()[:200]}")
        os.chmod(part, 0o700)
        os.replace(part, path)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{compiler} takes longer than {SECONDS} seconds") from None
    finally:
        Path(part).unlink(missing_ok=True)
