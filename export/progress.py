"""What a person at a terminal sees of an export: a line for every step, and a bar below them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from emo_edge.export.reports import Reports


@contextmanager
def shown_reports() -> Iterator[Reports]:
    """Print steps to stderr, and a bar of the one under way where stderr is a terminal."""
    with tqdm(disable=None, leave=False, unit_scale=True) as bar:
        under_way = ""

        def progress(step: str, done: int, total: int) -> None:
            nonlocal under_way
            if step != under_way:
                under_way = step
                bar.reset(total)
                bar.set_description(step)
            bar.update(done - bar.n)

        yield Reports(lambda line: tqdm.write(line, file=sys.stderr), progress)
