-- radmeter.guard_audit(): the trigger that refuses to change audit_log and its chain, also for the owner (RM007).
-- What may change: the detail of a line, where an erasure under way puts its pseudonym for the name, and nothing else;
-- then the salts of what the line was; and the head, which moves on to a row of the chain.
-- Who may alter the table can disable the trigger. The chain shows what was changed then.
-- Reads radmeter.erasure, radmeter.audit_chain.
CREATE OR REPLACE FUNCTION radmeter.guard_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_RELID = to_regclass('public.audit_log') THEN
        IF (NEW.id, NEW.at, NEW.who, NEW.operator, NEW.action) IS NOT DISTINCT FROM
                (OLD.id, OLD.at, OLD.who, OLD.operator, OLD.action)
                AND EXISTS (SELECT FROM radmeter.erasure
                            WHERE NEW.detail = radmeter.without_name(OLD.detail, username, pseudonym)) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' AND TG_RELID = to_regclass('radmeter.audit_chain') THEN
        IF NEW.salt IS NULL
                AND (NEW.position, NEW.audit_id, NEW.rewrites, NEW.content, NEW.digest, NEW.chained_at)
                  = (OLD.position, OLD.audit_id, OLD.rewrites, OLD.content, OLD.digest, OLD.chained_at)
                AND EXISTS (SELECT FROM radmeter.audit_chain WHERE audit_id = OLD.audit_id AND position > OLD.position) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.is_head AND NEW.position >= OLD.position
                AND EXISTS (SELECT FROM radmeter.audit_chain WHERE position = NEW.position AND digest = NEW.digest) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '%.% is append-only: a line that was written never changes and is never removed',
        TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'RM007';
END;
$$;
