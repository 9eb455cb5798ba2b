-- public._job_of_comment: the order that a deal's comment names.
-- Returns: the job's id; null for a comment that names none.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: The comment of an order is its job's id in base32, 26 characters; a broker may add to it.
create or replace function public._job_of_comment(p_comment text) returns uuid
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select (lpad(to_hex(substr(b.bits, 1, 64)::bit(64)::bigint), 16, '0')
            || lpad(to_hex(substr(b.bits, 65, 64)::bit(64)::bigint), 16, '0'))::uuid
    from (
        select string_agg(
                   (strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', substr(p_comment, i, 1)) - 1)::bit(5)::text, ''
                   order by i) as bits
        from generate_series(1, 26) i
        where p_comment ~ '^[A-Z2-7]{26}'
    ) b
$$;
