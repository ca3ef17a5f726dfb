"""Progress bars for work that takes more than a breath; silent where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Stages = Callable[[str, float], None]
Counts = Callable[[int], None]


@contextmanager
def stages(title: str) -> Iterator[Stages]:
    """Show how much of a whole is done, and what is being done; the caller names the stage and the share."""
    with tqdm(total=100, desc=title, unit="%", bar_format="{desc}: {percentage:3.0f}%|{bar:24}| {elapsed} {postfix}",
              file=sys.stderr, disable=not sys.stderr.isatty()) as bar:  # fmt: skip

        def show(stage: str, share: float) -> None:
            bar.set_postfix_str(stage, refresh=False)
            bar.update(round(100 * share) - bar.n)

        yield show


@contextmanager
def counts(title: str, unit: str) -> Iterator[Counts]:
    """Show how many of something were done; the caller names how many since its last call."""
    with tqdm(desc=title, unit=f" {unit}", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:

        def show(more: int) -> None:
            bar.update(more)

        yield show
