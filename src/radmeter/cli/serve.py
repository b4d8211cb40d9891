"""`radmeter serve`: the HTTP API, the pages and the metrics."""

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
  curl localhost:8320/metrics

\b
Exit codes:
  0  ended by Ctrl-C or SIGTERM
  1  it cannot begin: the login may not serve, or the schema is too old
  2  wrong options or settings, or the address is taken
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
    "metrics_routers",
    "http_pool",
    "http_key_file",
    "archive_directory",
    "billing_directory",
    "billing_key_file",
)
@click.option("--openapi", is_flag=True, help="Print the OpenAPI document and end.")
def serve(settings: Settings, openapi: bool) -> None:
    """Serve the page of the NOC, pages for hosts, the HTTP API and metrics, to who has a key.

    \b
    /         the page of the NOC, for people who log in with a key
    /site     the page of a host, with a key of its tenant
    /api/v1/  the HTTP API, for programs that have a key
    /metrics  for Prometheus: on this machine without a key
    /readyz   whether packets are counted, and in time; /healthz: it is alive

    `radmeter keys add` makes keys. Its login in the database is a member of radmeter_api and of nothing else:
    `radmeter migrate roles --login radmeter_http=radmeter_api` makes it. It listens on this machine only, unless
    --http-listen says otherwise. It runs until SIGTERM or Ctrl-C, and then finishes the requests that are under way.
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
