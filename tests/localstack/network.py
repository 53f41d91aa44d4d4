"""The network that a process has. LocalStack listens on every address whatever it is told, so it gets loopback and no more."""

import fcntl
import socket
import struct

# ioctl(2), netdevice(7).
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def _flags(name, request=SIOCGIFFLAGS, flags=0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, request, struct.pack("16sH22x", name.encode(), flags))
    return struct.unpack("16sH22x", answer)[1]


def interfaces():
    """Names of those that are up."""
    return {name for _, name in socket.if_nameindex() if _flags(name) & IFF_UP}


def raise_loopback():
    """In a new namespace it is down."""
    _flags("lo", SIOCSIFFLAGS, _flags("lo") | IFF_UP)
