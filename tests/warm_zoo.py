"""The command `zoo` without the seconds in which each process imports torch: `warm_zoo.py SOCKET` forks it off.

What is forked has imported torch and computed nothing, as zoo's own workers. It has the arguments, the working folder,
the environment and the streams of the `zoo` that was typed, which `write` makes: it asks by the socket and ends as that
process does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from socketserver import BaseRequestHandler, ForkingMixIn, UnixStreamServer

TYPED = """#!{python} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    code = server.recv(1)
sys.exit(code[0] if code else "the process ended without an exit code")
"""
# The second is what the first optimizer of a process imports.
IMPORTED = (
    "zoo.cli",
    "torch._dynamo",
    "zoo.lab.findings",
    "zoo.lab.shown",
    "zoo.lab.table",
    "zoo.report.page",
    "sklearn",
)
COMMAND = Path(sys.executable).with_name("zoo")


def write(folder: Path, address: Path) -> None:
    """Write the command `zoo` that asks the server at the address."""
    path = folder / "zoo"
    path.write_text(TYPED.format(python=sys.executable, address=str(address)), encoding="utf-8")
    path.chmod(0o755)


class Command(BaseRequestHandler):
    """One command, in a process of its own."""

    def handle(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _, streams, _, _ = socket.recv_fds(self.request, 1, 3)
        with self.request.makefile("rb") as told:
            arguments, folder, environment = json.load(told)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
        sys.argv = [str(COMMAND), *arguments]
        self.request.sendall(bytes([ended()]))


def ended() -> int:
    """Run the installed command to its end, and return its exit code."""
    code: object = None
    try:
        runpy.run_path(str(COMMAND), run_name="__main__")
    except SystemExit as exit_:
        code = exit_.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(code, str):
        print(code, file=sys.stderr, flush=True)
    return code if isinstance(code, int) else int(code is not None)


class Server(ForkingMixIn, UnixStreamServer):
    """Forks a process for each command."""

    def handle_error(self, request: object, client_address: object) -> None:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # which the command's standard error has


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # so that collecting garbage copies none of it
    with Server(sys.argv[1], Command) as server:
        server.serve_forever()
