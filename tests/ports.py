"""Free ports for servers that tests start, kill and start again."""

import random
import socket
from contextlib import ExitStack
from pathlib import Path

_FIRST = 20000  # above those that Ray's workers take by themselves


def find_free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, below the range from which the system takes outgoing ones.

    Any connection of another test may take a port of that range before the server has it, or while it is down.
    """
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    with ExitStack() as stack:
        for port in random.SystemRandom().sample(range(_FIRST, end), end - _FIRST):
            if len(ports) == count:
                break
            listener = stack.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return ports
