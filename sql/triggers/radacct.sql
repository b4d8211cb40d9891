-- Triggers on the table keep the counters, so that these are right after every writer: ingest, the reaper, rlm_sql, an
-- operator's UPDATE. Statement triggers with transition tables see a batch as one set. On the partitioned table, an
-- UPDATE that moves a row between partitions is an update for them, too (PostgreSQL manual, CREATE TRIGGER).
CREATE OR REPLACE TRIGGER _100_count_inserted
    AFTER INSERT ON public.radacct
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.count_inserted();

CREATE OR REPLACE TRIGGER _100_count_updated
    AFTER UPDATE ON public.radacct
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.count_updated();
