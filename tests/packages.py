"""The wheel and the sdist as hatchling builds them, and what is expected in them."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "girih"
DATA = ("py.typed", "kernels/cpp/*", "samples/*", "samples/*/*", "explore/_ui/*")
"""What goes into the package beside Python's files."""
PAGE_AT = "girih/explore/_ui"
"""Where the built page lies in the wheel."""
PAGE = ("index.html", "app.js", "app.css", "favicon.svg", "reference.json.gz")


def built(kind: str, place: Path, root: Path = ROOT) -> Path:
    """The wheel or the sdist of a source tree, made in a folder."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(place)]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (found,) = place.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


def within(archive: Path) -> set[str]:
    """The names of the files in a wheel, or in an sdist below its folder."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as read:
        return {member.name.partition("/")[2] for member in read if member.isfile()}


def expected() -> set[str]:
    """The files that users get, as paths from the folder that holds the package."""
    files = [*PACKAGE.rglob("*.py"), *(file for part in DATA for file in PACKAGE.glob(part))]
    return {file.relative_to(PACKAGE.parent).as_posix() for file in files if file.is_file()}
