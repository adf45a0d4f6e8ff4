"""Reading of documents: the commands, modules, options and links that they show, and the parser that judges a command.

Test modules use it with ``from tests.shown_commands import ...``.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
_HOOKS = ROOT / "docs" / "_hooks"
SOURCES = {
    "emo_edge": ROOT / "emo_edge",
    **{f"emo_edge.{name}": ROOT / name for name in ("runtimes", "export", "calibration", "benchmarks")},
}
"""Folder of each installed package."""
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def hook(name: str) -> Any:
    """Load a hook of the documentation's build."""
    spec = importlib.util.spec_from_file_location(f"docs_hook_{name}", _HOOKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_CLI = hook("cli_reference")
main: click.Group = _CLI.main


def leaf_commands() -> dict[str, click.Command]:
    """Return everything the program can do by its name: "infer", "engines build"."""
    return dict(_CLI.leaf_commands(main))


def shell_lines(text: str) -> Iterator[str]:
    """Yield the commands of a text's sh blocks, continued lines joined."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


def inline_code(text: str) -> list[str]:
    """List the code spans of a text, those of its blocks left out."""
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))


def program_arguments(words: Sequence[str], image: str | None = None) -> list[str] | None:
    """Return the arguments of ``emo-edge`` in a command, or in a container of ``image``; None where it runs neither."""
    if image in words and "run" in words[: words.index(image)]:
        return list(words[words.index(image) + 1 :])
    # Elsewhere, as behind sudo, the bare word is the name of the user or of the service.
    firsts = [0, *(place + 1 for place, word in enumerate(words) if word in ("&&", ";", "|"))]
    starts = [place for place in firsts if words[place : place + 1] == ["emo-edge"]]
    starts += [place for place, word in enumerate(words) if word.endswith("/bin/emo-edge")]
    if not starts:
        return None
    rest = list(words[starts[0] + 1 :])
    ends = [place for place, word in enumerate(rest) if word in ("&&", ";", "|", ">", ">>", "2>")]
    return rest[: ends[0]] if ends else rest


def commands_in(text: str, image: str | None = None) -> list[tuple[str, ...]]:
    """Collect the arguments of every ``emo-edge`` command in the sh blocks of a text, each once."""
    lines = [line for line in shell_lines(text) if "emo-edge" in line]
    found = (program_arguments(shlex.split(line, comments=True), image) for line in lines)
    return sorted({tuple(arguments) for arguments in found if arguments})


def parse(arguments: Sequence[str]) -> None:
    """Parse arguments as the program would, short of looking for the files they name; raise click's UsageError."""
    command: click.Command | None = main
    context, rest = click.Context(main), list(arguments)
    if rest in (["--help"], ["-h"], ["--version"]):
        return
    while isinstance(command, click.Group):
        name = rest.pop(0) if rest else ""
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no such command {name!r}")
        command, context = found, click.Context(found, parent=context)
    assert command is not None
    hidden = _CLI.behind(command, rest[0]) if rest else None
    if hidden is not None:
        command, context, rest = hidden, click.Context(hidden, parent=context), rest[1:]
    if rest == ["--help"]:
        return
    values, left, _ = command.make_parser(context).parse_args(rest)
    assert left == [], f"nothing takes {left}"
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if parameter.required and parameter.value_is_missing(value):
            raise click.MissingParameter(param=parameter, ctx=context)
        if isinstance(value, str) and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)


def options_of(command: click.Command) -> set[str]:
    """Collect every spelling of every option of a command."""
    return {spelling for parameter in command.params for spelling in (*parameter.opts, *parameter.secondary_opts)}


def module_file(module: str) -> Path | None:
    """Return the source file, or the package folder, of a dotted module path; None where there is none.

    A folder of the checkout installs under another name, so that no import is needed to find it.
    """
    parts = module.split(".")
    for depth in (2, 1):
        folder = SOURCES.get(".".join(parts[:depth]))
        if folder is not None:
            path = folder.joinpath(*parts[depth:])
            if path.with_suffix(".py").is_file():
                return path.with_suffix(".py")
            return path if (path / "__init__.py").is_file() else None
    return None


def modules_run_in(text: str) -> set[str]:
    """Collect the modules that ``python -m emo_edge...`` runs anywhere in a text."""
    return set(re.findall(r"python3? -m (emo_edge(?:\.\w+)+)", text))


def links_in(text: str) -> list[tuple[str, str]]:
    """List the relative links of a Markdown text as (path, anchor); web addresses and code are left out."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:href|src)="([^"]+)"', prose)
    found = [target.partition("#") for target in targets if not re.match(r"[a-z]+:", target)]
    return [(path, anchor) for path, _, anchor in found]


def anchors_of(text: str) -> set[str]:
    """Collect the anchors of a Markdown text's headings, as Python-Markdown's toc extension makes them."""
    found: set[str] = set(re.findall(r'(?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", text), re.MULTILINE):
        explicit = re.search(r"\{ *#([\w.-]+)[^}]*\}$", heading)
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode("ascii")
        words = re.sub(r"[^\w\s-]", "", ascii_only).strip().lower()
        slug = explicit[1] if explicit else re.sub(r"[-\s]+", "-", words)
        count = 1
        while slug in found and not explicit:
            slug, count = f"{slug.removesuffix(f'_{count - 1}')}_{count}", count + 1
        found.add(slug)
    return found
