"""The instances of radmeter's module in a server's configuration, and the settings that they have."""

from collections.abc import Mapping
from pathlib import Path

from radmeter.freeradius.raddb import Section, expanded, variables
from radmeter.plugin.config_file import PACKAGE
from radmeter.plugin.settings import PluginSettings, read_settings

PLUGIN = "radmeter.plugin"


def modules(root: Section) -> dict[str, Section]:
    """Return the modules that a configuration enables, by the names of their instances."""
    found = [section for each in root.all("modules") for section in each.sections]
    return {section.argument or section.name: section for section in found}


def instances(root: Section) -> dict[str, Section]:
    """Return those of the modules that are radmeter's."""
    return {
        name: module
        for name, module in modules(root).items()
        if module.name == "python3" and module.value("module") == PLUGIN
    }


def packages(instance: Section, root: Section, environment: Mapping[str, str]) -> list[Path]:
    """Return the packages `radmeter` in an instance's python_path. The server imports the first one."""
    path = expanded(instance.value("python_path") or "", root, environment)
    places = [Path(place) / "radmeter" for place in path.split(":") if place]
    return [place for place in places if (place / "plugin").is_dir()]


def settings_of(instance: Section, root: Section, environment: Mapping[str, str]) -> PluginSettings:
    """Return the settings that a server gives an instance when it starts with this environment.

    Raises
    ------
    ConfigurationError
        The instance would refuse to start. The message says why.
    """
    config = next((section for section in instance.sections if section.name == "config"), None)
    given = {item.name: expanded(item.value, root, environment) for item in config.items} if config else {}
    package = next(iter(packages(instance, root, environment)), PACKAGE)
    return read_settings(given, variables(root, environment), package)
