import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import FLOW_HELP, OTHER_HELP, main

ROOT = Path(__file__).resolve().parents[2]


def test_a_misspelt_key_is_an_error_of_two_lines_at_most(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[splt]\ntest_share = 0.2\n")
    assert main(["ingest", "--config", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"error: {file}: splt: unknown key 'splt'; did you mean 'split'?\n"


def test_an_unknown_configuration_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["improve", "--config", "smal"]) == 2
    assert "did you mean 'small'" in capsys.readouterr().err


def test_a_workspace_that_cannot_be_made_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    environment = dict(os.environ)
    try:
        assert main(["ingest", "--config", "small", "--set", f"paths.root={file}/workspace"]) == 2
    finally:
        os.environ.clear()
        os.environ.update(environment)
    told = capsys.readouterr().err
    assert f"error: paths.root = '{file}/workspace'" in told
    assert "name a folder to write to" in told


def test_an_unknown_flow_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["improv"])
    assert ended.value.code == 2
    assert "improve" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in (*FLOW_HELP, *OTHER_HELP))


def test_every_flow_has_its_help() -> None:
    from pipelines.flows import FLOWS

    assert set(FLOWS) == set(FLOW_HELP)


def run(command: str, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *command.split(), "--set", f"paths.root={root}", *more],
        cwd=root.parent,
        env={**environment, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "true"},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.slow
def test_demo_goes_from_nothing_to_a_routed_request(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    done = run("demo --config small", root)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(Promote|Hold|Reject): the challenger is", done.stdout, re.MULTILINE)
    assert "A request, routed" in done.stdout
    assert "python -m pipelines ui --config small" in done.stdout
    (report,) = (root / "reports").glob("*.html")
    assert str(report) in done.stdout
    # What is printed as the way to load the router is what works, without anything that trains.
    lines = re.findall(r"^    (from beastmode import Router|router = .*|decision = [^#]*)", done.stdout, re.MULTILINE)
    assert len(lines) == 3
    heavy = {"pandas", "mlflow", "lightgbm", "torch"}
    check = f"import sys\nassert not {heavy} & set(sys.modules)\nprint(decision.candidate)"
    loaded = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, check])],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.strip() in done.stdout
    # The first thing that served has nothing before it: an error to read, and no traceback.
    compared = run("compare --config small", root)
    assert compared.returncode == 0, compared.stderr
    assert "report: " in compared.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rollback --config small", "there is no previous bundle to roll back to"),
        ("rollback --of warmer --config small", "warmers: there is no previous bundle to roll back to"),
        ("rollback --of verifier --config small", "verifiers: there is no previous bundle to roll back to"),
        ("train-selector --config small", "holds no interaction"),
        ("ingest --config small", "litellm.jsonl"),
        ("promote --config small --run nowhere", "no run 'nowhere'"),
    ],
)
def test_what_the_user_can_mend_is_told_without_a_traceback(command: str, message: str, tmp_path: Path) -> None:
    done = run(command, tmp_path / "workspace")
    assert done.returncode == 2, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in told
    assert "Traceback" not in done.stderr
    # Waiting mends neither a path nor an empty lake; only the tracking server is asked again.
    assert ("Retry" in done.stderr) == command.startswith("promote")
