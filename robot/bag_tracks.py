"""The streams of a bag by their senders' own stamps: what came, when, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot import messages
from robot.bag import BagError, typestore
from robot.bag_reader import Bag, Record
from robot.bag_topics import KINDS, Source
from robot.gate import SET_BACK
from robot.messages import MessageError

Array = NDArray[Any]
Stamps = Literal["header", "arrival"]

MOST_OFF = 1.0
"""s between a stream's stamps and the recorder's clock: beyond it they are of different clocks"""
LATCHED = ("goal", "guard")
"""said once and heard later"""


@dataclass
class Track:
    """One stream, in the order of its stamps. Times are s since 1970.

    came: by the recorder's clock. values: what the messages say; of pictures the number of the message on
    its topic. repeated: messages whose stamp was not newer than the one before; broken: such as with NaN.
    """

    source: Source
    stamps: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    messages: int = 0
    repeated: int = 0
    broken: int = 0
    trouble: str = ""
    """what is wrong with the first broken one"""

    def times(self) -> Array:
        return np.array(self.stamps, np.float64)


def gather(
    bag: Bag,
    sources: Mapping[str, Source],
    stamps: Stamps = "header",
    report: Callable[[int], None] | None = None,
) -> dict[str, Track]:
    """Reads a bag once. report: called with the bytes of messages read so far.

    Raises BagError where a needed stream has no usable message, runs backwards, or is by another clock.
    """
    store = typestore()
    tracks = {source.topic: Track(source) for source in sources.values()}
    read = 0
    for record in bag.messages():
        read += len(record.data)
        if report is not None:
            report(read)
        track = tracks.get(record.topic)
        if track is not None:
            _take(track, record, store, stamps)
    found = {track.source.name: track for track in tracks.values()}
    for track in found.values():
        _check(track, stamps)
    return found


def unpack(record: Record, store: Any) -> Any:
    """The message. Raises MessageError for bytes that are none of its kind."""
    try:
        return store.deserialize_cdr(record.data, record.kind)
    except Exception as error:  # whatever a library makes of bytes that are something else
        size = len(record.data)
        raise MessageError(f"{record.topic}: {size} bytes are no {record.kind} ({error!r})") from error


def unpack_picture(record: Record, store: Any, size: tuple[int, int] | None = None) -> Array:
    """(H, W, 3) uint8. size: (height, width) expected."""
    decode = messages.compressed_image if record.kind.endswith("CompressedImage") else messages.image
    return decode(unpack(record, store), record.topic, size)


def _take(track: Track, record: Record, store: Any, stamps: Stamps) -> None:
    number, track.messages = track.messages, track.messages + 1
    decode = KINDS[track.source.name].decode
    value: Any
    try:
        if decode is None:
            if not track.stamps:
                unpack_picture(record, store)  # wrong encodings are told before an hour is read
            stamp, value = messages.raw_stamp_seconds(record.data, record.topic), number
        else:
            message = unpack(record, store)
            stamp, value = _stamp(message, record), decode(message, record.topic)
    except MessageError as error:
        track.broken += 1
        track.trouble = track.trouble or str(error)
        return
    if value is None:  # no fix, or another's diagnostics
        return
    came = record.log_time * 1e-9
    stamp = stamp if stamps == "header" else came
    if track.stamps and stamp <= track.stamps[-1]:
        if stamp < track.stamps[-1] - SET_BACK:
            raise BagError(
                f"{record.topic}: header.stamp runs backwards, from {track.stamps[-1]:.3f} to {stamp:.3f} s: "
                "the sender's clock was set back; import with --stamps arrival, or cut the bag there"
            )
        track.repeated += 1
        return
    track.stamps.append(stamp)
    track.came.append(came)
    track.values.append(value)


def _stamp(message: Any, record: Record) -> float:
    """The sender's; without a header, when DDS sent it."""
    if hasattr(message, "header") and not record.kind.endswith("DiagnosticArray"):
        return messages.stamp_seconds(message, record.topic)
    return (record.publish_time or record.log_time) * 1e-9


def _check(track: Track, stamps: Stamps) -> None:
    if not track.stamps:
        if not KINDS[track.source.name].needed:
            return
        nothing = f"{track.source.topic}: no message says anything ({track.messages} came)"
        raise BagError(track.trouble or nothing)
    behind = float(np.median(np.array(track.came) - track.times()))
    if stamps == "header" and abs(behind) > MOST_OFF and track.source.name not in LATCHED:
        where = "behind" if behind > 0 else "ahead of"
        raise BagError(
            f"{track.source.topic}: header.stamp is {abs(behind):.1f} s {where} the recorder's clock: let "
            "the machines keep one time (chrony), or import with --stamps arrival"
        )
