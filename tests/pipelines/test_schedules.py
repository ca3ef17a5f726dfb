"""What is scheduled: the shipped schedules and the work pool's deployments name flows that exist, at the same times."""

import inspect
from pathlib import Path

import pytest
import yaml

from pipelines.flows import FLOWS
from pipelines.serve import _deployment, names
from pipelines.settings import Schedule, load

ROOT = Path(__file__).resolve().parents[2]
BY_CALL = {f"pipelines/flows.py:{flow.fn.__name__}": name for name, flow in FLOWS.items()}


def deployments() -> dict[str, dict]:
    """The deployments of prefect.yaml by the name of their flow."""
    known = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return {BY_CALL[each["entrypoint"]]: each for each in known["deployments"]}


def test_the_flows_of_the_cache_are_scheduled_and_wait_for_a_cache_to_be_configured():
    scheduled = {each.flow: each for each in load("schedules").schedules}
    for flow in ("train-warmer", "warm"):
        assert not scheduled[flow].active
        assert [each["active"] for each in deployments()[flow]["schedules"]] == [False]
    assert load("default").warming.cache is None


def test_a_work_pool_runs_what_serve_runs_when_serve_runs_it():
    there = deployments()
    for each in load("schedules").schedules:
        (schedule,) = there[each.flow]["schedules"]
        assert schedule.get("cron") == each.cron
        assert schedule.get("interval") == each.interval_seconds
        assert schedule.get("active", True) == each.active


@pytest.mark.parametrize("flow", sorted(deployments()))
def test_a_deployment_passes_parameters_that_its_flow_takes_and_runs_alone(flow):
    deployment = deployments()[flow]
    assert set(deployment["parameters"]) <= set(inspect.signature(FLOWS[flow].fn).parameters)
    assert deployment["concurrency_limit"] == 1
    load(deployment["parameters"]["config"])


@pytest.mark.parametrize("rhythm", [{"cron": "0 4 * * 0"}, {"interval_seconds": 60.0}])
@pytest.mark.parametrize("active", [True, False])
def test_a_schedule_that_is_not_active_is_registered_and_not_started(rhythm, active):
    made = _deployment(Schedule(flow="warm", active=active, **rhythm), "warm default")
    (schedule,) = made.schedules
    assert schedule.active is active
    assert made.parameters == {"config": "default", "overrides": []}


def test_two_schedules_of_a_flow_are_two_deployments_and_a_path_is_no_name():
    given = [("improve", "mine"), ("improve", "mine"), ("ingest", "/etc/routers/mine.toml"), ("improve", "other")]
    schedules = [Schedule(flow=flow, config=config, interval_seconds=60) for flow, config in given]
    assert names(schedules) == ("improve mine", "improve mine 2", "ingest mine", "improve other")
