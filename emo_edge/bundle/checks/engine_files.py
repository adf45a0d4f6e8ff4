"""All files of a bundle that an engine loads, checked as before each loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from emo_edge.bundle.checks.declared_ports import check_declared_ports
from emo_edge.bundle.checks.language import language_header
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError


def check_engine_files(bundle: Bundle) -> None:
    """Raise BundleError that names each graph and language model of a verified bundle that no engine should load."""
    problems = []
    for check in _checks(bundle):
        try:
            check()
        except BundleError as error:
            problems.append(str(error))
    if problems:
        raise BundleError("\n".join(problems))


def _checks(bundle: Bundle) -> Iterator[Callable[[], object]]:
    for component in bundle.manifest.components.graphs().values():
        for variant in component.variants.values():
            yield partial(check_declared_ports, bundle.files(variant)[0], component)
    language = bundle.manifest.components.language
    for name in language.variants if language else ():
        yield partial(language_header, bundle, name)
