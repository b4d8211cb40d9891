-- radmeter.divert_session(): row trigger on FreeRADIUS's own radacct while radmeter adopt adopts it, or gives it back.
-- Open sessions are then in radacct_open, a table that inherits from radacct. radacct's unique index does not cover it,
-- so this trigger must find the conflicts of rlm_sql's INSERT .. ON CONFLICT (acctuniqueid). If it returns NULL, no row
-- is inserted. rlm_sql then runs its next statement, an UPDATE, which reaches all tables by the name radacct.
--   The session is open in another table: it is updated as the packet says, and its octets are never lowered.
--   The id is there already, closed: nothing is done.
--   While radacct is adopted, an open session, or one that stopped after the boundary: it goes into radacct_open.
-- Reads radmeter.adoption; writes radacct, radacct_open.
CREATE OR REPLACE FUNCTION radmeter.divert_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_diverts boolean;
    v_boundary timestamptz;
BEGIN
    IF NEW.acctuniqueid IS NOT NULL THEN
        -- As with a unique index over all tables: of two inserts at the same time the second waits for the first.
        PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.divert ' || NEW.acctuniqueid, 0));
        UPDATE public.radacct AS session SET
            acctupdatetime = greatest(session.acctupdatetime, NEW.acctupdatetime),
            acctstoptime = NEW.acctstoptime,
            acctsessiontime = greatest(session.acctsessiontime, NEW.acctsessiontime),
            acctinputoctets = greatest(session.acctinputoctets, NEW.acctinputoctets),
            acctoutputoctets = greatest(session.acctoutputoctets, NEW.acctoutputoctets),
            acctterminatecause = coalesce(NEW.acctterminatecause, session.acctterminatecause),
            connectinfo_stop = coalesce(NEW.connectinfo_stop, session.connectinfo_stop),
            framedipaddress = coalesce(NEW.framedipaddress, session.framedipaddress)
        WHERE session.acctuniqueid = NEW.acctuniqueid AND session.acctstoptime IS NULL AND session.tableoid <> TG_RELID;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;

    SELECT state IN ('opening', 'bounding'), boundary INTO v_diverts, v_boundary
    FROM radmeter.adoption WHERE undone_at IS NULL;
    IF EXISTS (SELECT FROM public.radacct AS session
               WHERE session.acctuniqueid = NEW.acctuniqueid AND (v_diverts OR session.tableoid <> TG_RELID)) THEN
        RETURN NULL;
    END IF;
    IF v_diverts AND (NEW.acctstoptime IS NULL OR NEW.acctstoptime >= v_boundary) THEN
        INSERT INTO public.radacct_open SELECT NEW.*;
        RETURN NULL;
    END IF;
    RETURN NEW;
END;
$$;
