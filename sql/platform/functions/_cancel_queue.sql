-- public._cancel_queue: cancels the jobs of a user's queue that nobody serves any more.
-- Returns: nothing.
-- Writes: nothing
-- Locks: what jobengine.cancel locks.
-- Calls: jobengine.cancel
-- Raises: JE004
-- Notes: What waits, and what would wait again when its lease runs out: jobs that are not begun, and begun ones that
--   can be done again, whose holder is asked to stop. An order that is begun is left alone: it becomes unknown, as
--   `cancelled` would say that it was not sent.
create or replace function public._cancel_queue(p_user_id uuid, p_queue text, p_reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobengine.cancel(
        p_job_ids => array(
            select r.job_id from jobengine.ready r where r.tenant_id = p_user_id and r.queue = p_queue
            union all
            select l.job_id from jobengine.lease l
            where l.tenant_id = p_user_id and l.queue = p_queue
              and (l.started_at is null or l.delivery = 'at_least_once')),
        p_reason => p_reason);
end;
$$;
