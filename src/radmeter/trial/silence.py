"""Says that a RADIUS server does not answer the simulator, what is still tried, and until when."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from radmeter.errors import os_reason
from radmeter.trial.simulator import Simulator, Unacknowledged
from radmeter.units import counted

SILENT_SECONDS = 1.0


class Silence:
    """Watches a simulator while it runs. `say` takes a line."""

    def __init__(self, simulator: Simulator, say: Callable[[str], None]) -> None:
        self._simulator = simulator
        self._say = say
        self._heard = 0
        self._since = time.monotonic()
        self._said = False

    def check(self, seconds_left: float) -> None:
        """Say so, once, if the server has been silent for a second. The simulator gives up after `seconds_left`.

        Raises
        ------
        Unacknowledged
            The network says that nobody is there, and nobody has answered yet.
        """
        now, (host, port) = time.monotonic(), self._simulator.server
        refused, heard = self._simulator.refused, self._simulator.heard
        if not heard and refused is not None:
            raise Unacknowledged(
                f"nothing answers at {host} port {port} ({os_reason(refused)}): is the server running there? "
                "--host and --port name another one"
            )
        if heard > self._heard or not self._simulator.outstanding:
            if self._said:
                self._say(f"{host} port {port} answers")
            self._heard, self._since, self._said = heard, now, False
        elif not self._said and now - self._since >= SILENT_SECONDS:
            self._said = True
            until = datetime.now().astimezone() + timedelta(seconds=seconds_left)
            self._say(
                f"nothing answers at {host} port {port}{self._why()}: sending "
                f"{counted(self._simulator.outstanding, 'packet')} again until {until:%H:%M:%S}; "
                f"Ctrl-C{' twice' if heard else ''} ends it"
            )

    def _why(self) -> str:
        refused = self._simulator.refused
        if self._simulator.packets["replies not genuine"]:
            return " with this secret"
        if refused is not None:
            return f" ({os_reason(refused)})"
        return (
            ""
            if self._heard
            else " (a server is silent if the secret is wrong, or if it does not know this client)"
        )
