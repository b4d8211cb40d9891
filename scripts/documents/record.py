"""Records the try-out and doctor's screen, from the real programs, into docs/pictures. `./scripts/docs record` runs it.

`radmeter up` runs on a pseudo terminal, and `radmeter doctor` on another one meanwhile. It takes half a minute. What
it leaves is in a directory of its own, which is removed.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import pexpect
import pyte

from scripts.documents.screen import Lines, lines, picture

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
# It is in the pictures, so they say nothing about this checkout: what runs is a copy of it.
CHECKOUT = Path("/tmp/radmeter")  # noqa: S108, it is made here, or the script ends
STATE = CHECKOUT / "var"
# If root records: the user of FreeRADIUS, as whom doctor may try what the server does.
USER = "freerad"
SECONDS = 20
COLUMNS, ROWS = 100, 24
TABLE = "waiting in the journal"
END = "equal to the byte: "
EACH = 1.0


def spawn(rows: int, columns: int, *arguments: str, **environment: str) -> pexpect.spawn:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    for size in ("COLUMNS", "LINES", "NO_COLOR"):
        kept.pop(size, None)
    kept |= {
        "RADMETER_STATE": str(STATE),
        "PYTHONPATH": str(CHECKOUT / "src"),
        "TERM": "xterm-256color",
        **environment,
    }
    # As a person has it: one user for all, not root.
    before = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups") if os.geteuid() == 0 else ()
    command = [*before, sys.executable, "-P", "-m", "radmeter", *arguments]
    return pexpect.spawn(
        command[0],
        command[1:],
        env=kept,
        dimensions=(rows, columns),
        encoding="utf-8",
        timeout=5,
        cwd=CHECKOUT,
    )


def read(child: pexpect.spawn, stream: pyte.Stream, seconds: float) -> bool:
    """Feed a terminal for some seconds; return whether the program has ended."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            stream.feed(child.read_nonblocking(65_536, timeout=left))
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            return True
    return False


def text(screen: pyte.Screen) -> str:
    return "\n".join(screen.display)


def doctor() -> Lines:
    """Return doctor's screen; fail unless all of it is green."""
    settings = dict(
        line.removeprefix("export ").split("=", 1) for line in (STATE / "radmeter.env").read_text().split()
    )
    given = {name: settings[name].strip("'") for name in ("RADMETER_DSN", "RADMETER_JOURNAL")}
    child = spawn(60, COLUMNS, "doctor", **given)
    screen = pyte.Screen(COLUMNS, 60)
    pyte.Stream(screen).feed("$ radmeter doctor\r\n")
    while not read(child, pyte.Stream(screen), 0.5):
        pass
    child.close()
    if child.exitstatus or "yellow" in text(screen) or "unknown" in text(screen):
        sys.exit(f"doctor is not green:\n{text(screen).rstrip()}")
    # A busy machine: the try-out would have few frames, too.
    if "waiting for the check" in text(screen):
        sys.exit(f"the machine is busy, record again:\n{text(screen).rstrip()}")
    return lines(screen)


def main() -> None:
    """Record both."""
    CHECKOUT.mkdir(mode=0o755)
    for room in ("src", "sql", "radius"):
        shutil.copytree(ROOT / room, CHECKOUT / room, ignore=shutil.ignore_patterns("__pycache__"))
    if os.geteuid() == 0:
        shutil.chown(CHECKOUT, USER, USER)
    child = spawn(ROWS, COLUMNS, "up", "--seconds", str(SECONDS))
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    try:
        prompt = "$ ./scripts/run --seconds 20\r\n"
        stream.feed(prompt)
        frames: list[tuple[float, Lines]] = [(0.0, lines(screen))]
        health: Lines | None = None
        started = time.monotonic()
        ended = False
        while not ended and END not in text(screen):
            ended = read(child, stream, EACH)
            if (shown := lines(screen)) != frames[-1][1]:
                frames.append((time.monotonic() - started, shown))
            if health is None and TABLE in text(screen) and time.monotonic() - started > SECONDS:
                health = doctor()
        while not ended:
            ended = read(child, stream, EACH)
        child.close()
        if child.exitstatus or health is None:
            sys.exit(f"`radmeter up` ended with {child.exitstatus}:\n{text(screen)}")
        (PICTURES / "try-out.svg").write_text(picture("./scripts/run --seconds 20", frames, COLUMNS))
        (PICTURES / "doctor.svg").write_text(picture("radmeter doctor", [(0.0, health)], COLUMNS))
    finally:
        child.terminate()
        while child.isalive():
            read(child, stream, EACH)
        shutil.rmtree(CHECKOUT)


if __name__ == "__main__":
    main()
