"""Runs a module as `python -m` does, for as long as the process that started it lives.

    python -m nlp_suite.tethered MODULE [ARGUMENT ...]

Its stdin is a pipe that the parent holds open and that closes with the parent, however it ends.
Without this tether, a child whose parent is killed would go on, and keep its run folder to itself.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Runs the module that the first argument names, with the rest of the arguments."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_the_parent() -> None:
    os.read(0, 1)  # waits for ever: nothing is written, and the end comes with the parent's
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
