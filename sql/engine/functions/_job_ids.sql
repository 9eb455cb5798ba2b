-- jobengine._job_ids: new time-ordered ids (UUID version 7).
-- Transition: none
-- Returns: p_count ids of the time p_at that ascend in the order of the array.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe: 40 random bits part calls of the same 0.25 microseconds, the primary key refuses the rest.
--   Milliseconds, then 12 bits of their fraction, then 20 bits of the place in the call. PostgreSQL 18's own
--   uuidv7() ascends only within one backend and reads its own clock, so it would break the order of a bulk
--   call under a replaced _now(); one form for all versions is also one form to test.
create or replace function jobengine._job_ids(p_at timestamptz, p_count integer) returns uuid[]
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select array_agg((t.prefix || substr(to_hex(1048576 + n), 2) || t.random)::uuid order by n)
    from (
        select lpad(to_hex(us / 1000), 12, '0')
            || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
            || '8' as prefix,
            right(gen_random_uuid()::text, 10) as random
        from (select (extract(epoch from p_at) * 1000000)::bigint as us) u
    ) t
    cross join generate_series(0, p_count - 1) n
$$;
