"""A day in the life, lived by the flows: what is better promoted, what is worse stopped, an outage rolled back."""

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.store import Store
from pipelines.context import Context
from pipelines.day_report import WHAT
from pipelines.settings import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, database: Path) -> tuple[list[Any], list[Any], Path, Context]:
    spec = importlib.util.spec_from_file_location("day_example", ROOT / "examples" / "day.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules["day_example"] = module
    spec.loader.exec_module(module)
    root = tmp_path_factory.mktemp("day") / "workspace"
    root.mkdir()
    shutil.copy(database, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        context = Context.open(load("day", [f"paths.root={root}"]))
        events, served, path = module.day(context)
    return events, served, path, context


@pytest.mark.slow
def test_the_better_one_is_promoted_the_worse_one_stopped_and_the_outage_rolled_back(lived) -> None:
    events, _, _, context = lived
    said = [event.said for event in events]

    def first(text: str) -> int:
        found = [place for place, line in enumerate(said) if text in line]
        assert found, f"{text!r} never happened:\n" + "\n".join(said)
        return found[0]

    stages = ["in the shadow", "serves 20%", "serves 50%", "is the champion now", "calls every cheap one right",
              "is stopped", "stops answering", "rolled back from", "is rolled back: guard"]  # fmt: skip
    places = [first(text) for text in stages]
    assert places == sorted(places)
    pointer = Store(context.workspace.store).champion()
    assert pointer is not None
    assert pointer.bundle.endswith("best-single")
    assert pointer.previous is not None
    assert pointer.previous.breach is not None
    assert pointer.reason.startswith("guard: errors")


@pytest.mark.slow
def test_the_promoted_router_answered_better_and_the_bad_one_served_few(lived) -> None:
    events, served, _, _ = lived
    promoted = next(event.after for event in events if "champion now" in event.said)
    outage = next(event.after for event in events if event.what == "an outage")
    quality = np.array([one.quality for one in served])
    arm = np.array([one.arm for one in served])
    order = np.arange(len(served))
    assert quality[(order >= promoted) & (order < outage) & (arm == "champion")].mean() > quality[:300].mean()
    assert (arm[(order >= promoted) & (order < outage)] == "challenger").mean() < 0.5
    failed = np.array([one.failed for one in served])
    assert not failed[:outage].any()
    assert not failed[-300:].all(), "the router went on calling what does not answer"


@pytest.mark.slow
def test_the_day_has_a_report_that_needs_nothing_else(lived) -> None:
    events, _, path, context = lived
    page = path.read_text()
    assert page.index("A day in the life") < page.index("What happened")
    assert all(WHAT.get(event.what, event.what) in page for event in events)
    assert "1 router was promoted, 1 router was stopped, 1 router was rolled back" in page
    assert "router A" in page
    assert page.count("data:image/png") == 2
    assert "http" not in page.split("<body>")[1].replace("http-equiv", "")
    assert str(context.workspace.root) not in page or "paths" in page
    assert len(page) < 300_000
