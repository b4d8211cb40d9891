-- What is issued never changes, and nothing that it names disappears. These triggers bind everybody, the owner as well.
CREATE OR REPLACE TRIGGER _100_guard_invoice
    BEFORE DELETE OR UPDATE ON public.invoices
    FOR EACH ROW EXECUTE FUNCTION radmeter.guard_invoice();
CREATE OR REPLACE TRIGGER _100_guard_truncate
    BEFORE TRUNCATE ON public.invoices
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_part_inserted
    AFTER INSERT ON public.invoice_lines REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_part();
CREATE OR REPLACE TRIGGER _100_guard_part_updated
    AFTER UPDATE ON public.invoice_lines REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_part();
CREATE OR REPLACE TRIGGER _100_guard_part_deleted
    AFTER DELETE ON public.invoice_lines REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_part();
CREATE OR REPLACE TRIGGER _100_guard_truncate
    BEFORE TRUNCATE ON public.invoice_lines
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_part_inserted
    AFTER INSERT ON public.invoice_usage REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_part();
CREATE OR REPLACE TRIGGER _100_guard_part_updated
    AFTER UPDATE ON public.invoice_usage REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_part();
CREATE OR REPLACE TRIGGER _100_guard_part_deleted
    AFTER DELETE ON public.invoice_usage REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_part();
CREATE OR REPLACE TRIGGER _100_guard_truncate
    BEFORE TRUNCATE ON public.invoice_usage
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_kept
    BEFORE DELETE OR UPDATE OR TRUNCATE ON public.credit_notes
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_kept
    BEFORE DELETE OR UPDATE OR TRUNCATE ON public.credit_note_lines
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_credit_lines
    AFTER INSERT ON public.credit_note_lines REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_credit_lines();
CREATE OR REPLACE TRIGGER _100_guard_kept
    BEFORE UPDATE ON radmeter.billing_close
    FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_truncate
    BEFORE TRUNCATE ON radmeter.billing_close
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_number
    BEFORE UPDATE ON radmeter.document_number
    FOR EACH ROW EXECUTE FUNCTION radmeter.guard_number();
CREATE OR REPLACE TRIGGER _100_guard_kept
    BEFORE DELETE OR TRUNCATE ON radmeter.document_number
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_kept();
CREATE OR REPLACE TRIGGER _100_guard_recipient
    BEFORE DELETE ON radmeter.tenants
    FOR EACH ROW EXECUTE FUNCTION radmeter.guard_recipient();
CREATE OR REPLACE TRIGGER _100_guard_truncate
    BEFORE TRUNCATE ON radmeter.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_recipient();
CREATE OR REPLACE TRIGGER _100_guard_recipient
    BEFORE DELETE ON public.routers
    FOR EACH ROW EXECUTE FUNCTION radmeter.guard_recipient();
CREATE OR REPLACE TRIGGER _100_guard_truncate
    BEFORE TRUNCATE ON public.routers
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.guard_recipient();
