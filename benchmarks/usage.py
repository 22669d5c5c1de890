"""What a command costs: CPU seconds, wall seconds and memory of it and of every process that it starts (Linux).

The kernel's sum over a child (wait4) leaves out processes that nobody waits for, such as Ray's workers, and its peak
is that of the largest process alone. So /proc is read ten times a second besides, and the larger sum counts.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from readclade.errors import ConfigError, ReadcladeError

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
_INTERVAL_S = 0.1
_MEMORY_EVERY = 5  # adding up a process's pages takes the kernel a while
_FAREWELL_S = 5.0
# A command that waits for ever uses no CPU.
_WALL_PER_CPU = 4


class TimeLimitError(ReadcladeError):
    """Report a command that was ended because it took too long."""


class CommandError(ReadcladeError):
    """Report a command that failed."""


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        cpu_s: user and system time of all its processes.
        wall_s: from its start to the end of its last process.
        peak_mb: most memory of all its processes at one time, shared pages counted once.
        others: cores that other jobs of the machine kept busy meanwhile, on average.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    others: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        """Return the usage of two commands, one after the other."""
        wall_s = self.wall_s + other.wall_s
        others = (self.others * self.wall_s + other.others * other.wall_s) / wall_s if wall_s else 0.0
        return Usage(self.cpu_s + other.cpu_s, wall_s, max(self.peak_mb, other.peak_mb), others)


def measure_command(
    command: Sequence[object], limit_s: float, log: Path, environment: Mapping[str, str] | None = None
) -> Usage:
    """Run a command to its end and return what it took.

    Args:
        limit_s: CPU seconds after which it and all its processes are killed; so they are after four times as many
            wall seconds.
        log: takes what the command prints.
        environment: added to this process's own.

    Raises:
        TimeLimitError: it took longer.
        CommandError: it could not be started or failed; the message ends with the last line that it printed.
    """
    if not (_PROC / "self/stat").exists():
        raise ConfigError("there is no /proc to measure from", remedy="run this on Linux")
    text = [str(word) for word in command]
    with _adopt_orphans(), open(log, "ab") as output:
        watch = _Watch()
        try:
            process = subprocess.Popen(
                text,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise CommandError(f"{text[0]} cannot be started: {error.strerror}") from None
        try:
            code = watch.follow(process, limit_s)
            watch.end_all(_FAREWELL_S)
        finally:
            watch.end_all(0)
            process.poll()
    if code:
        raise CommandError(f"{Path(text[0]).name} failed with exit code {code}: {_read_last_line(log)}")
    return watch.get_usage()


@contextmanager
def _adopt_orphans() -> Iterator[None]:
    """Make processes whose parent ends this process's children meanwhile, so that they stay in sight."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class _Watch:
    """The processes that come to be below this one from now on."""

    def __init__(self):
        self._earlier = set(_find_descendants())
        self._cpu: dict[int, float] = {}  # by process, the last that was seen
        self._waited_cpu_s = 0.0
        self._peak_kb = 0
        self._started = self._ended = time.monotonic()
        self._busy = self._busy_end = _read_busy_seconds()

    def follow(self, process: subprocess.Popen, limit_s: float) -> int:
        """Look at the processes until the command ends; return its exit code."""
        looks = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self._ended, self._busy_end = time.monotonic(), _read_busy_seconds()
                self._waited_cpu_s = usage.ru_utime + usage.ru_stime
                return process.returncode
            self._look(looks % _MEMORY_EVERY == 0)
            looks += 1
            if sum(self._cpu.values()) > limit_s or time.monotonic() - self._started > _WALL_PER_CPU * limit_s:
                raise TimeLimitError(f"did not finish in {limit_s:g} s of CPU time")
            time.sleep(_INTERVAL_S)

    def end_all(self, patience_s: float) -> None:
        """Wait for the last processes to end, and kill what is left then."""
        deadline = time.monotonic() + patience_s
        while True:
            mine = self._find_mine()
            for pid in mine:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if not mine:
                return
            self._ended, self._busy_end = time.monotonic(), _read_busy_seconds()
            if time.monotonic() > deadline:
                for pid in mine:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self._look(False)
            time.sleep(0.02)

    def get_usage(self) -> Usage:
        """Return what has been seen."""
        cpu_s = max(self._waited_cpu_s, sum(self._cpu.values()))
        wall_s = self._ended - self._started
        others = max(0.0, (self._busy_end - self._busy - cpu_s) / wall_s)
        return Usage(cpu_s, wall_s, self._peak_kb / 1000, others)

    def _find_mine(self) -> list[int]:
        return [pid for pid in _find_descendants() if pid not in self._earlier]

    def _look(self, with_memory: bool) -> None:
        total = 0
        for pid in self._find_mine():
            # Processes end while they are looked at.
            with suppress(OSError, IndexError, ValueError):
                self._cpu[pid] = _read_cpu_seconds(pid)
                self._peak_kb = max(self._peak_kb, _read_kb(pid, "status", "VmHWM:"))
                if with_memory:
                    total += _read_kb(pid, "smaps_rollup", "Pss:")
        self._peak_kb = max(self._peak_kb, total)


def _find_descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir(_PROC):
        if entry.isdecimal():
            with suppress(OSError, IndexError):
                children.setdefault(int(_read_stat(int(entry))[1]), []).append(int(entry))
    found, rest = [], [os.getpid()]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def _read_stat(pid: int) -> list[str]:
    """Return the fields of a process's stat after its name, which may hold blanks."""
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _read_cpu_seconds(pid: int) -> float:
    return sum(map(int, _read_stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def _read_kb(pid: int, file: str, key: str) -> int:
    for line in (_PROC / str(pid) / file).read_text(errors="replace").splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def _read_busy_seconds() -> float:
    """Return the seconds that all cores of the machine were busy, since it started."""
    user, nice, system, _idle, _wait, *rest = map(int, (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _read_last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def get_machine() -> str:
    """Return the machine in plain words, as in '2 cores of an x86-64 virtual machine'."""
    kind = os.uname().machine.replace("_", "-")
    is_virtual = " hypervisor" in Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else False
    article = "an" if kind[0] in "aeix" else "a"
    return f"{os.cpu_count()} cores of {article} {kind} {'virtual ' if is_virtual else ''}machine"
