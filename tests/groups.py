"""Starts programs as the processes of one cluster, on the loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

PATIENCE = 400
"""Seconds until processes that wait for each other are given up."""


def run_together(program: str, *arguments: Path | str, count: int = 2) -> list[tuple[int, str]]:
    """Runs a program in several processes that TF_CONFIG names.

    Returns:
        The exit code and what was written to stderr, of each.
    """
    hosts = [f"127.0.0.1:{port}" for port in free_ports(count)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CONFIG": tf_config},
            stderr=subprocess.PIPE,
            text=True,
        )
        for tf_config in (
            json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})
            for index in range(count)
        )
    ]
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


def free_ports(count: int) -> list[int]:
    """Finds ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
