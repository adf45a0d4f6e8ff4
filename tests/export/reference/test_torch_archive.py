"""torch's archives: damage, compression and claims are named, and nothing damaged is imported in silence."""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import Tensor

from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tensor_files import tensors_of_file

WEIGHT = torch.arange(1000, dtype=torch.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": WEIGHT}, path)
    return path


def read(path: Path) -> Tensor:
    with ExitStack() as stack:
        return tensors_of_file(path, stack)["weight"].read().clone()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    return str(caught.value)


def test_a_whole_file_is_read(file: Path) -> None:
    assert torch.equal(read(file), WEIGHT)


def test_a_changed_weight_is_not_imported_in_silence(file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = content.index(WEIGHT.numpy().tobytes()[400:440])
    content[place] ^= 1
    file.write_bytes(content)
    message = refused(file)
    assert "data/0' is not what its checksum says" in message and message.endswith("Fetch it again")


def test_a_compressed_file_is_called_compressed(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    message = refused(file)
    assert "is compressed (deflate)" in message and "torch.save" in message and "truncated" not in message


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": WEIGHT}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read(path), WEIGHT)


def test_a_tensor_that_claims_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.zeros(1).expand(1 << 40)}, path)
    assert "claims [1099511627776] values and stores fewer" in refused(path)


def test_a_name_of_no_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"\x1b[31mred": WEIGHT}, path)
    assert r"'\x1b[31mred' is no name of a tensor" in refused(path)
