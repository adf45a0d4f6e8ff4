"""A report as one HTML page that needs no script and no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emo_edge.benchmarks.report.caveats import bottom_line, statements
from emo_edge.benchmarks.report.cells import Cell, Table, clean, pointer
from emo_edge.benchmarks.report.html.bars import bars_of, enlarged, keys_of, legend, stage_bars
from emo_edge.benchmarks.report.html.elements import Markup, joined, tag
from emo_edge.benchmarks.report.html.scatter import pareto, points_of
from emo_edge.benchmarks.report.html.style import TINT, style
from emo_edge.benchmarks.report.latency_tables import stage_names
from emo_edge.benchmarks.report.reader import checked_report
from emo_edge.benchmarks.report.schema import Report
from emo_edge.benchmarks.report.sections import Chapter, chapters, subject

SHORT = 40
"""Characters of a text that stays in one line."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and no script runs, whatever a report holds."""


def html_from_report(report: Mapping[str, Any]) -> str:
    """Write the content of ``report.json`` as a page.

    Raises InputError where it is no report.
    """
    checked = checked_report(report)
    sections = chapters(checked)
    title = f"emo-edge bench: {checked.bundle.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style())),
    )
    body = tag(
        "body", _header(checked, title, sections), tag("main", *(_chapter(checked, one) for one in sections)), _footer()
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _header(report: Report, title: str, sections: Sequence[Chapter]) -> Markup:
    known = [
        tag(
            "li",
            tag("strong", "Warning. ") if one.warns else "",
            one.text,
            class_="warns" if one.warns else None,
            data_json=one.source,
        )
        for one in statements(report)
    ]
    line = bottom_line(report)
    links = [tag("li", tag("a", one.title, href=f"#{one.key}")) for one in sections]
    return tag(
        "header",
        tag("h1", title),
        tag("p", subject(report), class_="soft"),
        tag("ul", *known, class_="caveats") if known else "",
        tag("p", line, class_="line") if line else "",
        tag("nav", tag("ul", *links), aria_label="Contents"),
    )


def _footer() -> Markup:
    words = (
        *("Every figure is read from ", tag("a", "report.json", href="report.json"), ", which keeps each raw time; "),
        *("the samples one by one are in ", tag("code", "samples/"), ". A figure's position there is the "),
        *(tag("code", "data-json"), " attribute of its cell, a JSON pointer (RFC 6901)."),
    )
    return tag("footer", tag("p", *words, class_="soft"))


def _chapter(report: Report, chapter: Chapter) -> Markup:
    drawings = {"overview": _pareto, "stages": _stages, "labels": _matrices}
    drawn = drawings[chapter.key](report) if chapter.key in drawings else Markup("")
    tables = joined(*(_table(table) for table in chapter.tables))
    parts = [
        tag("h2", chapter.title, id=f"{chapter.key}-title"),
        tag("pre", tag("code", report.command)) if chapter.key == "reproduce" else "",
        tag("p", chapter.empty, class_="soft") if chapter.empty else "",
        *((drawn, tables) if chapter.key == "stages" else (tables, drawn)),
        _notes(chapter.notes),
    ]
    return tag("section", *parts, id=chapter.key, aria_labelledby=f"{chapter.key}-title")


def _table(table: Table) -> Markup:
    numeric = [all(row[column].number for row in table.rows) for column in range(len(table.head))]
    sides = ["number" if right else None for right in numeric]
    head = tag("tr", *(tag("th", text, scope="col", class_=side) for text, side in zip(table.head, sides, strict=True)))
    rows = [
        tag("tr", tag("th", row[0].text, scope="row", data_json=row[0].source or None), *map(_cell, row[1:]))
        for row in table.rows
    ]
    drawn = tag("table", tag("caption", table.caption), tag("thead", head), tag("tbody", *rows))
    return joined(_scrolling(drawn, table.caption), _notes(table.notes))


def _cell(cell: Cell) -> Markup:
    verdict = {"FAILED": "failed", "NO": "failed", "YES": "failed", "passed": "passed"}.get(cell.text)
    kind = "number" if cell.number else "short" if len(cell.text) <= SHORT else None
    classes = [kind, "missing" if cell.missing else None, verdict]
    return tag("td", cell.text, class_=" ".join(filter(None, classes)) or None, data_json=cell.source or None)


def _scrolling(inside: Markup, name: str) -> Markup:
    """Let wide content scroll in its own box, which the keyboard reaches."""
    return tag("div", inside, class_="scroll", role="region", aria_label=name, tabindex="0")


def _notes(notes: Sequence[str]) -> Markup:
    return tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else Markup("")


def _pareto(report: Report) -> Markup:
    points = points_of(report)
    if not points:
        return tag("p", "No chart of accuracy against time: no row has both.", class_="soft")
    caption = (
        "Up and left is better. Vertical lines: 95 % interval of UAR; horizontal lines: from p50 to p90. "
        "The area of a bubble is the size of the row's files, dashed where not known; the square is full precision. "
        "The dashed line joins the rows that no other row beats in both accuracy and time."
    )
    return _figure(Markup(""), pareto(points), "Accuracy against time", caption)


def _stages(report: Report) -> Markup:
    bars = bars_of(report)
    if not bars:
        return Markup("")
    keys, few = keys_of(bars, stage_names(report)), enlarged(bars)
    caption = (
        "Medians of the stages one after the other, all bars on one scale; the vertical mark: median of the total."
    )
    drawn = _figure(legend(keys), stage_bars(bars, keys, "stage-bars"), "Stages", caption)
    if not few:
        return drawn
    caption = "The short bars of the chart above, on a larger scale."
    return joined(drawn, _figure(Markup(""), stage_bars(few, keys, "short-bars"), "Stages, enlarged", caption))


def _figure(before: Markup, drawing: Markup, name: str, caption: str) -> Markup:
    return tag("figure", before, _scrolling(drawing, name), tag("figcaption", caption))


def _matrices(report: Report) -> Markup:
    drawn = [
        _matrix(report, index, row.accuracy.confusion)
        for index, row in enumerate(report.rows)
        if row.accuracy and row.accuracy.confusion
    ]
    if not drawn:
        return tag("p", "No confusion matrix was kept.", class_="soft")
    about = (
        "Samples by true label (rows) and predicted label (columns). The stronger the colour, the larger the fraction "
        "of the true label; correct predictions are framed."
    )
    title = tag("h3", "Confusion matrices")
    return joined(title, tag("p", about, class_="soft"), tag("div", *drawn, class_="matrices"))


def _matrix(report: Report, index: int, counts: Sequence[Sequence[int]]) -> Markup:
    labels, row = [clean(label) for label in report.dataset.labels], report.rows[index]
    name = "full precision" if row.kind == "reference" else row.name
    heads = [tag("th", tag("span", label, class_="up"), scope="col", title=label) for label in labels]
    lines = []
    for true, line in enumerate(counts):
        cells = [
            tag("td", str(value), style=_tint(value / (sum(line) or 1)), class_="right" if true == predicted else None,
                data_json=pointer("rows", index, "accuracy", "confusion", true, predicted))
            for predicted, value in enumerate(line)
        ]  # fmt: skip
        lines.append(tag("tr", tag("th", labels[true], scope="row", title=labels[true]), *cells))
    corner = tag("th", "true ↓ predicted →", class_="corner", scope="col")
    table = tag(
        "table", tag("caption", name), tag("thead", tag("tr", corner, *heads)), tag("tbody", *lines), class_="matrix"
    )
    return _scrolling(table, f"Confusion matrix of {name}")


def _tint(fraction: float) -> str | None:
    return (
        f"background: color-mix(in srgb, var(--accent) {100 * TINT * fraction:.0f}%, var(--paper))"
        if fraction
        else None
    )
