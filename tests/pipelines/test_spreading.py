"""Files read as Prefect tasks on threads and on a Dask cluster leave the same lake."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from pipelines.ingest import IngestSettings, SourceSettings, ingest
from pipelines.settings import SettingsError
from pipelines.spreading import Runner, over
from tests.pipelines.lakes import content, secretive

AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.slow
def test_tasks_on_threads_and_on_dask_leave_the_lake_that_one_process_leaves(tmp_path: Path) -> None:
    for seed in range(3):
        world = synthetic(SyntheticSettings(prompts=150), WorldSettings(probe_share=0.2, failures=0.05), seed)
        secretive(world, tmp_path / "logs" / str(seed))
    settings = IngestSettings(sources=(SourceSettings(path=str(tmp_path / "logs" / "*" / "*.jsonl")),), chunk_rows=64)
    expected = ingest(settings, tmp_path / "here", AT)
    assert expected.adds_up
    runners: tuple[Runner, ...] = ("threads", "dask")
    with prefect_test_harness(server_startup_timeout=180):
        for runner in runners:
            lake = tmp_path / runner
            assert ingest(settings, lake, AT, spread=over(runner)) == expected
            assert content(lake) == content(tmp_path / "here")
            # What one way has read is known to the other, and staged files are gone by the next writing.
            again = ingest(settings, lake, AT)
            assert (again.read, again.unchanged) == (0, 6)
            assert not (lake / ".staging").exists()
            shutil.rmtree(lake)


def test_reading_here_needs_no_tasks() -> None:
    assert over("here") is None


def test_dask_without_its_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prefect_dask.task_runners", None)
    with pytest.raises(SettingsError, match="prefect-dask is missing; install the extra `dask`"):
        over("dask")
