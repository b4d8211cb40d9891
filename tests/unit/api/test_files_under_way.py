"""Files that clients take slowly lie on the disk: a key may have some, and no more."""

from contextlib import ExitStack
from typing import Any, cast

import pytest

from radmeter.api.callers import Caller
from radmeter.api.files import MOST_FILES_OF_A_KEY, Files
from radmeter.api.problems import Problem


def test_a_key_has_some_files_under_way_and_no_more() -> None:
    files = Files(cast("Any", None))
    slow, other = (Caller(key_id=each, name=each, role="reader") for each in ("slow", "other"))
    with ExitStack() as under_way:
        for _ in range(MOST_FILES_OF_A_KEY):
            under_way.enter_context(files.one_more(slow))
        with pytest.raises(Problem) as refused, files.one_more(slow):
            pass
        assert (refused.value.status, refused.value.kind) == (429, "too-many-files")
        assert "retry-after" in refused.value.headers
        with files.one_more(other):
            pass
    with files.one_more(slow):
        pass
    assert not files._of_keys
