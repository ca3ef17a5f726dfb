"""The house rules, checked by machine: imports point one way, rooms stay clean, the wheel holds serving alone."""

import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("beastmode", "features", "models", "pipelines", "benchmarks")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_import_contracts_hold():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_from_this_checkout(room):
    """A dependency that ships a top-level `models`, say, would shadow ours; the day it does has a name."""
    assert Path(importlib.import_module(room).__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[len(ROOT.parts)] in ("features", "models")], ids=str)
def test_learning_code_opens_no_path_and_reads_no_clock(path):
    source = path.read_text()
    for banned in (r"\bopen\(", r"\.now\(", r"time\.time\(", r"Path\(", r"\.to_parquet\(", r"\.read_text\("):
        assert not re.search(banned, source), f"{path.name} uses {banned}; that belongs to pipelines"


def test_serving_has_numpy_as_its_only_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [re.split(r"[<>=]", d)[0] for d in project["dependencies"]] == ["numpy"]


def test_the_bounds_that_prefect_needs_stand_in_the_extra_with_a_date():
    text = (ROOT / "pyproject.toml").read_text()
    train = tomllib.loads(text)["project"]["optional-dependencies"]["train"]
    for name in ("fastapi", "sqlalchemy"):
        assert any(re.match(rf"{name}.*<", requirement) for requirement in train)
        assert re.search(rf"# \d{{4}}-\d\d-\d\d: .*\n\s+\"{name}", text), f"{name}'s bound needs its dated reason"


def test_the_demo_needs_no_torch():
    train = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    assert not any(re.match(r"torch|sentence-transformers|transformers", requirement) for requirement in train)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_serving_package_alone(wheel):
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"beastmode"}


def test_no_committed_text_names_another_place():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml"} and path.exists() and path != Path(__file__):
            assert not re.search(r"(?<![\w.])/(root|home)/\w", path.read_text()), f"{name} names a place of one machine"


def test_modules_stay_small_enough_to_read():
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 300}
    assert not long, f"is a noun hiding in one of these? {long}"
