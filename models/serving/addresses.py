"""The addresses at which a server listens."""

import os
import socket


def listen(host, port):
    """A socket that listens. ValueError, which says where, if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name != "nt":  # where it would let two programs have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(256)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot listen at {host}, port {port}: {reason}; try --port 0") from None
    return listening


def in_url(host):
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host
