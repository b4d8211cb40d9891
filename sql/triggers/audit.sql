-- audit_log and its chain only grow.
CREATE OR REPLACE TRIGGER _100_guard
    BEFORE DELETE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_audit();
CREATE OR REPLACE TRIGGER _100_guard_rows
    BEFORE UPDATE ON public.audit_log FOR EACH ROW EXECUTE FUNCTION radmeter.guard_audit();
CREATE OR REPLACE TRIGGER _200_chain_rewritten
    AFTER UPDATE ON public.audit_log REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.chain_rewritten();
CREATE OR REPLACE TRIGGER _100_guard
    BEFORE DELETE OR TRUNCATE ON radmeter.audit_chain FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_audit();
CREATE OR REPLACE TRIGGER _100_guard_rows
    BEFORE UPDATE ON radmeter.audit_chain FOR EACH ROW EXECUTE FUNCTION radmeter.guard_audit();
CREATE OR REPLACE TRIGGER _100_guard
    BEFORE DELETE OR TRUNCATE ON radmeter.audit_head FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_audit();
CREATE OR REPLACE TRIGGER _100_guard_rows
    BEFORE UPDATE ON radmeter.audit_head FOR EACH ROW EXECUTE FUNCTION radmeter.guard_audit();
