-- radmeter.prepare_incoming(): makes sure that the temporary table for the unpacked records of a batch is there, empty, and
-- radmeter's own (radmeter.prepare_table).
-- Called by radmeter.unpack_records only. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.prepare_incoming() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM radmeter.drop_old_incoming();
    PERFORM radmeter.prepare_table('incoming', false);
END;
$$;
