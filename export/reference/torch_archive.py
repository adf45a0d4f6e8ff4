"""The zip archive that ``torch.save`` writes: its members' checksums and sizes, compared before torch maps it.

torch itself compares no checksum of a file that it maps, so that a damaged weight would be imported in silence.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from emo_edge.errors import CheckpointError

MOST_MEMBERS = 100_000
"""One a tensor; a 7B model of 32-bit shards has 400."""
LARGEST_PICKLE = 64 << 20
"""Bytes of the table of names and shapes, which is read as a whole."""
BLOCK = 1 << 20
PACKED = {zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}
AGAIN = "Fetch it again"


def check_archive(path: Path) -> None:
    """Read every member of a torch file once and compare it with its checksum.

    Raises CheckpointError for a compressed, encrypted or doubled member, for one that the file does not hold, and for
    a checksum that differs. Files that torch wrote without checksums (``set_crc32_options(False)``) have none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_table(path, members)
            without = all(member.CRC == 0 for member in members)
            for member in members:
                _check_member(path, archive, member, compared=not without)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a torch file (truncated or corrupt): {str(error)[:200]}. {AGAIN}"
        ) from error


def _check_table(path: Path, members: list[zipfile.ZipInfo]) -> None:
    size, names = path.stat().st_size, {member.filename for member in members}
    packed = next((member for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    pickled = next((member for member in members if member.filename.endswith(".pkl")), None)
    if len(names) < len(members) or len(members) > MOST_MEMBERS:
        raise CheckpointError(f"{path}: two members have one name, or there are too many ({len(members)}). {AGAIN}")
    if packed is not None:
        kind = PACKED.get(packed.compress_type, str(packed.compress_type))
        raise CheckpointError(
            f"{path}: {ascii(packed.filename)[:60]} is compressed ({kind}); torch stores its members as they are. "
            "Unpack it and save it with torch.save, or ask its author for safetensors"
        )
    if sum(member.file_size for member in members) > size:
        raise CheckpointError(f"{path}: its members claim more bytes than the file has (truncated or corrupt). {AGAIN}")
    if pickled is not None and pickled.file_size > LARGEST_PICKLE:
        raise CheckpointError(f"{path}: a table of names of {pickled.file_size >> 20} MiB; give weights alone")


def _check_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, compared: bool) -> None:
    expected, member.CRC = member.CRC, None  # type: ignore[assignment] # compared here, with a message of its own
    checksum = read = 0
    with archive.open(member) as stream:
        while block := stream.read(BLOCK):
            checksum, read = zlib.crc32(block, checksum), read + len(block)
    if read != member.file_size or (compared and checksum != expected):
        raise CheckpointError(
            f"{path}: {ascii(member.filename)[:60]} is not what its checksum says: damaged on its way. {AGAIN}"
        )
