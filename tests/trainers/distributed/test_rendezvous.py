"""Where rank 0 listens."""

import socket

import pytest

from trainers.distributed import rendezvous
from trainers.distributed.rank_info import RankInfo
from trainers.errors import ConfigError

ON_TWO_NODES = RankInfo(rank=0, world_size=2, local_rank=0, local_size=1)


@pytest.fixture
def host_name(monkeypatch):
    """Let the host name stand for these addresses."""
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)

    def stands_for(*addresses):
        found = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            found.append((family, socket.SOCK_STREAM, 6, "", (address, 0)))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return stands_for


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.0.0.5", "10.0.0.6"], "10.0.0.5"),
        (["127.0.1.1", "10.0.0.5"], "10.0.0.5"),
        (["::1", "fe80::1%eth0", "169.254.3.4", "0.0.0.0", "10.0.0.5"], "10.0.0.5"),
        (["fe80::1", "fd00::5"], "fd00::5"),
    ],
)
def test_an_address_of_this_machine_alone_is_passed_over(host_name, addresses, expected):
    """Debian's /etc/hosts gives the host name 127.0.1.1."""
    host_name(*addresses)

    assert rendezvous._local_address(ON_TWO_NODES)[1] == expected


def test_a_host_name_that_nobody_else_can_reach_is_an_error_at_once(host_name):
    """On other ranks as well: gloo listens there. The message has the way out."""
    host_name("127.0.1.1", "fe80::1")

    with pytest.raises(ConfigError, match=r"127\.0\.1\.1, fe80::1, .* GLOO_SOCKET_IFNAME.*: .*lo"):
        rendezvous._local_address(ON_TWO_NODES)


def test_the_interface_that_was_named_is_taken(host_name, monkeypatch):
    """Even the loopback interface, on which tests have two nodes."""
    host_name("127.0.1.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")

    assert rendezvous._local_address(ON_TWO_NODES)[1] == "127.0.0.1"


def test_ranks_of_one_node_need_no_network(host_name):
    """They meet on the loopback interface, whatever the host name stands for."""
    host_name()

    here = RankInfo(rank=0, world_size=2, local_rank=0, local_size=2)
    assert rendezvous._local_address(here)[1] == "127.0.0.1"


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.0.0.5", "127.0.1.1"], None),
        (["127.0.1.1", "10.0.0.6", "10.0.0.5"], "eth1"),
        (["127.0.1.1", "fd00::5"], None),
    ],
)
def test_gloo_is_told_the_interface_if_it_would_take_another(
    host_name, monkeypatch, addresses, expected
):
    """It takes the first address of the host name, whichever that is."""
    host_name(*addresses)
    interfaces = {"lo": "127.0.0.1", "eth1": "10.0.0.5"}
    monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(interfaces)))
    monkeypatch.setattr(rendezvous, "_ipv4_address_of", interfaces.__getitem__)

    assert rendezvous.own_interface() == expected
