"""`python -m pipelines FLOW --config NAME [--set key=value]`: every flow by its name, and the pages to look at."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from beastmode.errors import BeastmodeError
from pipelines.settings import Settings, SettingsError, load
from pipelines.workspace import Workspace, apply

FLOW_HELP = {
    "ingest": "read the configured logs into the lake",
    "train-selector": "train a challenger from the lake",
    "compare": "judge the challenger against the champion, the best single candidate and the tuned kNN",
    "promote": "put a challenger that was proven better into service",
    "rollback": "put the previous bundle back into service",
    "replay": "write a world's log and feedback, to be ingested like any other",
    "improve": "one turn of the loop: ingest, train, compare, promote what is proven better",
    "probe": "ask chosen requests of chosen candidates, under a budget, and score the answers",
    "advance": "judge the challenger that is tried on traffic; move it to its next stage, or stop it",
    "monitor": "re-check the champion on fresh interactions; where something changed, improve",
    "train-warmer": "play the tournament of warmers on logged demand, tune the cache, serve the winner",
    "warm": "fetch the answers that will be asked for, under a budget, through the router into the cache",
    "train-verifier": "train the semantic cache's verifier under its budget of wrong answers; serve it where not worse",
    "progress": "hold hit rate, latency, selection, saving, errors and uptime to their targets, with trends",
    "costs": "account for what was spent, check the logged costs against ours, forecast, and watch the budgets",
}
OTHER_HELP = {
    "demo": "from nothing to a promoted router, on a synthetic world",
    "check-candidates": "call every candidate of the catalogue and report its health",
    "explain": "say where a text would be sent and why, and which logged requests are near to it",
    "serve": "run the schedules of a configuration until interrupted",
    "ui": "show MLflow's and Prefect's pages on this machine until interrupted",
}
DEFAULTS = {"demo": "demo", "serve": "schedules"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for what the user can mend."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more and options.command != "check-candidates":
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.more = more
    try:
        settings = load(options.config, options.set)
    except SettingsError as error:
        return _refuse(error)
    workspace = Workspace.of(settings.paths.root)
    # Prefect and MLflow read these when they are imported, which the commands below do.
    apply(workspace.environment())
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _refuse(SettingsError(f"paths.root = {str(settings.paths.root)!r}: {error}; name a folder to write to"))
    try:
        return _COMMANDS.get(options.command, _flow)(options, settings)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (BeastmodeError, ValueError, OSError, RuntimeError) as error:
        if not _ours(error):
            raise
        return _refuse(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="FLOW")
    for name, text in {**FLOW_HELP, **OTHER_HELP}.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", default=DEFAULTS.get(name, "default"), metavar="NAME",
                             help="a file of configs/ by its name, or a path that ends in .toml")  # fmt: skip
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                             help="override one setting, as in split.test_share=0.2")  # fmt: skip
        if name in ("compare", "promote"):
            command.add_argument("--run", metavar="ID", help="MLflow run of the challenger; the latest by default")
        if name in ("ingest", "warm"):
            command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        if name == "probe":
            command.add_argument("--plan-only", action="store_true", help="say what would be asked, and ask nothing")
        if name == "promote":
            command.add_argument("--force", action="store_true", help="promote whatever the verdict")
        if name == "rollback":
            command.add_argument("--reason", default="rolled back by hand", help="kept in the pointer")
            parts = ("router", "warmer", "verifier")
            command.add_argument("--of", choices=parts, default="router", help="what is rolled back")
        if name == "costs":
            command.add_argument("--month", metavar="YYYY-MM", help="one month; the whole lake by default")
            command.add_argument("--what-if", metavar="FILE", help="prices to try, in the form of the catalogue")
        if name == "explain":
            command.add_argument("--text", required=True, metavar="TEXT", help="the prompt to explain")
            command.add_argument("--tenant", metavar="T", help="whose logged prompts may be shown; by default those "
                                 "that belong to no tenant")  # fmt: skip
            command.add_argument("--json", action="store_true", help="print JSON for programs")
        if name == "ui":
            command.add_argument("--mlflow-port", type=int, metavar="PORT", help="a free one by default")
            command.add_argument("--prefect-port", type=int, metavar="PORT", help="a free one by default")
    return parser


def _flow(options: argparse.Namespace, settings: Settings) -> int:
    """Run a flow in this process and print what came of it."""
    from pipelines import printing
    from pipelines.running import quietly

    known: dict[str, Any] = {"config": options.config, "overrides": list(options.set)}
    known |= {"run_id": options.run} if hasattr(options, "run") else {}
    more = ("force", "reason", "dry_run", "month", "what_if", "plan_only", "of")
    known |= {name: getattr(options, name) for name in more if hasattr(options, name)}
    result = quietly(options.command, known)
    for line in printing.told(options.command, result, settings):
        print(line)
    return 0


def _demo(options: argparse.Namespace, settings: Settings) -> int:
    from pipelines import printing
    from pipelines.running import quietly

    known = {"config": options.config, "overrides": list(options.set)}
    print("1/2 writing the log of a synthetic application", flush=True)
    for line in printing.told("replay", quietly("replay", known), settings):
        print(f"    {line}")
    print("2/2 ingest, train, compare, promote", flush=True)
    for line in printing.told("improve", quietly("improve", known), settings):
        print(line)
    for line in printing.next_steps(settings, options.config):
        print(line)
    return 0


def _check_candidates(options: argparse.Namespace, settings: Settings) -> int:
    from pipelines.check_candidates import main as check
    from pipelines.logs import catalogue_path

    path = catalogue_path(settings, Workspace.of(settings.paths.root))
    return check([str(path), *options.more])


def _explain(options: argparse.Namespace, settings: Settings) -> int:
    from beastmode.router import Router
    from beastmode.store import Store
    from pipelines.explain import explain
    from pipelines.lake import Lake

    workspace = Workspace.of(settings.paths.root)
    lake = Lake(settings.paths.lake or workspace.lake)
    explained = explain(Router(Store(workspace.store).load_champion()), lake, options.text, options.tenant)
    lines = [json.dumps(explained.to_json(), indent=1, ensure_ascii=False)] if options.json else explained.lines()
    print("\n".join(lines))
    return 0


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    from pipelines.serve import serve

    serve(settings)
    return 0


def _ui(options: argparse.Namespace, settings: Settings) -> int:
    from pipelines.ui import show

    workspace = Workspace.of(settings.paths.root)
    show(workspace, settings.tracking.experiment, options.mlflow_port, options.prefect_port)
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "demo": _demo,
    "check-candidates": _check_candidates,
    "explain": _explain,
    "serve": _serve,
    "ui": _ui,
}


def _ours(error: BaseException) -> bool:
    """Whether an error was raised by this project for its user to read."""
    return type(error).__module__.partition(".")[0] in ("beastmode", "features", "models", "pipelines")


def _refuse(error: BaseException) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    logging.captureWarnings(False)
    sys.exit(main())
