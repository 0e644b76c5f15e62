"""Messages between this process and Habitat's: a JSON header and raw arrays, the same for every NumPy.

A frame is MAGIC, VERSION (1 byte), the sizes of header and body (uint32, uint64, little-endian), the header
as UTF-8 JSON, and the arrays one after another. The header's "arrays" lists names, dtypes and shapes.
Nothing is pickled: Habitat's NumPy is another one than ours.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION = b"SFH", 1
LARGEST_HEADER, LARGEST_BODY = 2**28, 2**34
"""bytes; more means that the stream is broken"""
_FRAME = struct.Struct("<3sBIQ")

Message = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


class ProtocolError(RuntimeError):
    """What came is no message of this version."""


def send(
    wire: socket.socket, message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> None:
    """Sends a message whole. Raises TypeError for what cannot be sent, OSError when nobody listens."""
    listed, body = [], []
    for name, array in (arrays or {}).items():
        if array.dtype.kind not in "buif":
            raise TypeError(f"{name} has dtype {array.dtype}: only booleans and numbers are sent")
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        listed.append([name, little.dtype.str, little.shape])
        body.append(little.tobytes())
    header = json.dumps({**message, "arrays": listed}).encode()
    content = b"".join(body)
    wire.sendall(_FRAME.pack(MAGIC, VERSION, len(header), len(content)) + header + content)


def receive(wire: socket.socket) -> tuple[Message, Arrays]:
    """The next message. Raises EOFError where the other side has closed, TimeoutError, ProtocolError."""
    magic, version, header_size, body_size = _FRAME.unpack(_exactly(wire, _FRAME.size))
    if magic != MAGIC or header_size > LARGEST_HEADER or body_size > LARGEST_BODY:
        raise ProtocolError("what came is no message of Habitat's process: something else writes there")
    if version != VERSION:
        raise ProtocolError(
            f"the other side speaks version {version}, this one {VERSION}: both must be of one surefoot"
        )
    header = _exactly(wire, header_size)
    body = _exactly(wire, body_size)
    try:
        message = json.loads(header.decode())
        arrays = _unpack(message.pop("arrays"), body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"a message cannot be read: {type(error).__name__}: {error}") from error
    return message, arrays


def _unpack(listed: list[tuple[str, str, list[int]]], body: bytearray) -> Arrays:
    arrays, start = {}, 0
    for name, kind, shape in listed:
        dtype = np.dtype(kind)
        if dtype.kind not in "buif":
            raise ValueError(f"{name} has dtype {kind}")
        count = math.prod(shape)
        arrays[name] = np.frombuffer(body, dtype, count, start).reshape(shape)
        start += count * dtype.itemsize
    if start != len(body):
        raise ValueError(f"the arrays take {start} bytes, {len(body)} came")
    return arrays


def _exactly(wire: socket.socket, size: int) -> bytearray:
    """So many bytes, writable."""
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = wire.recv_into(view[got:])
        if count == 0:
            raise EOFError("the other side has closed")
        got += count
    return data
