"""The documents hold together: links, navigation, commands, options, modules and paths are those of this program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

import emo_edge
from tests.shown_commands import (
    ROOT,
    SOURCES,
    anchors_of,
    commands_in,
    hook,
    inline_code,
    leaf_commands,
    links_in,
    module_file,
    modules_run_in,
    options_of,
    parse,
)

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PRINTED = {DOCS / "results" / "bench" / "report.md"}
"""Written by a command as a whole."""
HOOKS = (hook("cli_reference"), hook("schema_reference"))
OF_OTHERS = {"--help", "--volume"}
"""click's own, and docker's."""
FOLDERS = "emo_edge|export|runtimes|calibration|benchmarks|tests|docs"


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def rendered(path: Path) -> str:
    """Return a page's Markdown as the site's build has it: what is included and generated is in it."""
    text = re.sub(r'^ *--8<-- "([^"]+)"$', lambda found: (ROOT / found[1]).read_text("utf-8"), source(path), flags=re.M)
    for one in HOOKS:
        text = one.on_page_markdown(text)
    return text


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def nav() -> list[str]:
    return re.findall(r": (\S+\.md)$", source(ROOT / "mkdocs.yml").partition("\nnav:\n")[2], re.MULTILINE)


def broken_links(document: Path) -> Iterator[str]:
    for path, anchor in links_in(rendered(document)):
        target = (document.parent / path).resolve() if path else document
        if not target.is_file():
            yield f"{path}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors_of(rendered(target)):
            yield f"{path}#{anchor}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    assert list(broken_links(document)) == []


def test_links_of_the_site_stay_inside_it() -> None:
    for page in PAGES:
        for path, _ in links_in(source(page)):
            assert (page.parent / path).resolve().is_relative_to(DOCS), f"{name(page)}: {path}"


def test_every_page_is_in_the_navigation_once() -> None:
    pages = [page.relative_to(DOCS).as_posix() for page in PAGES]
    assert sorted(nav()) == sorted(pages)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_are_understood(document: Path) -> None:
    for arguments in commands_in(source(document), image="emo-edge:jetpack6"):
        try:
            parse(arguments)
        except click.UsageError as error:
            pytest.fail(f"emo-edge {' '.join(arguments)}: {error.format_message()}")


@cache
def options_anywhere() -> set[str]:
    """Collect every option that a command or a script of this repository declares."""
    files = [path for folder in SOURCES.values() for path in folder.rglob("*.py")]
    files += (ROOT / "tests").rglob("record_*.py")
    texts = (path.read_text(encoding="utf-8") for path in files)
    return {option for text in texts for option in re.findall(r"[\"/](--[a-z][a-z0-9-]*)(?=[\"/])", text)} | OF_OTHERS


def unknown_options(text: str) -> Iterator[str]:
    """Yield the options of code spans that their command, or no command at all, has."""
    commands = leaf_commands()
    for span in inline_code(text):
        options = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span)
        if span.startswith("emo-edge "):
            words = span.split()[1:]
            named = [commands[one] for one in (" ".join(words[:2]), words[0]) if one in commands][:1]
            known = options_of(named[0]) | {"--help"} if named else options_anywhere()
        elif span.startswith(("--", "python -m emo_edge.", "python tests/")):
            known = options_anywhere()
        else:
            continue
        yield from (f"{option} in `{span}`" for option in options if option not in known)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_options_exist(document: Path) -> None:
    assert list(unknown_options(source(document))) == []


def test_a_wrong_option_would_not_pass() -> None:
    text = (
        "`--devise`, `emo-edge infer BUNDLE --fold 2`, `--device`, `emo-edge bench compare A B --json`, `pip --wrong`"
    )
    assert [found.partition(" ")[0] for found in unknown_options(text)] == ["--devise", "--fold"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_modules_and_files_exist(document: Path) -> None:
    text = source(document)
    missing = {module for module in modules_run_in(text) if module_file(module) is None}
    paths = {
        span for span in inline_code(text) if re.fullmatch(rf"(?:{FOLDERS})/[\w./-]*", span) and "NAME" not in span
    }
    paths |= set(re.findall(r"python (tests/[\w./-]+\.py)", text))
    free = set(re.findall(r"`([^`]+)`", text.partition("\nKept free")[2].partition("\n")[0]))
    missing |= {path for path in paths - free if not (ROOT / path).exists()}
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_lists_and_tables_follow_a_blank_line(document: Path) -> None:
    """The site's Markdown makes one paragraph of them otherwise."""
    before, fenced = "", False
    for number, line in enumerate(source(document).splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        begins = re.match(r"- |\d+\. ", line) and not re.match(r"- |\d+\. | {2}", before)
        begins = begins or (line.startswith("|") and not before.startswith(("|", "<!--")))
        assert fenced or not begins or not before.strip(), f"line {number}: {line}"
        before = line


def test_the_python_reference_covers_the_public_names() -> None:
    page = source(DOCS / "reference" / "python.md")
    for directive in re.findall(r"^::: (\S+)$", page, re.MULTILINE):
        module = directive if directive == "emo_edge.errors" else directive.rpartition(".")[0]
        installed = module if module.startswith("emo_edge") else f"emo_edge.{module}"
        file = module_file(installed)
        assert file is not None, directive
        defined = rf"^(?:class|def) {directive.rpartition('.')[2]}\b"
        assert installed == directive or re.search(defined, file.read_text("utf-8"), re.MULTILINE), directive
    public = {one for one in getattr(emo_edge, "__all__", ()) if not one.startswith("_") and not one.endswith("Error")}
    assert {one for one in public if f"`emo_edge.{one}`" not in page} == set()


def test_the_generated_pages_are_complete() -> None:
    page = rendered(DOCS / "reference" / "cli.md")
    for command, found in leaf_commands().items():
        section = page.partition(f"## emo-edge {command} {{")[2].partition("\n## ")[0]
        declared = {option for one in found.params if isinstance(one, click.Option) for option in one.opts}
        assert {option for option in declared if option not in section} == set(), command
    for schema, key in (("manifest", "default_profile"), ("result", "readings[].stage_ms")):
        assert f"| `{key}` |" in rendered(DOCS / "reference" / f"{schema}-schema.md")
    assert not any("<!-- generated" in rendered(path) for path in PAGES)


def test_each_engine_has_run_or_has_not() -> None:
    table = source(DOCS / "results" / "support.md").split("<!-- engines -->\n")[1].split("<!-- /engines -->")[0]
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in table.splitlines()]
    assert {len(row) for row in rows} == {6}
    for row in rows[2:]:
        for cell in row[1:]:
            assert re.fullmatch(r"runs in CI|built in CI|not yet run|ran on .+ on \d{4}-\d\d-\d\d", cell), cell


def test_what_has_not_run_stands_on_one_page() -> None:
    for page in PAGES:
        if page.parent.name in ("results", "concepts", "reference") and page.name != "support.md":
            assert "not yet run" not in source(page).lower(), name(page)


def test_the_benchmarks_figures_are_those_of_the_kept_report() -> None:
    def cells(line: str) -> list[str]:
        return [cell.strip(" *") for cell in line.strip("| \n").split("|")]

    report = source(DOCS / "results" / "bench" / "report.md")
    whole = [cells(line) for line in report.splitlines() if line.startswith("|")]
    head, kept = whole[0], {row[0]: row for row in whole[2:6]}
    table = source(DOCS / "results" / "cpu.md").split("<!-- bench -->\n")[1].split("<!-- /bench -->")[0].splitlines()
    shown = [cells(line) for line in table]
    assert {row[0] for row in shown[2:]} == kept.keys()
    for row in shown[2:]:
        for column, cell in zip(shown[0], row, strict=True):
            assert kept[row[0]][head.index(column)] == cell, (row[0], column)


def test_the_layout_page_lists_the_layers_of_the_architecture_test() -> None:
    source = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    (layers,) = [
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LAYERS"
    ]
    page = (ROOT / "docs" / "develop" / "layout.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| \d+ \| ([^|]+) \|", page, re.MULTILINE)
    folders = [[path.replace("/", ".") for path in re.findall(r"`([^`]+)`", cell)] for cell in cells[1:]]
    packages = [tuple(path if path.startswith("emo_edge") else f"emo_edge.{path}" for path in row) for row in folders]
    assert packages == [line for line in layers if line != ("emo_edge",)]
