"""Spreads the packets that come to one UDP port over the ports of several programs, by nftables in the kernel."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

TABLE = "radmeter_bench"

# The generator sends from this host, so its packets pass the output hook. A flow is an address and port of the sender.
# Here each one goes to the next program in turn, so that a few senders are spread evenly. deploy/several has the rules
# for real routers, whose addresses are hashed.
RULES = """
table ip {table}
delete table ip {table}
table ip {table} {{
    chain output {{
        type nat hook output priority -100; policy accept;
        udp dport {port} redirect to : numgen inc mod {count} map {{ {places} }}
    }}
}}
"""


def possible() -> bool:
    """Tell whether this process may write rules of nftables."""
    program = shutil.which("nft")
    if program is None:
        return False
    return subprocess.run([program, "list", "tables"], capture_output=True, check=False).returncode == 0


@contextmanager
def redirected(port: int, ports: Sequence[int]) -> Iterator[None]:
    """Give each flow to `port` to one of `ports`, for the block. Raises RuntimeError if that is not permitted."""
    places = ", ".join(f"{number} : {one}" for number, one in enumerate(ports))
    _nft(RULES.format(table=TABLE, port=port, count=len(ports), places=places))
    try:
        yield
    finally:
        _nft(f"delete table ip {TABLE}")


def _nft(rules: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=rules, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nftables refuses the rules, which need root: {done.stderr.strip()}")
