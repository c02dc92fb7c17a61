"""Objects that live in processes of their own, so that contenders share nothing but the machine."""

from __future__ import annotations

import multiprocessing
import os
import re
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any


class Remote:
    """An object in a fresh process, which is told by its methods' names what to do.

    While nothing is asked of it, it waits and takes no processor time; so contenders can be
    measured in turn, round after round, without starting them again.

    Args:
        path: `module:Class`; imported in the new process alone.
        *arguments: What the object is made from.

    Raises:
        RuntimeError: When the object cannot be made.

    Example:
        >>> with Remote("builtins:list", [3, 1, 3]) as numbers:
        ...     numbers.call("count", 3)
        2
    """

    def __init__(self, path: str, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, path, arguments), daemon=True)
        self._process.start()
        there.close()
        self._answer()

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method there and waits for what it returns.

        Raises:
            RuntimeError: With the traceback, when the method fails.
        """
        self._connection.send((method, arguments))
        return self._answer()

    def peak_mb(self) -> float:
        """Gives the most memory that the process has held so far, in 10^6 bytes."""
        # Not `ru_maxrss`: a new process inherits that of the one that started it.
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(kibibytes) * 1024 / 1e6

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.join()

    def _answer(self) -> Any:
        try:
            failure, answer = self._connection.recv()
        except EOFError as error:
            self._process.join()
            raise RuntimeError(f"A process ended with code {self._process.exitcode}.") from error
        if failure:
            raise RuntimeError(failure)
        return answer


def _serve(connection: Connection, path: str, arguments: tuple[Any, ...]) -> None:
    """Makes the object and does what is asked, until nobody asks any more."""
    # TensorFlow's lines about processors; what goes wrong is told through the connection.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        module, _, name = path.partition(":")
        thing = getattr(import_module(module), name)(*arguments)
        connection.send((None, None))
        while True:
            method, given = connection.recv()
            connection.send((None, getattr(thing, method)(*given)))
    except EOFError:
        return
    except Exception:
        connection.send((traceback.format_exc(), None))
