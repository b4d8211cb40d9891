-- Somebody gives a plan to a user, takes it away, or changes its price, by a command or in SQL: days are charged by that.
CREATE OR REPLACE TRIGGER _200_note_plan_history_inserted
    AFTER INSERT ON public.subscribers REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_history('main');
CREATE OR REPLACE TRIGGER _200_note_plan_history_updated
    AFTER UPDATE ON public.subscribers REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_history('main');
CREATE OR REPLACE TRIGGER _200_note_rename
    AFTER UPDATE ON public.subscribers
    FOR EACH ROW WHEN ((old.username <> new.username)) EXECUTE FUNCTION radmeter.note_rename('main');
CREATE OR REPLACE TRIGGER _200_rename_top_ups
    AFTER UPDATE ON public.subscribers
    FOR EACH ROW WHEN ((old.username <> new.username)) EXECUTE FUNCTION radmeter.rename_top_ups();
CREATE OR REPLACE TRIGGER _200_note_plan_history_deleted
    AFTER DELETE ON public.subscribers REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_history('main');
CREATE OR REPLACE TRIGGER _200_note_plan_history_inserted
    AFTER INSERT ON public.subscriber_plans REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_history('further');
CREATE OR REPLACE TRIGGER _200_note_plan_history_updated
    AFTER UPDATE ON public.subscriber_plans REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_history('further');
CREATE OR REPLACE TRIGGER _200_note_rename
    AFTER UPDATE ON public.subscriber_plans
    FOR EACH ROW WHEN ((old.username <> new.username)) EXECUTE FUNCTION radmeter.note_rename('further');
CREATE OR REPLACE TRIGGER _200_note_plan_history_deleted
    AFTER DELETE ON public.subscriber_plans REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_history('further');
CREATE OR REPLACE TRIGGER _200_note_plan_price_inserted
    AFTER INSERT ON public.plans REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_price();
CREATE OR REPLACE TRIGGER _200_note_plan_price_updated
    AFTER UPDATE ON public.plans REFERENCING OLD TABLE AS former_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION radmeter.note_plan_price();
CREATE OR REPLACE TRIGGER _200_note_default_zone
    AFTER UPDATE ON radmeter.setting
    FOR EACH ROW WHEN (((new.name = 'timezone'::text) AND (old.value IS DISTINCT FROM new.value)))
    EXECUTE FUNCTION radmeter.note_default_zone();
