"""Where the cache of plans is found."""

from pathlib import Path

import pytest

from radmeter.errors import ConfigurationError
from radmeter.freeradius.plan_cache import Place, find


def test_the_try_out_of_the_state_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RADMETER_CACHE_PORT", "RADMETER_CACHE_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="is in no configuration"):
        find(None, tmp_path)
    file = tmp_path / "radmeter.env"
    file.write_text("RADIUS_SECRET='a b'\nRADMETER_CACHE_PORT=18199\nRADMETER_CACHE_SECRET=x1\n")
    assert find(None, tmp_path) == Place(18199, "x1")
    monkeypatch.setenv("RADMETER_CACHE_PORT", "18200")
    monkeypatch.setenv("RADMETER_CACHE_SECRET", "y")
    assert find(None, tmp_path) == Place(18200, "y")
