"""Optuna's study for a training: journal storage in the workspace, so that it resumes and takes parallel workers."""

from datetime import datetime

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pipelines.context import Context


def study(context: Context, as_of: datetime) -> optuna.Study:
    """Return the study of a configuration as of a moment; one that was cut short goes on where it stopped."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = context.workspace.studies
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=f"{context.settings.name} {as_of.isoformat()}",
        sampler=optuna.samplers.TPESampler(seed=context.settings.seed),
        direction="maximize",
        load_if_exists=True,
    )
