"""`radmeter serve`: the HTTP API."""

import json
import logging

import click

from radmeter import output
from radmeter.cli.common import ServiceCommand, existing_database, require_extra, with_settings
from radmeter.config import Settings
from radmeter.plugin.config_file import described
from radmeter.secret_files import close_memory

log = logging.getLogger(__name__)


@click.command(
    cls=ServiceCommand,
    epilog="""\b
Examples:
  radmeter serve
  radmeter serve --http-listen 0.0.0.0:8443 --http-tls-cert tls.crt \\
      --http-tls-key tls.key
  curl -H "Authorization: Bearer $KEY" localhost:8320/api/v1/routers
""",
)
@with_settings(
    "state",
    "dsn",
    "read_dsn",
    "http_listen",
    "http_tls_cert",
    "http_tls_key",
    "http_proxies",
    "http_proxy_role",
    "journal",
    "http_pool",
    "http_key_file",
    "archive_directory",
    "billing_directory",
    "billing_key_file",
)
@click.option("--openapi", is_flag=True, help="Print the OpenAPI document and end.")
def serve(settings: Settings, openapi: bool) -> None:
    """Serve the HTTP API, to programs that have a key.

    `radmeter keys add` makes keys. It listens on this machine only, unless --http-listen says otherwise. It runs until
    SIGTERM or Ctrl-C, and then finishes the requests that are under way.
    """
    require_extra("starlette", "serve")
    if openapi:
        from radmeter.api.openapi import document
        from radmeter.api.routes import all_routes

        output.document(json.dumps(document(all_routes()), indent=2, ensure_ascii=False) + "\n")
        return
    from radmeter.api import server

    close_memory()
    log.info("%s", described(settings.file))
    with existing_database(settings) as dsn:
        server.run(settings, dsn, lambda address: log.info("listening on %s", address))
