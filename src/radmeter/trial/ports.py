"""The UDP ports of `radmeter up`: those of the settings, or free ones."""

import errno
import socket
from collections.abc import Callable

from radmeter.config import Settings
from radmeter.errors import ConfigurationError, os_reason


def is_explicit(settings: Settings, name: str = "acct_port") -> bool:
    """Tell whether the operator chose the port. If so, no other port may be used."""
    return settings.source(name) not in ("default", "free")


def free_port(settings: Settings, say: Callable[..., None], name: str = "acct_port") -> int:
    """Return the settings' port. If it is taken and the operator did not choose it, return a free one.

    Parameters
    ----------
    name
        Of the setting: acct_port or auth_port.

    Raises
    ------
    ConfigurationError
        The operator chose it, and it is taken; or it cannot be used.
    """
    host, port = settings.acct_host, getattr(settings, name)
    if is_free(host, port):
        return int(port)
    if is_explicit(settings, name):
        raise ConfigurationError(
            f"{settings.source(name)}: UDP port {port} of {host} is in use; name another one"
        )
    free = any_port(host)
    say(f"UDP port {port} of {host} is in use: taking {free}")
    return free


def any_port(host: str) -> int:
    """Return a UDP port of the host that is free now."""
    with _bound(host, 0) as each:
        return int(each.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Tell whether a program could listen on the port."""
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(
                f"UDP port {port} of {host} cannot be used: {os_reason(error)}"
            ) from error
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    each = socket.socket(family, socket.SOCK_DGRAM)
    try:
        each.bind(address)
    except OSError:
        each.close()
        raise
    return each
