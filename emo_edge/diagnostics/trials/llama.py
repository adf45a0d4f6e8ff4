"""Trial of llama.cpp with a bundle's language model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.runtimes.llama_cpp import library
from emo_edge.utils.cache import cache_directory

QUANTIZED = ("q4_k_m", "q8_0", "q4_0")
"""Language variants that llama.cpp computes with its AMX kernels, the smallest first."""
NO_MODEL = "none tried; emo-edge demo makes one, --bundle names one"


def try_llama(bundle: str | None) -> dict[str, str]:
    """Load llama.cpp, then compute a prompt with ``bundle``, or with the demo's if there is one."""
    native = library.library()
    import llama_cpp

    information = native.llama_print_system_info().decode("utf-8", "replace")
    facts = {
        "version": str(llama_cpp.__version__),
        "gpu": "built in" if native.llama_supports_gpu_offload() else "not built in",
        "built with": " ".join(re.findall(r"(\w+) = 1\b", information)),
    }
    amx = "AMX_INT8 = 1" in information
    facts |= {"amx": "built in, not proved"} if amx else {}
    folder = Path(bundle) if bundle else demo_bundle_folder()
    if folder is None:
        return facts | {"model": NO_MODEL}
    # Kept by the parent if the next step ends this process.
    print(json.dumps(facts | {"model": f"{folder.name} was being computed"}, allow_nan=False), flush=True)
    return facts | compute_prompt(folder, amx)


def demo_bundle_folder() -> Path | None:
    """Return the newest bundle that ``emo-edge demo`` left in the user's cache."""
    try:
        folders = [path.parent for path in (cache_directory() / "bundles").glob("*/manifest.json")]
        return max(folders, key=lambda path: path.stat().st_mtime, default=None)
    except (OSError, InputError):
        return None


def compute_prompt(folder: Path, amx: bool) -> dict[str, str]:
    """Compute a prompt with the bundle's smallest quantized model; with AMX built in, only if its probe passes."""
    # Here because pydantic would add 0.2 s to every child.
    from emo_edge.bundle.reader import Bundle
    from emo_edge.errors import BundleError
    from emo_edge.runtimes.mtmd.proof import prove_bundle

    try:
        bundle = Bundle.open(folder)
    except BundleError as error:
        return {"model": f"not tried: {' '.join(str(error).split())}"}
    language = bundle.manifest.components.language
    variants = language.variants if language else {}
    name = next((name for name in (*QUANTIZED, *variants) if name in variants), None)
    if name is None:
        return {"model": f"not tried: {folder.name} has no language model"}
    path = bundle.files(variants[name])[0]
    try:
        prove_bundle(bundle, name)
    except BundleError as error:
        return {"model": f"not tried: {' '.join(str(error).split())}"}
    if amx and not library.fast_path_is_safe(path):
        return {"model": f"{name} of {folder.name} needs the way around AMX", "amx": "avoided: its probe failed"}
    library.main(path)
    facts = {"model": f"{name} of {folder.name} computes a prompt"}
    return facts | {"amx": "works"} if amx and name in QUANTIZED else facts
