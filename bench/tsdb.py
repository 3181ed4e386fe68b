"""Blocks of Prometheus's own storage, written straight to disk: for a benchmark of hundreds of millions of samples.

promtool makes blocks from text at some 200,000 samples a second, of one core, and its text would be tens of gigabytes.
Here a chunk is compressed once and stored for each series that has its values, as the server would have stored it.

Format: tsdb/docs/format of Prometheus v2 (index version 2, chunks version 1, XOR encoding). Little is supported:
gauges, one regular interval, no tombstones.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SAMPLES: Final = 120  # of a chunk, as the server cuts them
_SEGMENT: Final = 512 * 1024 * 1024
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples as they lie on disk, length and checksum included.

    Attributes:
        first, last: times in milliseconds.
        samples: how many.
        stored: the bytes.
    """

    first: int
    last: int
    samples: int
    stored: bytes


def chunks(values: Sequence[float], start: int, step: int) -> list[Chunk]:
    """A regular series as chunks; times in milliseconds."""
    return [
        _chunk(values[at : at + SAMPLES], start + at * step, step) for at in range(0, len(values), SAMPLES)
    ]


def write_block(folder: Path, series: Iterable[tuple[Labels, Sequence[Chunk]]]) -> Path:
    """One block of these series, each with at least one chunk, all within the block's time; returns its folder."""
    ordered = sorted(((sorted(labels.items()), found) for labels, found in series), key=lambda each: each[0])
    first = min(found[0].first for _, found in ordered)
    last = max(found[-1].last for _, found in ordered)
    name = _ulid(first)
    place = folder / name
    (place / "chunks").mkdir(parents=True)
    references = _write_chunks(place / "chunks", [found for _, found in ordered])
    (place / "index").write_bytes(_index(ordered, references))
    stats = {
        "numSamples": sum(each.samples for _, found in ordered for each in found),
        "numSeries": len(ordered),
        "numChunks": sum(len(found) for _, found in ordered),
    }
    meta = {
        "ulid": name,
        "minTime": first,
        "maxTime": last + 1,
        "stats": stats,
        "compaction": {"level": 1, "sources": [name]},
        "version": 1,
    }
    (place / "meta.json").write_text(json.dumps(meta))
    return place


def _chunk(values: Sequence[float], start: int, step: int) -> Chunk:
    """Facebook's Gorilla as Prometheus writes it: the first sample whole, then what changes, bit by bit."""
    raw = [number for (number,) in struct.iter_unpack(">Q", struct.pack(f">{len(values)}d", *values))]
    bits, length = raw[0], 64
    leading = trailing = -1
    for at in range(1, len(raw)):
        if at == 1:
            interval = _uvarint(step)
            bits, length = (
                bits << 8 * len(interval) | int.from_bytes(interval, "big"),
                length + 8 * len(interval),
            )
        else:
            bits, length = bits << 1, length + 1  # the same interval again
        change = raw[at] ^ raw[at - 1]
        if not change:
            bits, length = bits << 1, length + 1
            continue
        zeros, after = min(31, 64 - change.bit_length()), (change & -change).bit_length() - 1
        if leading >= 0 and zeros >= leading and after >= trailing:
            width = 64 - leading - trailing
            bits, length = bits << 2 + width | 0b10 << width | change >> trailing, length + 2 + width
            continue
        leading, trailing = zeros, after
        width = 64 - zeros - after
        head = 0b11 << 11 | leading << 6 | width & 63
        bits, length = bits << 13 + width | head << width | change >> after, length + 13 + width
    stream = (bits << -length % 8).to_bytes((length + 7) // 8, "big")
    data = b"\x01" + struct.pack(">H", len(values)) + _varint(start) + stream
    stored = _uvarint(len(data) - 1) + data + _checksum(data)
    return Chunk(start, start + (len(values) - 1) * step, len(values), stored)


def _write_chunks(folder: Path, series: Sequence[Sequence[Chunk]]) -> list[list[int]]:
    """Segments of chunks; returns where each lies."""
    head = struct.pack(">IB3x", 0x85BD40DD, 1)
    references = []
    number, at = 0, len(head)
    file = (folder / "000001").open("wb")
    file.write(head)
    try:
        for found in series:
            own = []
            for chunk in found:
                if at + len(chunk.stored) > _SEGMENT:
                    file.close()
                    number, at = number + 1, len(head)
                    file = (folder / f"{number + 1:06}").open("wb")
                    file.write(head)
                own.append(number << 32 | at)
                file.write(chunk.stored)
                at += len(chunk.stored)
            references.append(own)
    finally:
        file.close()
    return references


def _index(
    series: Sequence[tuple[list[tuple[str, str]], Sequence[Chunk]]], references: Sequence[Sequence[int]]
) -> bytes:
    symbols = sorted({text for labels, _ in series for pair in labels for text in pair} | {""})
    number = {text: index for index, text in enumerate(symbols)}
    out = bytearray(struct.pack(">IB", 0xBAAAD700, 2))
    start_of_symbols = len(out)
    out += _section(struct.pack(">I", len(symbols)) + b"".join(map(_text, symbols)))
    out += bytes(-len(out) % 16)
    start_of_series = len(out)
    postings: dict[tuple[str, str], list[int]] = {("", ""): []}
    for (labels, found), own in zip(series, references, strict=True):
        out += bytes(-len(out) % 16)
        for pair in (("", ""), *labels):
            postings.setdefault(pair, []).append(len(out) // 16)
        entry = _entry([(number[key], number[value]) for key, value in labels], found, own)
        out += _uvarint(len(entry)) + entry + _checksum(entry)
    start_of_postings = len(out) + -len(out) % 4
    offsets = bytearray(struct.pack(">I", len(postings)))
    for (key, value), own in sorted(postings.items()):
        out += bytes(-len(out) % 4)
        offsets += b"\x02" + _text(key) + _text(value) + _uvarint(len(out))
        out += _section(struct.pack(f">{len(own) + 1}I", len(own), *own))
    start_of_label_table = len(out)  # of an index of labels that readers since v2.14 don't need
    out += _section(struct.pack(">I", 0))
    start_of_offsets = len(out)
    out += _section(bytes(offsets))
    contents = struct.pack(
        ">6Q",
        start_of_symbols,
        start_of_series,
        start_of_postings,
        start_of_label_table,
        start_of_postings,
        start_of_offsets,
    )
    return bytes(out) + contents + _checksum(contents)


def _entry(labels: Sequence[tuple[int, int]], found: Sequence[Chunk], own: Sequence[int]) -> bytes:
    parts = [
        _uvarint(len(labels)),
        *(_uvarint(each) for pair in labels for each in pair),
        _uvarint(len(found)),
    ]
    before: tuple[int, int] | None = None  # time at which the last chunk ended, and where it lies
    for chunk, reference in zip(found, own, strict=True):
        length = _uvarint(chunk.last - chunk.first)
        if before is None:
            parts += (_varint(chunk.first), length, _uvarint(reference))
        else:
            parts += (_uvarint(chunk.first - before[0]), length, _varint(reference - before[1]))
        before = chunk.last, reference
    return b"".join(parts)


def _section(contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + contents + _checksum(contents)


def _text(value: str) -> bytes:
    raw = value.encode()
    return _uvarint(len(raw)) + raw


def _uvarint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _varint(value: int) -> bytes:
    return _uvarint(value << 1 if value >= 0 else (-value << 1) - 1)


def _ulid(milliseconds: int) -> str:
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> 5 * at & 31] for at in reversed(range(26)))


def _castagnoli() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _castagnoli()


def _checksum(data: bytes) -> bytes:
    """CRC-32C, which Python's own libraries don't have."""
    value, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 255]
    return struct.pack(">I", value ^ 0xFFFFFFFF)
