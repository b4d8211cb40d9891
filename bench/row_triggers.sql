-- Row triggers on the stock radacct, with which rlm_sql keeps the same two counters.
-- They are as cheap as row triggers can be: one function, cached plans, the router found by equality on an index.
CREATE TABLE routers (
    id    bigint PRIMARY KEY,
    name  text NOT NULL UNIQUE,
    mac   macaddr NOT NULL UNIQUE
);
CREATE TABLE user_quota_usage (
    username      text NOT NULL,
    period_start  date NOT NULL,
    bytes_in      bigint NOT NULL DEFAULT 0,
    bytes_out     bigint NOT NULL DEFAULT 0,
    last_updated  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (username, period_start)
) WITH (fillfactor = 70);
CREATE TABLE router_daily_usage (
    router_id     bigint NOT NULL REFERENCES routers (id),
    usage_date    date NOT NULL,
    bytes_in      bigint NOT NULL DEFAULT 0,
    bytes_out     bigint NOT NULL DEFAULT 0,
    last_updated  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (router_id, usage_date)
) WITH (fillfactor = 50);

CREATE FUNCTION count_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_in  bigint := coalesce(NEW.acctinputoctets, 0);
    v_out bigint := coalesce(NEW.acctoutputoctets, 0);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        v_in := v_in - coalesce(OLD.acctinputoctets, 0);
        v_out := v_out - coalesce(OLD.acctoutputoctets, 0);
    END IF;
    IF v_in = 0 AND v_out = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO user_quota_usage AS usage (username, period_start, bytes_in, bytes_out)
    VALUES (NEW.username, date_trunc('month', NEW.acctupdatetime, 'UTC')::date, v_in, v_out)
    ON CONFLICT (username, period_start) DO UPDATE SET
        bytes_in = usage.bytes_in + excluded.bytes_in,
        bytes_out = usage.bytes_out + excluded.bytes_out,
        last_updated = excluded.last_updated;
    INSERT INTO router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
    SELECT id, (NEW.acctupdatetime AT TIME ZONE 'UTC')::date, v_in, v_out
    FROM routers WHERE mac = left(NEW.calledstationid, 17)::macaddr
    ON CONFLICT (router_id, usage_date) DO UPDATE SET
        bytes_in = usage.bytes_in + excluded.bytes_in,
        bytes_out = usage.bytes_out + excluded.bytes_out,
        last_updated = excluded.last_updated;
    RETURN NULL;
END;
$$;
CREATE TRIGGER count_inserted AFTER INSERT ON radacct FOR EACH ROW EXECUTE FUNCTION count_row();
CREATE TRIGGER count_updated AFTER UPDATE OF acctinputoctets, acctoutputoctets ON radacct
    FOR EACH ROW EXECUTE FUNCTION count_row();
