"""A script of llama.cpp, run by its path; run as a module, this file is that child process.

llama.cpp's converter knows the pre-tokenizer of a vocabulary of byte merges by a hash of what it does, and refuses
others. A small vocabulary has no known hash: it gets the name that its family has.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

NAME = "llama_cpp_script"


def main(script: str, pre: str, *runs: str) -> None:
    """Run ``script`` with each of the lists of arguments, which are JSON.

    Vocabularies that it does not know get the pre-tokenizer ``pre``. A script that is no module of functions runs once.
    """
    arguments = [json.loads(run) for run in runs]
    sys.argv = [script, *arguments[0]]
    sys.path.insert(0, str(Path(script).parent))
    spec = importlib.util.spec_from_file_location(NAME, script)
    assert spec is not None and spec.loader is not None
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    base = getattr(module, "ModelBase", None)
    if base is None:
        return
    _name_unknown(sys.modules[base.__module__], pre)
    for one in arguments:
        sys.argv = [script, *one]
        module.main()


def _name_unknown(converter: Any, pre: str) -> None:
    known = converter.TextModel.get_vocab_base_pre

    def named(model: Any, tokenizer: Any) -> str:
        try:
            return str(known(model, tokenizer))
        except NotImplementedError:
            return pre

    converter.TextModel.get_vocab_base_pre = named


if __name__ == "__main__":
    main(*sys.argv[1:])
