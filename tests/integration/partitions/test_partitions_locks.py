"""Partitions that are made and taken away beside others who need them."""

import psycopg
from support.beside import Beside, call
from support.servers import Connection

ENSURE = "SELECT radmeter.ensure_partition('2031-05-05Z')"
MADE = "SELECT count(*) FROM pg_inherits WHERE inhrelid::regclass::text ~ '^radacct_2031_05'"


# Whoever makes a table stops here, having looked what there is, until the test lets it on.
PAUSE = """
CREATE FUNCTION public.pause() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); END $$;
GRANT EXECUTE ON FUNCTION public.pause() TO PUBLIC;
CREATE EVENT TRIGGER pause ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.pause()"""


def test_a_month_that_two_miss_at_once_is_made_once(database: str, connection: Connection) -> None:
    connection.execute(PAUSE)
    with psycopg.connect(database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(77)")
        with Beside(database, call(ENSURE)) as first:
            assert first.waits_for(holder)
            with Beside(database, call(ENSURE)) as second:
                waited = second.waits_for(first.connection, holder)
                holder.execute("SELECT pg_advisory_unlock(77)")
                assert (first.result(), second.result()) == (True, False)
    assert connection.execute(MADE).fetchone() == (1,)
    assert waited


def test_a_month_that_was_found_stays_until_it_was_written_to(database: str, connection: Connection) -> None:
    connection.execute(ENSURE)
    insert = """
        INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctstoptime)
        VALUES ('s', 's', '10.0.0.1', '2031-05-05Z', '2031-05-05Z')"""
    with psycopg.connect(database) as writer:
        assert writer.execute(ENSURE).fetchone() == (False,)
        detach = "ALTER TABLE radacct DETACH PARTITION radacct_2031_05"
        with Beside(database, lambda beside: beside.execute(detach)) as archiving:
            waited = archiving.waits_for(writer)
            writer.execute(insert)
            writer.commit()
            archiving.result()
    assert connection.execute("SELECT acctuniqueid FROM radacct_2031_05").fetchall() == [("s",)]
    assert waited
