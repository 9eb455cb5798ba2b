-- jobengine._backoff: how long to wait before the next try.
-- Transition: none
-- Returns: base * 2^(tries - 1), at most the maximum, times a random factor from 0.8 to 1.2.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe. The jitter parts jobs that failed together.
create or replace function jobengine._backoff(
    p_tries integer, p_base_seconds double precision, p_max_seconds double precision
) returns interval
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select make_interval(secs =>
        least(p_max_seconds, p_base_seconds * 2 ^ least(greatest(p_tries, 1) - 1, 60)) * (0.8 + 0.4 * random()))
$$;
