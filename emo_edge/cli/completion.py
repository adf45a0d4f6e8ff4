"""Shell completion of bundles, and of the names that a bundle's manifest holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from emo_edge.assets.packaged import packaged_names
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.model_shape import SHAPES
from emo_edge.bundle.reader import read_manifest
from emo_edge.cli.packaged_bundle import cached_folders
from emo_edge.errors import EmoEdgeError
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.text import NAME_BREAKS

EXPORTED = ("exact", "balanced", "small")
"""Profiles of a bundle that is exported with its defaults."""
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_bundle(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the packaged models and the folders that begin so; the shell lists folders where no name does."""
    return _names_or_folders(packaged_names(), incomplete)


def complete_subject(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the known shapes and the folders that begin so."""
    return _names_or_folders(SHAPES, incomplete)


def complete_profile(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the profiles of the bundle that was typed before."""
    manifest = _manifest(context)
    return _items(manifest.profiles if manifest else EXPORTED, incomplete)


def complete_labels(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the label sets of the bundle that was typed before."""
    manifest = _manifest(context)
    return _items(manifest.label_sets if manifest else LABEL_SETS, incomplete)


def _names_or_folders(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    items = _items(names, incomplete)
    if not items:
        return [CompletionItem(incomplete, type="dir")]
    folders = sorted(path.name for path in Path().glob(f"{_plain(incomplete)}*/"))
    # click answers in lines of UTF-8.
    return [*items, *_items((name for name in folders if not NAME_BREAKS.search(name)), incomplete)]


def _plain(text: str) -> str:
    return "" if any(character in text for character in "*?[/") else text


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _manifest(context: click.Context) -> Manifest | None:
    """Read the manifest of the bundle among the words so far; None where there is none."""
    words = [context.params.get("bundle") or context.params.get("subject"), *context.args]
    for word in filter(None, words):
        folders = [Path(word), *cached_folders(str(word))]
        for folder in folders:
            try:
                return read_manifest(folder)
            except EmoEdgeError:
                continue
    return None
