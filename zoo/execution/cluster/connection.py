"""Being connected to a Ray cluster, or to a Ray that is started on this machine; nothing of it is left behind."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from zoo.errors import ZooError
from zoo.execution.contract import Work
from zoo.execution.processes import available_cores

Kind = Literal["cpu", "cuda"]

HEAD_PATIENCE = 10.0
"""Seconds within which the head of a cluster must answer."""


def import_ray() -> Any:
    """Return the module ray, told to be quiet.

    Raises:
        ZooError: it is not installed.
    """
    # What Ray says of a worker that dies goes to standard output, past its logging; this is read at import.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ZooError(f"the executor ray needs Ray ({error}): pip install 'layer-zoo[ray]'") from error


@contextmanager
def connection(ray: Any, address: str, work: Work, kind: Kind) -> Iterator[None]:
    """Connect to the cluster, or start one of this machine alone; leave nothing of it behind."""
    if ray.is_initialized():  # by whoever called; it is theirs
        yield
        return
    folder = _own_folder()
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "namespace": f"zoo-{uuid4().hex}"}
    with _terminable() as terminable:
        try:
            with chdir(folder):  # for workers could import what lies in the folder in which Ray is started
                if address:
                    _connect(ray, address, quiet)
                else:
                    _start(ray, work, kind, folder, quiet)
            terminable()
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminable() -> Iterator[Callable[[], None]]:
    """Yield what makes SIGTERM stop this process as Ctrl-C does, in place of Ray's handler, which aborts it."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGTERM)

    def install() -> None:
        signal.signal(signal.SIGTERM, before if callable(before) else signal.default_int_handler)

    try:
        yield install
    finally:
        signal.signal(signal.SIGTERM, before)


def _own_folder() -> str:
    """Make a folder for a Ray of this process, and remove those of processes that were killed."""
    # Short, for it holds sockets, whose paths must be.
    parent = Path("/tmp" if os.name == "posix" else tempfile.gettempdir())
    for folder in parent.glob("zoo-ray-*-*"):
        with suppress(ValueError):
            if not runs(int(folder.name.split("-")[2])):
                shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"zoo-ray-{os.getpid()}-", dir=parent)


def _start(ray: Any, work: Work, kind: Kind, folder: str, options: Mapping[str, Any]) -> None:
    resources = {"num_cpus": work.jobs or available_cores()}
    if kind == "cuda":
        resources = {"num_cpus": 1, "num_gpus": len(work.devices)}
    with _visible(work.devices):
        ray.init(address="local", include_dashboard=False, _temp_dir=folder, **resources, **options)


def _connect(ray: Any, address: str, options: Mapping[str, Any]) -> None:
    address = _found() if address == "auto" else address
    # Ray would try for minutes, tell of each try, and then end the process.
    if why_not := _no_cluster(address):
        raise ZooError(
            f"there is no Ray cluster at {address}: {why_not}. The address is that of the head, such as "
            "10.0.0.1:6379, or auto on one of the cluster's machines"
        )
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ZooError(
            f"cannot connect to the Ray cluster at {address}: {reason} (Here are Ray {ray.__version__} and Python "
            f"{platform.python_version()}; the command must be given on one of the cluster's machines, which have the "
            "same)"
        ) from error


def _found() -> str:
    """Return the address of this machine's cluster.

    Raises:
        ZooError: there is none, or no telling which.
    """
    services = importlib.import_module("ray._private.services")
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        found = services.canonicalize_bootstrap_address("auto")
    except ConnectionError:  # it would tell of options of its own
        found = None
    except (OSError, ValueError) as error:
        raise ZooError(
            f"RAY_ADDRESS={os.environ.get('RAY_ADDRESS', '')} is no address of a cluster: {error}"
        ) from error
    finally:
        logger.setLevel(before)
    if found is None:
        raise ZooError(
            "no Ray cluster runs on this machine: start its head (`ray start --head`), give the command on one of a "
            "cluster's machines, or name the head, as in address=10.0.0.1:6379"
        )
    return str(found)


def _no_cluster(address: str) -> str:
    """Say why there is no head of a cluster at an address; empty where there is one."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=HEAD_PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return ""  # who answers there waits for a handshake
            start = connection.recv(4)
    except (OSError, ValueError) as error:
        return str(error)
    # Ray speaks gRPC, whose server begins with a frame of settings: three bytes of length, and 4 for its type.
    return "" if start[3:] == b"\x04" else "what answers there is no head"


@contextmanager
def _visible(devices: tuple[str, ...]) -> Iterator[None]:
    """Let a Ray that is started see only these GPUs."""
    indices = [device.partition(":")[2] for device in devices]
    if not all(indices):
        yield
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = before.split(",") if before else None
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[int(index)] if names else index for index in indices)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def runs(pid: int) -> bool:
    """Tell whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
