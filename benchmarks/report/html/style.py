"""The look of the report's page: light and dark, wide and narrow, on paper."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "panel": "#f4f6f8",
    "ink": "#16191d",
    "soft": "#545c66",
    "line": "#cfd5dc",
    "link": "#0b57b0",
    "accent": "#1f6fd1",
    "other": "#b0440a",
    "warn": "#fff1d6",
    "warn-line": "#b87503",
    "bad": "#a1160c",
    "good": "#166a32",
}
DARK: Mapping[str, str] = {
    "paper": "#14171b",
    "panel": "#1d2126",
    "ink": "#e7eaee",
    "soft": "#a6aeb8",
    "line": "#3a424c",
    "link": "#8ab8f5",
    "accent": "#6aa7f0",
    "other": "#f0975a",
    "warn": "#372a0e",
    "warn-line": "#d99a2b",
    "bad": "#ff9a90",
    "good": "#7fd49b",
}
HUES = ("#8fbbe8", "#f0b27a", "#93cfa9", "#e8a0b4", "#c9b3ea", "#e6d27a", "#8ed1d6", "#c4c9cf")
"""Of stages, in both lights: each carries the same dark ink."""
HUE_INK = "#16191d"
TINT = 0.45
"""Fraction of the accent in the fullest entry of a confusion matrix."""

_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
.soft, caption, figcaption, .note { color: var(--soft); font-size: .9rem; }
.line { font-size: 1.05rem; max-width: 60rem; padding: .7rem 1rem; background: var(--panel);
  border-left: 4px solid var(--accent); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: 1rem 0 0;
  font-size: .92rem; }
nav a { display: inline-block; padding: .2rem 0; }
.caveats { list-style: none; padding: 0; margin: 1rem 0; max-width: 60rem; }
.caveats li { padding: .5rem .9rem; margin: .35rem 0; border: 1px solid var(--line);
  border-left: 4px solid var(--line); }
.caveats li.warns { background: var(--warn); border-color: var(--warn-line); }
.scroll { overflow-x: auto; margin: .6rem 0; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 .35rem; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { vertical-align: bottom; font-weight: 600; background: var(--panel); max-width: 10.5rem; }
tbody th { font-weight: 600; background: var(--paper); position: sticky; left: 0; min-width: 8.6rem;
  max-width: 16rem; }
td { max-width: 34rem; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
td.short { white-space: nowrap; }
td.missing { color: var(--soft); font-style: italic; }
td.failed { color: var(--bad); font-weight: 700; }
td.passed { color: var(--good); font-weight: 600; }
ul.notes { padding-left: 1.2rem; margin: .3rem 0 1rem; color: var(--soft); font-size: .9rem; max-width: 60rem; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; min-width: 30rem; max-width: 48rem; height: auto; }
figcaption { max-width: 48rem; }
svg text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .tick, svg .title { fill: var(--soft); font-size: 13px; }
svg .label { font-weight: 600; font-size: 13px; paint-order: stroke; stroke: var(--paper); stroke-width: 4px;
  stroke-linejoin: round; }
svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--soft); }
svg .front { fill: none; stroke: var(--soft); stroke-dasharray: 5 4; }
svg .whisker { fill: none; stroke: var(--ink); stroke-width: 1.3; }
svg .leader { stroke: var(--soft); }
svg .bubble { fill: var(--accent); fill-opacity: .22; stroke: var(--accent); stroke-width: 1.5; }
svg .reference { fill: var(--other); stroke: var(--other); }
svg .unknown { fill: none; stroke-dasharray: 3 3; }
svg .heart { fill: var(--ink); }
svg .piece { stroke: var(--paper); stroke-width: 1.5; }
svg .on-piece { fill: HUE_INK; font-size: 13px; }
svg .mark { stroke: var(--ink); stroke-width: 2.5; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; margin: .5rem 0;
  font-size: .9rem; }
.key { display: inline-block; min-width: 1.5em; padding: 0 .3em; text-align: center;
  border: 1px solid var(--soft); color: HUE_INK; }
.matrices { display: flex; flex-wrap: wrap; gap: 1.5rem 2.5rem; }
.matrices > * { max-width: 100%; }
.matrix caption { font-weight: 600; color: var(--ink); }
.matrix thead th { padding: .4rem .15rem; text-align: left; background: none; }
.matrix thead .up { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap;
  max-height: 11rem; overflow: hidden; }
.matrix thead .corner { font-weight: 400; color: var(--soft); font-size: .8rem; }
.matrix tbody th { padding: .3rem .5rem .3rem 0; min-width: 0; white-space: nowrap; max-width: 11rem;
  overflow: hidden; text-overflow: ellipsis; }
.matrix td { min-width: 2.5rem; padding: .3rem; text-align: center; border: 1px solid var(--line); }
.matrix td.right { font-weight: 700; outline: 2px solid var(--ink); outline-offset: -2px; }
pre { background: var(--panel); padding: .8rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .88rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .8rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .9rem 3rem; }
  th, td { padding: .35rem .5rem; }
  tbody th { min-width: 6rem; max-width: 8rem; }
  .matrix td { min-width: 2.1rem; padding: .3rem .1rem; }
}
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  .scroll { overflow: visible; }
  .caveats li { padding: 2pt 6pt; margin: 2pt 0; }
  h2 { margin-top: 1.2rem; }
  table { font-size: 8pt; }
  th, td { padding: 2pt 4pt; }
  tbody th { position: static; }
  h2, h3, caption { break-after: avoid; }
  tr, figure, .scroll, .caveats li { break-inside: avoid; }
  thead { display: table-header-group; }
  figure svg { max-width: 17cm; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def style() -> str:
    """Return the page's style sheet; paper is always light."""
    hues = "".join(f".hue{index} {{ fill: {hue}; background: {hue}; }}\n" for index, hue in enumerate(HUES))
    dark = f"@media screen and (prefers-color-scheme: dark) {{ {_root(DARK)} }}\n"
    return f":root {{ color-scheme: light dark; }}\n{_root(LIGHT)}\n{dark}{_RULES.replace('HUE_INK', HUE_INK)}{hues}"


def _root(colours: Mapping[str, str]) -> str:
    return f":root {{ {' '.join(f'--{name}: {value};' for name, value in colours.items())} }}"
