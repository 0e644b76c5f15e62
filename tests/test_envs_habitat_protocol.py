"""Messages to Habitat's process arrive as they were sent, and what is none is said to be none."""

import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from envs.habitat_protocol import MAGIC, VERSION, ProtocolError, receive, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    here.settimeout(60)
    there.settimeout(60)
    with here, there:
        yield here, there


def frame(header: bytes, body: bytes = b"", version: int = VERSION) -> bytes:
    return struct.pack("<3sBIQ", MAGIC, version, len(header), len(body)) + header + body


def test_what_is_sent_arrives_bit_for_bit(pair: Pair) -> None:
    arrays = {
        "rgb": np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::2],
        "depth": np.array([0.1, np.nan, np.inf], ">f4"),
        "none": np.zeros((0, 3), np.int64),
        "one": np.array(True),
    }
    send(pair[0], {"kind": "step", "text": "grüezi", "far": float("inf")}, arrays)
    message, found = receive(pair[1])
    assert message == {"kind": "step", "text": "grüezi", "far": float("inf")}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("<")
        assert found[name].flags.writeable


def test_objects_are_not_sent_and_not_taken(pair: Pair) -> None:
    with pytest.raises(TypeError, match="only booleans and numbers"):
        send(pair[0], {}, {"x": np.array([{}])})
    pair[0].sendall(frame(b'{"arrays": [["x", "|O", [1]]]}', b"12345678"))
    with pytest.raises(ProtocolError, match="cannot be read"):
        receive(pair[1])


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"Gym has been unmaintained since 2022", "something else writes there"),
        (frame(b"{}", version=VERSION + 1), f"speaks version {VERSION + 1}, this one {VERSION}"),
        (frame(b"not JSON"), "cannot be read"),
        (frame(b"{}"), "cannot be read: KeyError"),
        (frame(b'{"arrays": [["x", "<f4", [2]]]}', b"1234"), "cannot be read"),
        (frame(b'{"arrays": []}', b"1234"), "the arrays take 0 bytes, 4 came"),
    ],
)
def test_what_is_no_message_is_refused(pair: Pair, sent: bytes, message: str) -> None:
    pair[0].sendall(sent)
    with pytest.raises(ProtocolError, match=message):
        receive(pair[1])


def test_an_end_in_the_middle_is_an_end(pair: Pair) -> None:
    pair[0].sendall(frame(b'{"arrays": []}')[:-3])
    pair[0].close()
    with pytest.raises(EOFError):
        receive(pair[1])
