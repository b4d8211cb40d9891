-- radmeter.divert_session(): row trigger on FreeRADIUS's own radacct while radmeter adopt takes it over, or gives it back.
-- Open sessions are in radacct_open then, a table that inherits from radacct, where radacct's unique index does not reach:
-- what rlm_sql inserts ON CONFLICT (acctuniqueid) has to find them here. A row that is not inserted counts as none, and
-- rlm_sql goes on to its next statement, an UPDATE, which reaches all tables by the name radacct.
--   A session that is open in another of the tables: brought up to date as the packet says, octets never lowered.
--   An id that is there already, closed: left alone.
--   Taking over, and open or stopped beyond what radacct_legacy will hold: goes to radacct_open.
-- Reads radmeter.adoption; writes radacct, radacct_open.
CREATE OR REPLACE FUNCTION radmeter.divert_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_diverts boolean;
    v_boundary timestamptz;
BEGIN
    IF NEW.acctuniqueid IS NOT NULL THEN
        -- As a unique index over all the tables would: of two at once the second waits for the first.
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
