"""Experiments on live traffic, judged at every look: `judge(rows, settings, objective)`."""

from models.experiments.judging import Judged, judge
from models.experiments.rows import Rows
from models.experiments.settings import Settings

__all__ = ["Judged", "Rows", "Settings", "judge"]
