"""Kinds of command line arguments: what a command cannot use is refused before it measures for an hour."""

import argparse
import math
from pathlib import Path


def count(text: str) -> int:
    """Return a whole number of at least one.

    >>> count("12")
    12
    """
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return number


def positive(text: str) -> float:
    """Return a finite number above zero.

    >>> positive(".1")
    0.1
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def share(text: str) -> float:
    """Return a number above zero and at most one."""
    number = positive(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is more than 1: write a tenth as .1")
    return number


def output(text: str) -> Path:
    """Return where a file can be written."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: name a file in a folder that exists")
    return path
