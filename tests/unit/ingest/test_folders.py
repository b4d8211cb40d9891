"""Segments that are moved into the folders of their journal."""

from pathlib import Path

import pytest

from radmeter.ingest import left_out_segments
from radmeter.ingest.folders import journal_of, move, segments_in
from radmeter.ingest.left_out_segments import LeftOutSegments
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile

IDENTITY = "5b8e1f0a-0000-4000-8000-000000000001"


def segment(journal: Path, content: str) -> Path:
    """Make a segment that begins with number 7. Those of copies of a journal have the same name."""
    journal.mkdir(exist_ok=True)
    path = files.segment_path(journal, 7)
    path.write_text(content)
    return path


def test_no_segment_replaces_another_one(tmp_path: Path) -> None:
    moved = [
        move(tmp_path, segment(tmp_path, content), files.SHIPPED, identity)
        for content, identity in (("a", IDENTITY), ("b", IDENTITY), ("c", IDENTITY), ("d", ""))
    ]
    assert [path.read_text() for path in moved] == ["a", "b", "c", "d"]
    assert moved[1].name == files.segment_path(tmp_path, 7, IDENTITY).name
    # All of them still have a segment's name.
    assert segments_in(tmp_path / files.SHIPPED) == sorted(SegmentFile(7, path) for path in moved)
    assert {journal_of(path) for path in moved} == {tmp_path}


def test_a_segment_with_left_out_packets_does_not_replace_one_of_a_copied_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out_segments, "LEAST_FREE_BYTES", 0)
    kept = LeftOutSegments(tmp_path, 1 << 30)
    for content in ("original", "copy"):
        assert kept.keep(SegmentFile(7, segment(tmp_path, content)))
    assert sorted(each.path.read_text() for each in kept.segments()) == ["copy", "original"]


def test_a_directory_that_is_not_there_has_no_segments(tmp_path: Path) -> None:
    path = segment(tmp_path, "")
    assert segments_in(tmp_path, tmp_path / files.AGAIN) == [SegmentFile(7, path)]
