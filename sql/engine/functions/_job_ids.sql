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
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_us bigint := (extract(epoch from p_at) * 1000000)::bigint;
    v_prefix text := lpad(to_hex(v_us / 1000), 12, '0')
        || '7' || lpad(to_hex(v_us % 1000 * 4096 / 1000), 3, '0')
        || '8';
    v_random text := right(gen_random_uuid()::text, 10);
begin
    if p_count = 1 then    -- most calls; as an SQL function it was planned anew for each
        return array[(v_prefix || '00000' || v_random)::uuid];
    end if;
    return array(
        select (v_prefix || substr(to_hex(1048576 + n), 2) || v_random)::uuid
        from generate_series(0, p_count - 1) n
        order by n);
end;
$$;
