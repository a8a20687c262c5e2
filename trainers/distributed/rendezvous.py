"""Rendezvous: the ranks of one attempt find each other by a file in the run's folder.

Rank 0 binds a free port and writes its address to `rendezvous.json`; the others wait for the
address of their attempt. No port is fixed (MASTER_PORT), since several runs of a pack share a node.
If all ranks are on one node, rank 0 listens on the loopback interface only, or else on the one
address that the ranks use: the store has no authentication.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]

from trainers.distributed.rank_info import RankInfo
from trainers.errors import ConfigError, RankError
from trainers.run.atomic_write import atomic_write
from trainers.run.backoff import retry
from trainers.run.failure_class import may_come_back
from trainers.run.run_folder import RunFolder
from trainers.run.sections import beat

Address = tuple[str, int]

WRITE_TIMEOUT_S = 60.0
"""How long rank 0 waits for the file system; the others wait for it meanwhile."""
_POLL_S = 0.05
_PROBE_S = 5.0
"""Timeout of a test connection to rank 0."""
_LINGER_S = 10 * _POLL_S
"""How long rank 0, which hosts the store, outlives a stop during the rendezvous: others poll it."""
_STOP = "stop"
_SIOCGIFADDR = 0x8915
"""The ioctl of Linux that returns an interface's IPv4 address; see netdevice(7)."""


def meet(
    folder: RunFolder,
    attempt: int,
    rank_info: RankInfo,
    should_stop: Callable[[], bool],
    *,
    timeout: timedelta,
) -> TCPStore | None:
    """Wait until all ranks of the attempt have joined; None if one was asked to stop before.

    Returns:
        The key-value store that all of them are connected to, hosted by rank 0.

    Raises:
        RankError: Some did not join in time, or exited again.
        ConfigError: Other nodes cannot reach this one under its host name.
        OSError: The folder cannot be written, for WRITE_TIMEOUT_S if that may pass.
        StopRequestedError: A stop was requested meanwhile.
    """
    wait = _Deadline(timeout.total_seconds(), should_stop)
    if rank_info.rank == 0:
        store, own_address = _host(rank_info, timeout)
        retry(
            partial(_write_address, folder, attempt, own_address),
            timeout_s=WRITE_TIMEOUT_S,
            passes=may_come_back,
            should_stop=should_stop,
        )
    else:
        _local_address(rank_info)  # gloo listens there: better no start than a timeout
        published = _await_address(folder, attempt, rank_info, wait)
        if published is None:
            return None
        store = _connect(published, rank_info, timeout)
    return store if _all_joined(store, rank_info, wait) else None


class _Deadline:
    """Bounds a loop that polls, by a timeout and by a request to stop."""

    def __init__(self, timeout_s: float, should_stop: Callable[[], bool]) -> None:
        self.timeout_s = timeout_s
        self._ends_at = time.monotonic() + timeout_s
        self.should_stop = should_stop

    def sleep(self) -> bool:
        """Sleep for one poll interval; return whether there is time left."""
        beat()  # this has a bound of its own
        time.sleep(_POLL_S)
        return time.monotonic() < self._ends_at


def _host(rank_info: RankInfo, timeout: timedelta) -> tuple[TCPStore, Address]:
    family, host = _local_address(rank_info)
    with socket.create_server((host, 0), family=family) as listening:
        port = listening.getsockname()[1]
        # torch would bind to all interfaces, and a port chosen first could be taken before torch
        # binds to it: so the store is given a socket that listens already.
        store = TCPStore(
            host,
            port,
            rank_info.world_size,
            is_master=True,
            timeout=timeout,
            wait_for_workers=False,
            master_listen_fd=listening.fileno(),
        )
        listening.detach()  # the store owns the descriptor and will close it
    return store, (host, port)


def _write_address(folder: RunFolder, attempt: int, address: Address) -> None:
    host, port = address
    with atomic_write(folder.rendezvous, fence=folder.fence) as file:
        file.write(json.dumps({"attempt": attempt, "host": host, "port": port}).encode())


def _await_address(
    folder: RunFolder, attempt: int, rank_info: RankInfo, wait: _Deadline
) -> Address | None:
    """Return where rank 0 of this attempt listens; None on a request to stop.

    A file of an earlier start of the attempt may be there: its address must answer first.
    """
    while not wait.should_stop():
        address = _read_address(folder, attempt)
        if address is not None and _answers(address):
            return address
        if not wait.sleep():
            where = "did not write" if address is None else f"does not answer at {address} of"
            raise RankError(
                f"rank {rank_info.rank} timed out after {wait.timeout_s:g} s: rank 0 of attempt "
                f"{attempt} {where} {folder.rendezvous}. See the log of rank 0; if it runs, name "
                "an interface that all nodes can reach in GLOO_SOCKET_IFNAME"
            )
    return None


def _read_address(folder: RunFolder, attempt: int) -> Address | None:
    """Return the address; None if it is not there, or cannot be read, or not in whole, for now."""
    try:
        found = json.loads(folder.rendezvous.read_bytes())
    except (OSError, ValueError):
        return None
    return (found["host"], found["port"]) if found["attempt"] == attempt else None


def _answers(address: Address) -> bool:
    try:
        socket.create_connection(address, timeout=_PROBE_S).close()
    except OSError:
        return False
    return True


def _connect(address: Address, rank_info: RankInfo, timeout: timedelta) -> TCPStore:
    try:
        return TCPStore(*address, rank_info.world_size, timeout=timeout, wait_for_workers=False)
    except DistError as error:
        raise RankError(
            f"rank {rank_info.rank} cannot reach rank 0 at {address}: {error}"
        ) from error


def _all_joined(store: TCPStore, rank_info: RankInfo, wait: _Deadline) -> bool:
    try:
        store.set(_key(rank_info.rank), "")
        while not store.check([_key(rank) for rank in range(rank_info.world_size)]):
            if wait.should_stop() or store.check([_STOP]):
                store.set(_STOP, "")
                time.sleep(_LINGER_S if rank_info.rank == 0 else 0)
                return False
            if not wait.sleep():
                missing = [
                    rank for rank in range(rank_info.world_size) if not store.check([_key(rank)])
                ]
                raise RankError(
                    f"rank {rank_info.rank} timed out after {wait.timeout_s:g} s waiting for "
                    f"rank {', '.join(map(str, missing))} of {rank_info.world_size}; see their logs"
                )
    except DistError as error:
        if wait.should_stop():
            return False
        raise RankError(
            f"rank 0 exited before all {rank_info.world_size} ranks had joined"
        ) from error
    return True


def _key(rank: int) -> str:
    return f"here/{rank}"


def _local_address(rank_info: RankInfo) -> tuple[socket.AddressFamily, str]:
    """Return the address that rank 0 listens on.

    Raises:
        ConfigError: The run is on several nodes, and the others could not reach this one.
    """
    if rank_info.is_on_one_node:
        return socket.AF_INET, "127.0.0.1"
    interfaces = os.environ.get("GLOO_SOCKET_IFNAME")
    if interfaces:
        return socket.AF_INET, _ipv4_address_of(interfaces.split(",")[0])
    found = _addresses_of_host()
    for family, address in found:
        if _is_seen_by_others(address):
            return family, address
    addresses = ", ".join(dict.fromkeys(address for _, address in found))
    interfaces = ", ".join(name for _, name in socket.if_nameindex())
    raise ConfigError(
        f"the run is on several nodes, and the host name {socket.gethostname()} stands for "
        f"{addresses}, which no other node can reach (Debian's /etc/hosts has such a line). Name "
        "an interface that all nodes can reach in GLOO_SOCKET_IFNAME, as under `environment` in "
        f"the cluster config; interfaces here: {interfaces}"
    )


def own_interface() -> str | None:
    """Return the interface of this node that other nodes can reach, if gloo would take another one.

    It takes the first address of the host name, also if that is 127.0.1.1. GLOO_SOCKET_IFNAME is
    the one way to tell it.
    """
    if _is_seen_by_others(_addresses_of_host()[0][1]):
        return None
    seen = [address for _, address in _addresses_of_host() if _is_seen_by_others(address)]
    for _, name in socket.if_nameindex():
        with suppress(ConfigError):  # it has no IPv4 address
            if _ipv4_address_of(name) in seen:
                return name
    return None


def _addresses_of_host() -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _is_seen_by_others(address: str) -> bool:
    """Return whether other nodes may reach an address, which is neither loopback nor link-local."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)


def _ipv4_address_of(interface: str) -> str:
    # Python has no wrapper for SIOCGIFADDR; `struct ifreq` starts with the name, and the address
    # lies at byte 20.
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, request)
        except OSError as error:
            names = ", ".join(name for _, name in socket.if_nameindex())
            raise ConfigError(
                f"GLOO_SOCKET_IFNAME names {interface!r}, which has no IPv4 address here: "
                f"{error.strerror}; interfaces: {names}"
            ) from error
    return socket.inet_ntoa(answer[20:24])
