"""Header of a bundle's language model, checked before llama.cpp opens it."""

from __future__ import annotations

from emo_edge.bundle.checks.any_gguf import check_language_gguf
from emo_edge.bundle.checks.gguf import check_gguf
from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError


def language_header(bundle: Bundle, variant: str) -> GgufHeader:
    """Return the header of a bundle's language model; raise BundleError for one that llama.cpp is not given.

    Beside an mmproj any architecture will do; else it is one that emo-edge exported. The manifest's sizes are
    those of the file.
    """
    language = bundle.manifest.components.language
    if language is None:
        raise BundleError(f"{bundle.directory}: the bundle has no language model")
    path = bundle.files(language.variants[variant])[0]
    own = bundle.manifest.components.mmproj is None
    header = check_gguf(path) if own else check_language_gguf(path)
    shape, name = header.shape(), header.architecture
    problems = {
        f"context_size {language.context_size} is more than {name}.context_length {shape.context}": (
            language.context_size > shape.context
        ),
        f"embedding_size {language.embedding_size} is not {name}.embedding_length {shape.width}": (
            own and language.embedding_size != shape.width
        ),
    }
    present = "; ".join(problem for problem, there in problems.items() if there)
    if present:
        raise BundleError(f"{path}: components.language of the manifest: {present}; export the bundle again")
    return header
