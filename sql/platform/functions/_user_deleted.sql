-- public._user_deleted: trigger that cancels the jobs of a user who goes.
-- Returns: the row.
-- Writes: order_end
-- Locks: what jobengine.cancel locks.
-- Calls: jobengine.cancel
-- Raises: JE004
-- Notes: The jobs stay until they are pruned. A running one is asked to stop; its report settles nothing any more.
create or replace function public._user_deleted() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobengine.cancel(
        p_job_ids => array(
            select r.job_id from jobengine.ready r where r.tenant_id = old.id
            union all
            select l.job_id from jobengine.lease l where l.tenant_id = old.id),
        p_reason => 'user_deleted');
    delete from public.order_end o where o.user_id = old.id;
    return old;
end;
$$;
