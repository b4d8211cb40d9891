-- radmeter.create_staged(): makes the temporary table into which the records of a batch come, as they were sent. Nothing in
-- it is believed: radmeter.unpack_records checks what it reads. The caller may insert, and no more: only the session
-- sees the table, so the right is for everybody in it. A temporary table writes no WAL. This one is emptied at the end of
-- each transaction.
-- The columns have the names of packet/record.py, and four more:
--   reason      of a packet that cannot be counted, why; `pairs` are its attributes
--   ignored     of a packet whose status type carries no usage, why
--   new_client  the shipper has not seen the record's router from that client lately
-- Called by radmeter.prepare_table only.
CREATE OR REPLACE FUNCTION radmeter.create_staged() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    CREATE TEMPORARY TABLE staged (
        seq                  bigint,
        received_us          bigint,
        status               text,
        uid                  text,
        session_id           text,
        username             text,
        realm                text,
        nas_ip               inet,
        nas_port_id          text,
        nas_port_type        text,
        event_us             bigint,
        stamped              boolean,
        session_time         bigint,
        authentic            text,
        connect_info         text,
        input_octets         bigint,
        output_octets        bigint,
        gigawords            boolean,
        called_station_id    text,
        calling_station_id   text,
        terminate_cause      text,
        service_type         text,
        framed_protocol      text,
        framed_ip            inet,
        framed_ipv6          inet,
        framed_ipv6_prefix   inet,
        framed_interface_id  text,
        delegated_ipv6_prefix inet,
        class                text,
        router_key           text,
        router_mac           macaddr,
        nas_mac              macaddr,
        nas_identifier       text,
        router_ip            inet,
        interim_interval     integer,
        skew_seconds         bigint,
        client_ip            inet,
        reason               text,
        pairs                json,
        ignored              text,
        new_client           boolean
    ) ON COMMIT DELETE ROWS;
    -- To compress the attributes of a flood of rejected packets would take longer than to write them.
    ALTER TABLE pg_temp.staged ALTER COLUMN pairs SET STORAGE EXTERNAL;
    GRANT INSERT ON pg_temp.staged TO PUBLIC;
$$;
