"""The routes of the API, a resource a file. ROUTES of each file are values of `radmeter.api.route.Route`."""

import importlib
import pkgutil

from radmeter.api.route import Route


def all_routes() -> list[Route]:
    """Return the routes of all files here, by path and method."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        found += importlib.import_module(f"{__name__}.{module.name}").ROUTES
    return sorted(found, key=lambda route: (route.path, route.method))
