"""Measures how much memory a piece of code takes, in a process of its own."""

import subprocess
import sys
from pathlib import Path

# VmHWM and not ru_maxrss: that one begins with the memory of the process that started this one (Linux, exec).
_PROGRAM = """
import sys
{imports}

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

before = peak()
{code}
print(peak() - before)
"""


def peak_bytes(imports: str, code: str, *arguments: str | Path) -> int:
    """Run code that sees `arguments` as sys.argv[1:]. Return by how much its memory grew at most, without imports."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(imports=imports, code=code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
