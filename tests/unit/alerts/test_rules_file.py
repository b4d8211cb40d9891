"""The file of rules: what it may say, and how errors name the line and the remedy."""

from pathlib import Path

import pytest

from radmeter.alerts import rules_file
from radmeter.alerts.rules import DEFAULTS, Rules
from radmeter.errors import ConfigurationError

FILE = Path("/etc/radmeter/alerts.toml")
EXAMPLE = Path(__file__).parents[3] / "deploy" / "alerts.toml"
MAIL = """
[mail]
host = "smtp.example.org"
from = "radmeter@example.org"
to = ["noc@example.org"]
"""


def test_the_example_is_what_is_built_in_and_a_mail_server() -> None:
    found = rules_file.read(EXAMPLE)
    assert found.rules == DEFAULTS.rules
    assert found.mail is not None
    assert found.mail.tls == "starttls"


def test_without_a_file_the_rules_are_built_in_and_nobody_gets_mail() -> None:
    assert rules_file.read(None) == DEFAULTS
    assert DEFAULTS.recipients(DEFAULTS.rules[0]) == []


def test_the_first_rule_about_a_router_counts() -> None:
    text = """
[[rule]]
name = "vip"
kind = "router_silent"
sites = ["Hotel *"]
interims = 2
[[rule]]
name = "others"
kind = "router_silent"
"""
    found = rules_file.parse(text, FILE)

    def named(found: Rules, site: str | None, *, discovered: bool = False) -> str | None:
        rule = found.first("router_silent", "lobby", site, discovered=discovered)
        return None if rule is None else rule.name

    assert named(found, "HOTEL Adler") == "vip"
    assert named(found, "Camp") == "others"
    assert named(found, None) == "others"
    assert named(found, "Camp", discovered=True) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]]\nname = a", "line 2: it is not TOML: Invalid value. Text is written between quotes"),
        ("\n[[rules]]\n", "line 2: unknown key 'rules': there are [mail] and [[rule]]"),
        ("[rule]\n", "line 1: each rule is a table of a list: write [[rule]]"),
        ('[[rule]]\nkind = "quota"', 'line 1: the rule has no name: write name = ".."'),
        ('[[rule]]\nname = "a"', 'line 1: the rule has no kind: write kind = ".."'),
        ('[[rule]]\nname = "a"\nkind = "siet"', "line 3: kind: allowed is one of router_silent, site_down"),
        (
            '[[rule]]\nname = "a"\nkind = "quota"\ninterim = 3',
            "line 4: unknown key 'interim'; the nearest is interims",
        ),
        (
            '[[rule]]\nname = "a"\nkind = "quota"\ninterims = 3',
            "line 4: interims is for rules of the kind router_silent",
        ),
        (
            '[[rule]]\nname = "a"\nkind = "router_silent"\n# x\ninterims = "3"',
            "line 5: interims: allowed is a number of interims from 1 to 1000",
        ),
        (
            '[[rule]]\nname = "a"\nkind = "quota"\n[[rule]]\nkind = "quota"\nname = "a"',
            "line 6: there are two rules 'a': give this one another name",
        ),
        (
            '[[rule]]\nname = "a"\nkind = "quota"\nmail = true\n',
            "line 4: there is no mail server: write a table [mail]",
        ),
        ('[[rule]]\nname = "a"\nkind = "quota"\nmail = false\n', None),
        (
            '[[rule]]\nname = "a"\nkind = "quota"\nmail = ["noc@example.org"]\n',
            "line 4: there is no mail server: write a table [mail]",
        ),
        (MAIL + "port = 0", "line 6: port: allowed is a whole number from 1 to 65535"),
        (MAIL + 'user = "u"', "line 2: user and password_file go together: write both or none"),
        (
            MAIL + 'user = "u"\npassword_file = "/p"\ntls = "none"',
            "line 8: a password is not sent in the clear: write tls",
        ),
        ('[mail]\nhost = "x"\nfrom = "noc"', "line 3: from: allowed is an address"),
        ('[[rule]]\nname = "a\\nb"\nkind = "quota"', "line 2: name: a name has 1 to 100 letters"),
        (
            '[[rule]]\nname = "a"\nkind = "quota"\nthresholds = [50]',
            "line 4: thresholds: allowed is a list of 80, 95, 100",
        ),
    ],
)
def test_an_error_names_the_line_and_the_remedy(text: str, said: str | None) -> None:
    if said is None:
        rules_file.parse(text, FILE)
        return
    with pytest.raises(ConfigurationError) as caught:
        rules_file.parse(text, FILE)
    assert str(caught.value).startswith(f"{FILE}, {said}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"alerts.toml cannot be read: No such file"):
        rules_file.read(tmp_path / "alerts.toml")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        rules_file.read(tmp_path)
    (tmp_path / "latin").write_bytes(b'# a\nname = "\xe9"')
    with pytest.raises(ConfigurationError, match="latin, line 2: it is not UTF-8"):
        rules_file.read(tmp_path / "latin")
