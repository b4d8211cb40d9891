-- PostgreSQL has no CREATE OR REPLACE for a deferred trigger, and to make it locks audit_log: it is made once. Then
-- the lines from before are chained.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_log'::regclass AND tgname = '_200_chain_inserted'
                     AND tgfoid = 'radmeter.chain_inserted()'::regprocedure AND tginitdeferred) THEN
        DROP TRIGGER IF EXISTS _200_chain_inserted ON public.audit_log;
        CREATE CONSTRAINT TRIGGER _200_chain_inserted
            AFTER INSERT ON public.audit_log DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION radmeter.chain_inserted();
        PERFORM radmeter.chain_earlier_lines();
    END IF;
END;
$$;
