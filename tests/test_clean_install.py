"""An application's side of the bargain: a process with numpy and the wheel alone loads the promoted router."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from beastmode.objective import Objective
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from models import exporting, recipes

ROOT = Path(__file__).resolve().parent.parent

APPLICATION = """
import json, sys
from beastmode import Journal, Router

router = Router.load(sys.argv[1])
journal = Journal(sys.argv[2])
decision = router.route("Prove that the square root of two is irrational.")
with journal.attempt(decision) as attempt:
    attempt.tokens(input=12, output=140)
heavy = {"pandas", "scipy", "sklearn", "lightgbm", "mlflow", "prefect", "torch", "pydantic"} & set(sys.modules)
print(json.dumps({"candidate": decision.candidate, "propensity": decision.propensity, "heavy": sorted(heavy)}))
"""


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    """A trained router, written as a bundle."""
    world = synthetic(SyntheticSettings(prompts=400), WorldSettings(probe_share=1.0), 2)
    trained = recipes.train(
        world.truth, recipes.Settings.small(), 0, candidates=world.candidates, objective=Objective(per_dollar=10.0)
    )
    folder = tmp_path_factory.mktemp("bundles") / "first"
    exporting.bundle(trained, name="first", created="2026-01-01T00:00:00+00:00", training={}, evaluation={}).write(
        folder
    )
    return folder


@pytest.mark.slow
def test_numpy_and_the_wheel_are_all_that_serving_needs(tmp_path, bundle_folder):
    run = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], **run)
    python = tmp_path / "venv" / "bin" / "python"
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT)], **run)
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", str(next(wheels.glob("*.whl")))],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    done = subprocess.run(
        [str(python), "-c", APPLICATION, str(bundle_folder), str(tmp_path / "journal")],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["heavy"] == []
    assert 0 < said["propensity"] <= 1
    lines = [json.loads(line) for path in (tmp_path / "journal").iterdir() for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["begin", "end"]
    assert lines[0]["plan"] == said["candidate"]
    assert lines[1]["status"] == "success"
