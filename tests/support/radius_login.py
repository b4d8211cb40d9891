"""Sends Access-Requests with FreeRADIUS's own radclient, and reads what it shows of the answers."""

import subprocess
from dataclasses import dataclass, field

SECRET = "testing123"


@dataclass(frozen=True)
class Answer:
    """The answer to an Access-Request.

    `attributes` are as radclient writes them, without quotes around texts. Those that come twice are in one text.
    """

    code: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Tell whether the user may log in."""
        return self.code == "Access-Accept"

    @property
    def limits(self) -> dict[str, str]:
        """The attributes, without those that every login has."""
        others = ("Class", "Acct-Interim-Interval", "Session-Timeout", "Message-Authenticator")
        return {name: value for name, value in self.attributes.items() if name not in others}


def quoted(octets: bytes) -> str:
    """Return octets as a text for radclient: all but letters and digits in octal."""
    return '"' + "".join(chr(o) if chr(o).isalnum() and o < 128 else f"\\{o:03o}" for o in octets) + '"'


def login(
    address: tuple[str, int], username: str | bytes, password: str | None = "secret", **attributes: str
) -> Answer:
    """Log in by PAP, or with what `attributes` say if `password` is None. Raise AssertionError without an answer."""
    octets = username.encode() if isinstance(username, str) else username
    pairs = {"User-Name": quoted(octets)}
    if password is not None:
        pairs["User-Password"] = quoted(password.encode())
    pairs |= {name.replace("_", "-"): quoted(value.encode()) for name, value in attributes.items()}
    done = subprocess.run(
        ["radclient", "-x", "-t", "10", "-r", "1", f"{address[0]}:{address[1]}", "auth", SECRET],
        input=", ".join(f"{name} = {value}" for name, value in pairs.items()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("Received Access-"):
            shown = [each.strip().partition(" = ") for each in lines[number + 1 :] if each.startswith("\t")]
            received: dict[str, str] = {}
            for name, _, text in shown:
                value = text.strip('"')
                received[name] = f"{received[name]}, {value}" if name in received else value
            return Answer(line.split()[1], received)
    raise AssertionError(f"no answer: {done.stdout}{done.stderr}")
