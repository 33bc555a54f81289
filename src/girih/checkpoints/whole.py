"""What is written whole or not at all."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(target: Path, *, single: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes the target at the end; on any error nothing stays.

    Inside a target that is there (it may be a mount or where the user stands), else beside it.
    With `single` it is a file that the caller makes.
    """
    there = target.is_dir()
    missing = [folder for folder in target.parents if not folder.exists()]
    part = (target if there else target.parent) / f".{uuid.uuid4().hex[:8]}.part"
    moved: list[Path] = []
    try:
        (part.parent if single else part).mkdir(parents=True, exist_ok=single)
        yield part
        for file in part.iterdir() if there else ():
            moved.append(file.rename(target / file.name))
        if there:
            part.rmdir()
        else:
            part.rename(target)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        for file in moved:
            file.unlink(missing_ok=True)
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError) and error.errno and ours(error, part):
            text = f"{error.strerror}; nothing was kept"
            raise OSError(error.errno, text, str(target)) from None
        raise


def ours(error: OSError, part: Path) -> bool:
    """Whether an error is about what is written (which may have no name) and not what is read."""
    return error.filename is None or os.fsdecode(error.filename).startswith(str(part.parent))
