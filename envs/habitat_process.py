"""Habitat's process: it runs in an environment of its own, whose old pins never touch ours."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import socket
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

from envs.habitat_protocol import Arrays, Message, receive, send

VARIABLE = "SUREFOOT_HABITAT_PYTHON"
FIX = f"`make habitat` in surefoot's folder sets it up in .venv-habitat; or let {VARIABLE} name its Python"
_ENVS = Path(__file__).parent
_END_SECONDS = 10.0
# Not our package as it is installed: beside it lie our own NumPy and the rest.
_BOOT = """
import sys, types
package = types.ModuleType("envs")
package.__path__ = [sys.argv[1]]
sys.modules["envs"] = package
from envs.habitat_worker import main
main(int(sys.argv[2]), sys.argv[3])
"""


class HabitatMissingError(ImportError):
    """Habitat is not installed, or not as it must be; the message has the command that sets it up."""


class HabitatProcessError(RuntimeError):
    """Habitat's process died, hangs or talks nonsense; the message has its last words."""


class EpisodeFileError(ValueError):
    """A file of episodes cannot be used; the message names file, episode and what is wrong."""


REFUSALS: tuple[type[Exception], ...] = (HabitatMissingError, EpisodeFileError, LookupError)
"""what the process may answer with; anything else is a fault of its program, told with its trace"""


def habitat_python() -> Path:
    """The Python that has Habitat. Raises HabitatMissingError."""
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise HabitatMissingError(f"{VARIABLE} is {named}, which is no program: {FIX}")
        return Path(named)
    for folder in (_ENVS.parent, Path.cwd()):
        python = folder / ".venv-habitat" / "bin" / "python"
        if os.access(python, os.X_OK):
            return python.absolute()
    raise HabitatMissingError(f"Habitat is not set up: {FIX}")


class HabitatProcess:
    """One process with one Habitat-Lab environment, and so one OpenGL context. It starts at once.

    timeout: s to wait for each answer.
    """

    def __init__(self, settings: Message, timeout: float) -> None:
        python = habitat_python()
        self.pid, self._timeout = os.getpid(), timeout
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - _end closes it
        self._folder = tempfile.TemporaryDirectory(prefix="surefoot-habitat-")
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        with theirs:
            command = [str(python), "-c", _BOOT, str(_ENVS), str(theirs.fileno()), _numba_version()]
            self._process = subprocess.Popen(
                command,
                cwd=self._folder.name,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for us, who then end it in order
            )
        self.number = self._process.pid
        self._wire = ours
        self._end = weakref.finalize(self, _end, self._process, ours, self._folder, self._log, self.pid)
        self.tell(settings)

    def ready(self) -> tuple[Message, Arrays]:
        """What it says of its environment, once it stands."""
        return self.hear()

    def ask(self, kind: str, **fields: Any) -> tuple[Message, Arrays]:
        self.tell({"kind": kind, **fields})
        return self.hear()

    def tell(self, message: Message) -> None:
        """Sends; `hear` gets the answer. Raises HabitatProcessError."""
        self._check_open()
        try:
            send(self._wire, message)
        except OSError as error:
            raise self._dead() from error

    def hear(self) -> tuple[Message, Arrays]:
        """The answer. Raises HabitatProcessError, and what the process refused as the same kind of error."""
        self._check_open()
        try:
            message, arrays = receive(self._wire)
        except TimeoutError as error:
            self._process.kill()
            self.close()
            raise HabitatProcessError(
                f"Habitat's process gave no answer for {self._timeout:g} s and was ended: "
                "HabitatConfig.timeout says how long to wait"
            ) from error
        except (OSError, EOFError) as error:
            raise self._dead() from error
        except BaseException:  # Ctrl-C too: the rest of the answer would be taken for the next one
            self._process.kill()
            self.close()
            raise
        if "error" in message:
            refused = {kind.__name__: kind for kind in REFUSALS}.get(message["error"])
            if refused is None or message["fatal"]:
                self.close()
            if refused is None:
                raise HabitatProcessError(f"Habitat failed:\n{message['trace']}")
            raise refused(message["text"])
        return message, arrays

    def close(self) -> None:
        """Ends the process: its simulator and OpenGL context with it. Any number of times."""
        self._end()

    def _check_open(self) -> None:
        if not self._end.alive:
            raise HabitatProcessError("Habitat's process was ended: make the environment anew")
        if os.getpid() != self.pid:
            raise HabitatProcessError("Habitat's process belongs to the process that made the environment")

    def _dead(self) -> HabitatProcessError:
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 3000))
        words = self._log.read().decode(errors="replace").strip() or "nothing"
        self.close()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return HabitatProcessError(f"Habitat's process died ({how}). Its last words:\n{words}")


def _end(
    process: subprocess.Popen[bytes],
    wire: socket.socket,
    folder: tempfile.TemporaryDirectory[str],
    log: IO[bytes],
    owner: int,
) -> None:
    wire.close()  # which ends it, in order, whatever it is doing but a step
    if os.getpid() != owner:  # a fork of us: not ours to end
        return
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()
    folder.cleanup()


def _environment() -> dict[str, str]:
    """Ours, less what would bring our packages into Habitat's Python."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    quiet = {"MAGNUM_LOG": "quiet", "HABITAT_SIM_LOG": "quiet", "GLOG_minloglevel": "2"}
    fixed = {"PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    one = {"LP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**quiet, **one, **kept, **fixed}


def _numba_version() -> str:
    try:
        return importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        return ""
