"""All checks, in the order of the screen. A check comes after those that it depends on."""

from radmeter.doctor import (
    activity,
    adoption,
    connection,
    freeradius,
    journal,
    migrations,
    partitions,
    roles,
    schema,
    server,
    tables,
    versions,
)
from radmeter.doctor.runner import Named

CHECKS = (
    Named("versions", versions.check, needs_database=False),
    Named("connection", connection.check),
    Named("migrations", migrations.check),
    Named("roles", roles.check, needs_schema=True),
    Named("schema", schema.check, needs_partitions=True),
    Named("triggers", tables.triggers, needs_partitions=True),
    Named("guarantees", tables.other_guarantees, needs_partitions=True),
    Named("partitions", partitions.check, needs_partitions=True),
    Named("autovacuum", tables.vacuum, needs_schema=True),
    Named("sequences", tables.sequences, needs_schema=True),
    Named("adoption", adoption.check, needs_schema=True),
    Named("freeradius", freeradius.check, needs_database=False),
    Named("journal", journal.check, needs_database=False),
    Named("shipper", journal.shipper, needs_database=False),
    Named("ingest", activity.ingest, needs_schema=True),
    Named("jobs", activity.jobs, needs_schema=True),
    Named("sessions", activity.sessions, needs_schema=True),
    Named("rejected", activity.rejected, needs_schema=True),
    Named("clocks", activity.clocks, needs_schema=True),
    Named("server", server.settings),
    Named("transactions", server.transactions),
    Named("replication", server.replication),
    Named("disk", server.disk),
)
