"""Copies of bundles whose graphs compute nonsense, with right hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def spoiled(bundle: Path, target: Path, part: str, output: str, factor: float) -> Path:
    """Copy a bundle whose graph multiplies an output, in every precision, with right hashes."""
    shutil.copytree(bundle, target)
    manifest = json.loads((target / "manifest.json").read_text())
    for variant in manifest["components"][part]["variants"].values():
        (file,) = variant["files"]
        model = onnx.load(target / file["path"])
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [f"{name}_before" if name == output else name for name in names]
        (port,) = (port for port in model.graph.output if port.name == output)
        dtype = helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, dtype), "factor"))
        model.graph.node.append(helper.make_node("Mul", [f"{output}_before", "factor"], [output]))
        data = model.SerializeToString()
        (target / file["path"]).write_bytes(data)
        file |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target
