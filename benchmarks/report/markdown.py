"""A report as Markdown (GitHub's tables)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from emo_edge.benchmarks.report.caveats import bottom_line, statements
from emo_edge.benchmarks.report.cells import Cell, Table, clean
from emo_edge.benchmarks.report.reader import checked_report
from emo_edge.benchmarks.report.schema import Report
from emo_edge.benchmarks.report.sections import Chapter, chapters, subject

SPECIAL = re.compile(r"[\\`*\[\]<>|&#~$]|(?<!\w)_|_(?!\w)|://|@")


def markdown_from_report(report: Mapping[str, Any]) -> str:
    """Write the content of ``report.json`` as Markdown.

    Raises InputError where it is no report.
    """
    checked = checked_report(report)
    lines = [f"# emo-edge bench: {escaped(checked.bundle.name)}", "", escaped(subject(checked)), ""]
    limits = statements(checked)
    lines += [f"- {'**Warning.** ' if one.warns else ''}{escaped(one.text)}" for one in limits]
    lines += [""] if limits else []
    if line := bottom_line(checked):
        lines += [escaped(line), ""]
    for chapter in chapters(checked):
        lines += _chapter(chapter, checked.command)
    return "\n".join(lines).rstrip("\n") + "\n"


def overview_from_report(report: Report) -> str:
    """Write a report's first tables alone: accuracy, time and size of each row."""
    first = chapters(report)[0]
    return "\n".join(line for table in first.tables for line in _table(table)).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """Write any text so that Markdown shows it as it is, in one line: no link, tag, emphasis or cell begins in it."""
    flat = re.sub(r"\s+", " ", clean(text)).strip()
    return SPECIAL.sub(
        lambda match: "".join("\\" + character if character != "/" else "/" for character in match[0]), flat
    )


def _chapter(chapter: Chapter, command: str) -> Iterator[str]:
    yield from (f"## {chapter.title}", "")
    if chapter.key == "reproduce":
        yield from (*_fenced(command), "")
    if chapter.empty:
        yield from (chapter.empty, "")
    for table in chapter.tables:
        yield from () if table.caption == chapter.title else (f"{escaped(table.caption)}:", "")
        yield from _table(table)
    if chapter.notes:
        yield from (*(f"- {escaped(note)}" for note in chapter.notes), "")


def _table(table: Table) -> Iterator[str]:
    yield _line([escaped(text) for text in table.head])
    numeric = [all(row[column].number for row in table.rows) for column in range(len(table.head))]
    yield _line(["---:" if right else "---" for right in numeric])
    yield from (_line([_cell(cell) for cell in row]) for row in table.rows)
    yield ""
    if table.notes:
        yield from (*(f"- {escaped(note)}" for note in table.notes), "")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return f"*{escaped(cell.text)}*" if cell.missing else escaped(cell.text)


def _fenced(text: str) -> list[str]:
    shown = clean(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", shown, fence]
