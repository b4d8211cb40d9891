"""The commands of radius/README.md that make 64 instances of the plugin, run on a copy of radius/."""

import re
import shutil
import subprocess
from pathlib import Path

from support.documents import block

RADIUS = Path(__file__).parents[3] / "radius"
NAMES = ["radmeter", *(f"radmeter_{number}" for number in range(2, 65))]


def test_the_commands_make_64_instances_of_one_configuration(tmp_path: Path) -> None:
    raddb = tmp_path / "raddb"
    shutil.copytree(RADIUS, raddb)
    (raddb / "mods-enabled").mkdir()
    commands = block("../radius/README.md", "instances")
    assert "/etc/freeradius/3.0" in commands
    script = "set -e\n" + commands.replace("/etc/freeradius/3.0", str(raddb))
    subprocess.run(["bash", "-c", script], check=True)

    one = re.compile(r"^python3 (\S+) \{\n(.*?)^\}\n", re.DOTALL | re.MULTILINE)
    modules = one.findall((raddb / "mods-available/radmeter").read_text())
    modules += one.findall((raddb / "mods-enabled/radmeter_more").read_text())
    assert [name for name, _ in modules] == NAMES
    assert len({body for _, body in modules}) == 1
    (balanced,) = re.findall(
        r"^\tgroup \{\n\t\tload-balance \{\n(.*?)^\t\t\}\n\n",
        (raddb / "policy.d/radmeter").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert balanced.split() == NAMES
