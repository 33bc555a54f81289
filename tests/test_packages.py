"""What the wheel and the sdist hold: all that users need, and nothing else."""

import gzip
import re
import tarfile
import tomllib
import zipfile

import pytest

from packages import PAGE, PAGE_AT, ROOT, built, expected, within


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return built("sdist", tmp_path_factory.mktemp("sdist"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    about = {name for name in within(wheel) if name.startswith("girih-")}
    assert within(wheel) - about == expected()
    assert {name.split("/", 1)[1] for name in about} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }


def test_the_wheel_holds_the_tiny_models_whole(wheel):
    names = within(wheel)
    models = {name.split("/")[2] for name in names if re.match("girih/samples/[^/]*/spec", name)}
    assert len(models) == 7
    for model in models:
        files = {name for name in names if name.startswith(f"girih/samples/{model}/")}
        assert files >= {
            f"girih/samples/{model}/{file}"
            for file in ("model.safetensors", "tokenizer.json", "sample.json")
        }
    assert not [name for name in names if "node_modules" in name or name.endswith(".pyc")]


def test_the_wheel_holds_the_page_which_is_small(wheel):
    with zipfile.ZipFile(wheel) as read:
        names = [name for name in read.namelist() if name.startswith(f"{PAGE_AT}/")]
        page = {name.removeprefix(f"{PAGE_AT}/"): read.read(name) for name in names}
    assert set(page) == set(PAGE)
    assert sum(map(len, page.values())) <= 300_000
    scripts = [data for name, data in page.items() if name.endswith(".js")]
    assert sum(len(gzip.compress(data)) for data in scripts) <= 80_000
    assert not [name for name, data in page.items() if re.search(rb"sourceMappingURL", data)]


def test_the_sdist_makes_the_same_wheel_without_the_page_s_sources(sdist, wheel, tmp_path):
    own = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert within(sdist) == own | {f"src/{name}" for name in expected()}
    with tarfile.open(sdist) as read:
        read.extractall(tmp_path / "unpacked", filter="data")
    (tree,) = (tmp_path / "unpacked").iterdir()
    again = built("wheel", tmp_path, tree)
    assert again.read_bytes() == wheel.read_bytes()


def test_dependencies_have_pins_and_a_line_that_says_why():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(name for extra in extras for name in extra)]
    pinned = (ROOT / "constraints.txt").read_text()
    why = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2]
    for wanted in {*asked, "editables"}:
        name = re.match(r"[\w-]+", wanted)[0]
        assert re.search(rf"^{name}==[\w.]+$", pinned, re.MULTILINE), name
        assert re.search(rf"^\|[^|]*\b{name}\b[^|]*\|", why, re.MULTILINE), name
    assert not re.findall(r"^(?!#).*(?:://|@).*$", pinned, re.MULTILINE)
