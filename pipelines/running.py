"""Run a flow in this process: no second of heartbeat at its end, no traceback for what its user can mend."""

import logging
from collections.abc import Mapping
from typing import Any

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from pipelines.flows import FLOWS

_OURS = ("beastmode", "features", "models", "pipelines")


class _NoTraceback(logging.Filter):
    """Leaves the traceback out of records about errors that name their remedy themselves."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None and type(error).__module__.partition(".")[0] in _OURS:
            record.exc_info = None
        return True


class _NoServerTalk(logging.Filter):
    """Leaves out that Prefect starts and stops a server of its own for the run: nobody can do anything about it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "temporary server" not in record.getMessage()


def quietly(name: str, parameters: Mapping[str, Any]) -> Any:
    """Run a flow by its name and return what it returns; its errors are raised here."""
    told = _NoTraceback()
    # Stays until the process ends, which is when the server is stopped.
    logging.getLogger("prefect").addFilter(_NoServerTalk())
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)
    loggers = [logging.getLogger(logger) for logger in ("prefect.flow_runs", "prefect.task_runs")]
    for logger in loggers:
        logger.addFilter(told)
    try:
        # The heartbeat thread of a sync flow is joined in steps of a second; a run in the foreground needs none.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return FLOWS[name](**parameters)
    finally:
        for logger in loggers:
            logger.removeFilter(told)
