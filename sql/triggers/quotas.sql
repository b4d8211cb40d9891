-- Somebody changes a plan or a subscriber, by a command or in SQL: the users concerned are looked at soon.
-- PostgreSQL allows a trigger with transition tables only one event, so there is a trigger for each.
CREATE OR REPLACE TRIGGER _100_note_quota_change_inserted
    AFTER INSERT ON public.subscribers REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_updated
    AFTER UPDATE ON public.subscribers REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_deleted
    AFTER DELETE ON public.subscribers REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_inserted
    AFTER INSERT ON public.subscriber_plans REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_updated
    AFTER UPDATE ON public.subscriber_plans REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_deleted
    AFTER DELETE ON public.subscriber_plans REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_inserted
    AFTER INSERT ON public.top_ups REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_updated
    AFTER UPDATE ON public.top_ups REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_deleted
    AFTER DELETE ON public.top_ups REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_updated
    AFTER UPDATE ON public.plans REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_inserted
    AFTER INSERT ON public.plan_tiers REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_updated
    AFTER UPDATE ON public.plan_tiers REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_note_quota_change_deleted
    AFTER DELETE ON public.plan_tiers REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_quota_change();
CREATE OR REPLACE TRIGGER _100_queue_notices
    AFTER INSERT ON radmeter.quota_notice REFERENCING NEW TABLE AS new_notices
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.queue_notices();
