-- public._order_ends: keeps the status with which orders have ended, which pages by status start from.
-- Returns: nothing.
-- Writes: order_end
-- Locks: the rows of these orders; nobody waits for them, as a job ends once at a time.
-- Calls: _order_status
-- Raises: nothing
-- Notes: One that waits again, or ends another way than was known, loses its former row.
create or replace function public._order_ends(p_jobs jobengine.settled_job[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    delete from public.order_end o
    using unnest(p_jobs) j
    where j.prior_status is not null and o.user_id = j.tenant_id and o.job_id = j.job_id
      and o.status = public._order_status(j.job_type, j.prior_status, null);
    insert into public.order_end (user_id, status, job_id)
    select j.tenant_id, public._order_status(j.job_type, j.status, j.output), j.job_id
    from unnest(p_jobs) j
    where j.status <> 'pending'
    on conflict do nothing;
end;
$$;
