"""The journal's files, each by itself."""

import os
import stat
from pathlib import Path

from radmeter.plugin.journal import files


def test_a_file_is_made_in_place_of_what_a_crash_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    left = tmp_path / ".new-node"
    left.write_text("half of a na", encoding="utf-8")
    kept_open = left.open("rb")
    descriptor = files.create_file(left)
    os.write(descriptor, b"whole\n")
    os.close(descriptor)
    assert left.read_bytes() == b"whole\n"
    assert stat.S_IMODE(left.stat().st_mode) == 0o640
    # Whoever reads the old one goes on with that.
    with kept_open:
        assert kept_open.read() == b"half of a na"


def test_a_node_keeps_its_name_through_a_rewrite_that_was_cut_off(tmp_path: Path) -> None:
    assert files.read_node(tmp_path) is None
    files.write_node(tmp_path, "radius1-00000001")
    files.unfinished_path(tmp_path / "node").write_text("radi", encoding="utf-8")
    assert files.read_node(tmp_path) == "radius1-00000001"
    files.write_node(tmp_path, "radius1-00000002")
    assert files.read_node(tmp_path) == "radius1-00000002"
    assert [path.name for path in tmp_path.iterdir()] == ["node"]
