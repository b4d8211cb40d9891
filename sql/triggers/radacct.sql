-- The counters are kept by triggers on the table, so that every writer keeps them right: ingest, the reaper, an operator's
-- UPDATE, rlm_sql. Statement triggers with transition tables see a batch as one set; on the partitioned table they also see
-- a row that an UPDATE moves between partitions as the update that it is (PostgreSQL manual, CREATE TRIGGER).
CREATE OR REPLACE TRIGGER _100_count_inserted
    AFTER INSERT ON public.radacct
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.count_inserted();

CREATE OR REPLACE TRIGGER _100_count_updated
    AFTER UPDATE ON public.radacct
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.count_updated();
