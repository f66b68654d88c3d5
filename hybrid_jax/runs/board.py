"""TensorBoard's event file, as bytes: a list of records, each an `Event` of TensorFlow's event.proto.

The package tensorboardX writes the same, but imports torch where that is installed: 180 MiB in every training process.
"""

import socket
import struct
import time
from pathlib import Path

_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C (Castagnoli), its bits reversed."""


class Board:
    """Writes the numbers of steps, without a thread. Whoever reads while a run goes on sees what was flushed.

    A resumed run logs some steps a second time, with the same numbers; TensorBoard draws them once.
    """

    def __init__(self, folder: Path):
        folder.mkdir(exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}").open("wb")
        self.flush, self.close = self._file.flush, self._file.close
        self._write(_bytes(3, b"brain.Event:2"))  # Event.file_version, which comes first
        self.flush()

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Adds the numbers of a step, which are finite."""
        values = (_bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", number) for tag, number in numbers.items())
        summary = b"".join(_bytes(1, value) for value in values)  # Summary.value: its tag, and simple_value
        self._write(b"\x10" + _varint(step) + _bytes(5, summary))  # Event.step and Event.summary

    def _write(self, event: bytes) -> None:
        """Adds a record: an event's length and the event, each with its checksum."""
        event = b"\x09" + struct.pack("<d", time.time()) + event  # Event.wall_time
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))


def _bytes(field: int, content: bytes) -> bytes:
    """A field of a protocol buffer that is a text or a message."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A number of a protocol buffer: 7 bits a byte, the lowest first, and a high bit where more follow."""
    low = []
    while number > 0x7F:
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*low, number])


def _table() -> list[int]:
    """What CRC-32C adds for each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0) for crc in table]
    return table


_TABLE = _table()


def _checksum(content: bytes) -> bytes:
    """The masked CRC-32C of a record."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF)
