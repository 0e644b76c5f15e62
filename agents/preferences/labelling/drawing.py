"""A process that does nothing but draw.

OpenGL may crash a process, and holds up its other threads for some tenths of a second with every clip:
here that costs a clip at most, never an answer. The process ends by itself when its parent is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from agents.preferences.labelling.sources import UndrawableError
from agents.preferences.labelling.sprites import draw
from agents.preferences.labelling.storage import MediaStorage, open_storage
from agents.preferences.labelling.types import Sprite, UnavailableError
from envs.rendering import NoRendererError

logger = logging.getLogger(__name__)

DRAW_SECONDS = 120.0
"""A process that takes longer over a clip is ended; most take 1 to 5 s."""
_LOOK_SECONDS = 0.2
_END_SECONDS = 2.0
"""what a clip under way still gets when drawing is stopped"""


class Drawer:
    """Draws clips into a storage, in a process that is started with the first one.

    One thread uses it. Once `stopping` is set, a clip that takes long is given up.
    """

    def __init__(self, url: str, stopping: threading.Event, seconds: float = DRAW_SECONDS) -> None:
        self._url, self._stopping, self._seconds = url, stopping, seconds
        self._process: subprocess.Popen[bytes] | None = None

    def draw(self, source: str, env: str, size: int) -> Sprite:
        """Draws a clip and stores its picture.

        Raises UndrawableError when that cannot be done, NoRendererError without OpenGL, UnavailableError
        when the storage is down or drawing was stopped.
        """
        reply = self._ask({"source": source, "env": env, "size": size})
        match reply:
            case {"sprite": fields}:
                return Sprite(**fields)
            case {"unavailable": text}:
                raise UnavailableError(text)
            case {"no_renderer": text}:
                raise NoRendererError(text)
        raise UndrawableError(str(reply.get("undrawable")))

    def close(self) -> None:
        """Ends the process; another is started when something is to be drawn again."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # which it takes as the end, unless it is busy
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = _start(self._url)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(self._process)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise UndrawableError(f"the process that draws {self._how_it_ended()} while it drew this clip")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """What the process says, to the end of the line; less if it ended."""
        assert process.stdout is not None
        deadline, line, stopping = time.monotonic() + self._seconds, b"", False
        while not line.endswith(b"\n"):
            if self._stopping.is_set() and not stopping:
                deadline, stopping = time.monotonic() + _END_SECONDS, True
            if time.monotonic() > deadline:
                process.kill()
                self.close()
                if stopping:
                    raise UnavailableError("drawing was stopped")
                raise UndrawableError(f"drawing the clip took longer than {self._seconds:.0f} s")
            if select.select([process.stdout], [], [], _LOOK_SECONDS)[0]:
                part = os.read(process.stdout.fileno(), 65536)
                if not part:
                    break
                line += part
        return line

    def _how_it_ended(self) -> str:
        process = self._process
        self.close()
        code = 0 if process is None else process.returncode
        if code >= 0:
            return f"ended with status {code}"
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (" (is there memory enough?)" if name == "SIGKILL" else "")


def _start(url: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(entry for entry in sys.path if entry)  # it finds us wherever we were found
    return subprocess.Popen(
        [sys.executable, "-m", __name__, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


def main() -> None:
    """Answers each line of standard input, a job, with a line, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends us
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)  # what a library prints is no reply
        storage = open_storage(sys.argv[1])
        for line in sys.stdin.buffer:
            replies.write(json.dumps(reply(storage, json.loads(line))).encode() + b"\n")
            try:
                replies.flush()
            except BrokenPipeError:
                os._exit(0)  # nobody waits for it any more


def reply(storage: MediaStorage, job: dict[str, Any]) -> dict[str, Any]:
    """What became of a job, as JSON."""
    try:
        content, sprite = draw(storage, job["source"], job["env"], job["size"])
        storage.put(content)
    except UnavailableError as error:
        return {"unavailable": str(error)}
    except MemoryError:
        return {"unavailable": "there is no memory left to draw with"}
    except NoRendererError as error:
        return {"no_renderer": str(error)}
    except UndrawableError as error:
        return {"undrawable": str(error)}
    except Exception as error:  # a fault of ours or of a library: the next clip may be drawn all the same
        logger.exception("drawing %s of %s failed", job["source"], job["env"])
        return {"undrawable": f"drawing failed: {type(error).__name__}: {error}"}
    return {"sprite": dataclasses.asdict(sprite)}


if __name__ == "__main__":
    main()
