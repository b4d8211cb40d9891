"""The files of others that the pages load are those that the list names, and the list names all of them."""

import hashlib
import tomllib
from pathlib import Path

import radmeter

VENDOR = Path(radmeter.__file__).parent / "api" / "noc" / "static" / "vendor"
LISTED = tomllib.loads((VENDOR / "VERSIONS.toml").read_text())["file"]


def test_the_files_are_those_of_their_packages() -> None:
    for each in LISTED:
        assert hashlib.sha256((VENDOR / each["name"]).read_bytes()).hexdigest() == each["sha256"], each[
            "name"
        ]


def test_each_file_is_listed_with_its_licence() -> None:
    named = {each["name"] for each in LISTED} | {each["licence_file"] for each in LISTED} | {"VERSIONS.toml"}
    assert {each.name for each in VENDOR.iterdir()} == named


def test_no_page_has_a_script_or_a_style_of_its_own() -> None:
    for template in (VENDOR.parent.parent / "templates").rglob("*.html"):
        text = template.read_text().lower()
        assert " style=" not in text, template
        assert "<style" not in text, template
        assert " onclick" not in text, template
        assert text.count("<script") == text.count("<script defer src="), template
        assert "|safe" not in text, template
        assert "http://" not in text, template
        assert "https://" not in text, template
