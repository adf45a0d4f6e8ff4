"""Tables of micro-expressions: a row a clip, with its onset, apex and offset, in the three classes of MEGC 2019.

See et al., "MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge" (FG 2019): measured by leaving one person
out, with UF1 and UAR over all clips together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.datasets.affective.clips import THREE, ClipDataset, LabelledClip, LeftOut, collected, moments
from emo_edge.benchmarks.datasets.affective.sheets import home_of, sheet_rows, table_in
from emo_edge.errors import InputError


@dataclass(frozen=True)
class MicroExpressions:
    """The layout of one data set."""

    name: str
    table: str
    """Beginning of the table's name."""
    sheet: str | None
    columns: tuple[str, str, str, str, str, str]
    """Names above subject, clip, onset, apex, offset and emotion."""
    classes: Mapping[str, str | None]
    """Class of each emotion; None for one that no class holds."""
    pictures: tuple[str, ...]
    """Folders below which those of the people may lie."""
    people: str
    """Pattern of a person's folder."""
    person: Callable[[str], str]
    """Returns the folder of a subject's cell."""
    frames_per_second: float
    layout: str

    def opened(self, root: Path) -> ClipDataset:
        """Read the table of a copy and find its clips.

        Raises InputError for another layout, a missing column, an emotion that the data set has not, and frames that
        are no numbers. Clips of no class, out of order, or without files are left out and counted.
        """
        table = table_in(root, self.table, self.layout)
        home, left_out = home_of(root, self.pictures, self.people, self.layout), LeftOut()
        clips = self._clips(table, home, left_out)
        return collected(self.name, THREE, clips, left_out, frames_per_second=self.frames_per_second)

    def _clips(self, table: Path, home: Path, left_out: LeftOut) -> Iterator[LabelledClip]:
        for number, (subject, name, onset, apex, offset, emotion) in sheet_rows(table, self.columns, self.sheet):
            person = self.person(subject)
            try:
                label, frames = self._class(emotion), moments(onset, apex, offset)
            except ValueError as error:
                raise InputError(f"{table}, row {number}: {error}") from error
            key = f"{person}/{name}"
            if label is None:
                left_out.add(f"with {emotion.casefold()}, none of the three classes", key)
            else:
                yield LabelledClip(key, person, label, home / person / name, *frames)

    def _class(self, emotion: str) -> str | None:
        name = emotion.casefold()
        if name not in self.classes:
            raise ValueError(f"unknown emotion {emotion!r}; known are {', '.join(self.classes)}")
        return self.classes[name]
