"""What a person at a terminal sees of an export: a line for every step, and a bar below them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from emo_edge.export.bundle_export import Reports


@contextmanager
def shown_reports() -> Iterator[Reports]:
    """Print steps to stderr, and a bar of the pictures compared where stderr is a terminal."""
    with tqdm(desc="compare", unit="picture", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield Reports(lambda line: tqdm.write(line, file=sys.stderr), progress)
