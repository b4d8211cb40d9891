"""`radmeter simulate`: send hotspot traffic to an accounting server."""

import time

import click

from radmeter import output, waits
from radmeter.cli.common import Row, emit, format_option, with_settings
from radmeter.config import Settings
from radmeter.interruption import Interruption
from radmeter.trial.silence import Silence
from radmeter.trial.simulator import FINISH_SECONDS, Simulator

TURN_SECONDS = 0.2
COLUMNS = ["kind", "name", "mac", "bytes_in", "bytes_out"]


@click.command(
    epilog="""\b
Examples:
  radmeter simulate --seconds 10
  radmeter simulate --host 192.0.2.1 --secret s3cret --users 500 \\
    --rate 1000 --format json

\b
Exit codes: 0 everything was acknowledged, 1 something was not, 2 wrong
options or settings
"""
)
@with_settings("secret")
@click.option("--host", help="Address of the server.  [env: RADIUS_ACCT_HOST; default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Its UDP port.  [env: RADIUS_ACCT_PORT; default: 1813]"
)
@click.option(
    "--routers", default=5, show_default=True, type=click.IntRange(1, 65_536), help="How many routers send."
)
@click.option(
    "--users", default=24, show_default=True, type=click.IntRange(1, 65_536), help="How many users they have."
)
@click.option(
    "--rate",
    default=100.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Packets a second, at most.",
)
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How long to send. Then all users leave.",
)
@click.option(
    "--interim-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="Time between two Interim-Updates of a user.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same traffic.")
@format_option
def simulate(
    settings: Settings,
    host: str | None,
    port: int | None,
    routers: int,
    users: int,
    rate: float,
    seconds: float,
    interim_seconds: float,
    seed: int,
    output_format: str,
) -> None:
    """Simulate routers and users for a RADIUS accounting server. Print the bytes that it acknowledged.

    Users come, use octets, roam between routers and leave. Counters pass 4 GiB. Some packets are sent twice,
    and some replies are ignored as if they were lost. A packet without a reply is sent again until it gets
    one. At Ctrl-C all users leave at once. A second Ctrl-C stops without waiting.

    If the network says that nobody is there, it ends at once. If the server is silent for a second, it says so on
    standard error, and until when it tries.
    """
    with waits.waiting_for(f"the address of {host or settings.acct_host}"):
        simulator = Simulator(
            host=host or settings.acct_host,
            port=port or settings.acct_port,
            secret=settings.secret,
            routers=routers,
            users=users,
            rate=rate,
            interim_seconds=interim_seconds,
            seed=seed,
        )
    silence = Silence(simulator, lambda text: output.say(text, err=True))
    with Interruption() as interruption:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not interruption:
            simulator.run(min(left, TURN_SECONDS))
            silence.check(left + FINISH_SECONDS)
        # If nobody has answered yet, there is no user who could leave.
        if interruption and not simulator.heard:
            raise simulator.unacknowledged()
        with interruption.may_break(after=1 if simulator.heard else 0):
            ends = time.monotonic() + FINISH_SECONDS
            simulator.finish(turn=lambda: silence.check(ends - time.monotonic()))
    simulator.close()
    emit(_rows(simulator), output_format, columns=COLUMNS, title="acknowledged")
    counts = ", ".join(f"{count} {what}" for what, count in sorted(simulator.packets.items()))
    output.say(f"packets: {counts}", err=True)


def _rows(simulator: Simulator) -> list[Row]:
    users, routers = simulator.sent.users, simulator.sent.routers
    return [
        *({"kind": "user", "name": name, "mac": None, **usage._asdict()} for name, usage in users.items()),
        *(
            {"kind": "router", "name": each.name, "mac": each.mac, **routers[each.mac]._asdict()}
            for each in simulator.hotspots.routers
        ),
    ]
