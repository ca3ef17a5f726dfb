"""What an application gets: numpy and the standard library, and the names that the package promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import beastmode

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("pandas", "scipy", "sklearn", "lightgbm", "mlflow", "optuna", "prefect", "torch", "pydantic", "pyarrow",
         "matplotlib", "transformers", "sentence_transformers", "openai", "httpx", "annotated_types")  # fmt: skip

PUBLIC = {
    "BeastmodeError", "Bundle", "BundleError", "Cache", "CacheError", "Candidate", "Certificate", "Decision",
    "EpsilonGreedy", "Explanation", "Greedy", "Journal", "JournalError", "Needs", "Objective", "OperatingPoint",
    "Plan", "Pointer", "Prediction", "Price", "RegistryError", "Request", "Router", "RoutingError", "Softmax",
    "Store", "StoreError", "__version__", "classify", "tip",
}  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    return done.stdout


def test_importing_all_of_serving_brings_nothing_heavy_and_does_nothing() -> None:
    modules = sorted(path.stem for path in (ROOT / "beastmode").glob("*.py") if not path.stem.startswith("__"))
    code = f"""
import sys, json, threading, os
before = set(os.listdir("."))
import importlib
for name in {modules!r}:
    importlib.import_module("beastmode." + name)
importlib.import_module("beastmode.__main__")
print(json.dumps([sorted(sys.modules), threading.active_count(), sorted(set(os.listdir(".")) - before)]))
"""
    loaded, threads, made = json.loads(run(code))
    roots = {name.partition(".")[0] for name in loaded}
    assert roots & set(HEAVY) == set()
    third = {name for name in roots - set(sys.stdlib_module_names) if not name.startswith(("_", "cython"))}
    assert third <= {"numpy", "beastmode", "sitecustomize", "usercustomize"}, third
    assert threads == 1
    assert made == []


def test_serving_a_request_brings_nothing_heavy_either(tmp_path: Path) -> None:
    code = f"""
import sys, json, numpy as np
from beastmode import *
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.scorers import Constant
bundle = Bundle(name="b", candidates=(Candidate("a", price=Price(1, 1)), Candidate("c", price=Price(2, 2))),
                encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))), scorer=Constant(*np.ones((3, 2))),
                policy=EpsilonGreedy(.2), objective=Objective(per_dollar=1.), created="2026", code_version="0")
store = Store({str(tmp_path / "store")!r})
store.add(bundle)
store.promote("b", at="2026", reason="test")
with Router.follow(store.path) as router, Journal({str(tmp_path / "log")!r}) as journal:
    before = set(sys.modules)
    decision = router.route("hi")
    assert set(sys.modules) == before, set(sys.modules) - before
    with journal.attempt(decision):
        pass
    str(router.explain("hi"))
print(json.dumps(sorted(sys.modules)))
"""
    assert {name.partition(".")[0] for name in json.loads(run(code))} & set(HEAVY) == set()


def test_the_public_names_are_these() -> None:
    assert set(beastmode.__all__) == PUBLIC
    assert list(beastmode.__all__) == sorted(beastmode.__all__)
    assert all(hasattr(beastmode, name) for name in beastmode.__all__)


def test_a_router_alone_imports_no_journal_no_store_and_no_cache() -> None:
    code = """
import sys, json, beastmode
named = [name in dir(beastmode) for name in beastmode.__all__]
loaded = [name for name in sys.modules if name.startswith("beastmode.")]
first = beastmode.Journal
print(json.dumps([named, loaded, first is beastmode.journal.Journal, first is vars(beastmode)["Journal"]]))
"""
    named, loaded, same, kept = json.loads(run(code))
    assert all(named)
    later = {"cache", "certificate", "explanation", "follower", "journal", "store", "trial"}
    assert {f"beastmode.{name}" for name in later}.isdisjoint(loaded)
    assert same
    assert kept


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        beastmode.nothing_of_this_name  # noqa: B018
    with pytest.raises(ImportError, match="nothing_of_this_name"):
        exec("from beastmode import nothing_of_this_name")


def test_the_version_is_the_project_s() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert beastmode.__version__ == project["version"]
