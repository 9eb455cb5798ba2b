-- jobengine._job_id_floor: the smallest id that a job enqueued at p_at can have.
-- Transition: none
-- Returns: a UUID that bounds ranges of job_id by time.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe.
create or replace function jobengine._job_id_floor(p_at timestamptz) returns uuid
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select rpad(lpad(to_hex(floor(extract(epoch from greatest(p_at, 'epoch')) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;
