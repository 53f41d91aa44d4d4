"""LocalStack listens on all addresses, so it must have none that anybody else reaches."""

import os
import socket
from pathlib import Path

import pytest

import network


def test_loopback_is_the_only_network(localstack):
    assert network.interfaces() == {"lo"}


def test_all_processes_of_localstack_are_in_this_network(localstack):
    own = os.readlink("/proc/self/ns/net")
    processes = [
        process for process in Path("/proc").iterdir()
        if process.name.isdigit() and os.getsid(int(process.name)) == localstack.process.pid
    ]
    assert processes
    assert {os.readlink(process / "ns/net") for process in processes} == {own}


def test_localstack_reaches_nobody(localstack):
    # An address for documents (RFC 5737), which nobody has: refused at once where there is no way out of here.
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 443), timeout=5)
