"""The quarantine file takes no more room than its limit."""

from pathlib import Path

from radmeter.plugin.quarantine import FULL, Quarantine


def test_a_full_file_is_renamed_in_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "detail"
    quarantine = Quarantine(str(path), 200)
    for turn in range(3):
        path.write_text(f"{turn}" * 99)
        quarantine.check(10.0 * turn)
        assert path.exists()
        path.write_text(f"{turn}" * 100)
        quarantine.check(10.0 * turn + 0.5)
        assert path.exists()  # once a second is enough
        quarantine.check(10.0 * turn + 1.0)
        assert not path.exists()
        assert (tmp_path / f"detail{FULL}").read_text() == f"{turn}" * 100


def test_without_a_file_or_a_limit_nothing_happens(tmp_path: Path) -> None:
    Quarantine(str(tmp_path / "none"), 200).check(0.0)
    path = tmp_path / "detail"
    path.write_text("x" * 1000)
    Quarantine(str(path), 0).check(0.0)
    assert path.exists()
