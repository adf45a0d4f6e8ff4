"""The page's files: nothing from elsewhere, nothing that the content security policy forbids, no markup from data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "emo_edge" / "serving" / "page"
MODULES = sorted(PAGE.glob("*.js"))
INDEX = (PAGE / "index.html").read_text(encoding="utf-8")
STYLE = (PAGE / "style.css").read_text(encoding="utf-8")
LEAST_TEXT, LEAST_GRAPHIC = 4.5, 3.0
"""Contrasts of WCAG 2.2, level AA."""
TEXTS = {
    "--ink": ("--paper", "--card", "--sunken", "--accent-soft"),
    "--ink-soft": ("--paper", "--card", "--sunken", "--accent-soft"),
    "--accent-text": ("--card", "--accent-soft", "--paper"),
    "--accent-ink": ("--accent", "--accent-hover"),
    "--note-ink": ("--note",),
    "--bad-ink": ("--bad", "--card"),
}
GRAPHICS = {
    **{f"--series-{number}": ("--card", "--sunken") for number in range(1, 9)},
    "--line-strong": ("--paper", "--card"),
    "--accent": ("--paper", "--card"),
    **{name: ("--sunken",) for name in ("--good", "--wait", "--off")},
}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_import_each_other_alone(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    names = re.findall(r'(?:from|import)\s+"([^"]+)"', text) + re.findall(r'import\("([^"]+)"\)', text)
    assert all((PAGE / name).is_file() for name in names)
    assert not re.search(r"https?://(?!127\.0\.0\.1)(?!\$)\w", text)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_data_never_becomes_markup_or_code(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert word not in text
    assert "localStorage" not in text


def test_the_document_has_no_inline_script_or_style() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=", INDEX)
    assert re.findall(r"<script[^>]*>", INDEX) == ['<script type="module" src="page/main.js">']
    addresses = re.findall(r'(?:src|href)="([^"#][^"]*)"', INDEX)
    assert [address for address in addresses if not address.startswith("data:")] == ["page/style.css", "page/main.js"]


def test_the_style_loads_nothing() -> None:
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_every_file_is_used() -> None:
    used = {"index.html", *re.findall(r"page/([\w.]+)", INDEX)}
    for module in MODULES:
        used |= set(re.findall(r'"\./([\w.]+)"', module.read_text(encoding="utf-8")))
    assert {path.name for path in PAGE.iterdir() if path.is_file()} == used


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_that_people_need(scheme: str) -> None:
    colours = palette(scheme)
    low = [
        f"{front} on {back}: {contrast(colours[front], colours[back]):.2f}"
        for pairs, least in ((TEXTS, LEAST_TEXT), (GRAPHICS, LEAST_GRAPHIC))
        for front, backs in pairs.items()
        for back in backs
        if contrast(colours[front], colours[back]) < least
    ]
    assert low == []


def palette(scheme: str) -> dict[str, str]:
    """Return the colours of the style by name; those of the dark scheme stand in the second block."""
    blocks = [
        dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{6});", block)) for block in re.findall(r":root {([^}]*)}", STYLE)
    ]
    assert len(blocks) == 2
    assert blocks[0].keys() == blocks[1].keys()
    return blocks[scheme == "dark"]


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminances as WCAG 2.2 defines it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
