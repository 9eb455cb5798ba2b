-- jobengine._check_new_jobs: refuses what enqueue was given that breaks a rule.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _invalid
-- Raises: JE002
-- Concurrency: safe. The first broken rule of the first broken item is named.
create or replace function jobengine._check_new_jobs(
    p_inputs jsonb[], p_queues text[], p_priorities integer[], p_run_ats timestamptz[], p_delays double precision[],
    p_expires_ats timestamptz[], p_expires_ins double precision[], p_dedup_keys text[], p_live_keys text[],
    p_max_attempts integer[], p_lease_seconds double precision[], p_metas jsonb[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobengine._invalid(r.field, r.rule, r.item::integer)
    from unnest(p_inputs, p_queues, p_priorities, p_run_ats, p_delays, p_expires_ats, p_expires_ins,
                p_dedup_keys, p_live_keys, p_max_attempts, p_lease_seconds, p_metas) with ordinality
        as i (input, queue, priority, run_at, delay, expires_at, expires_in,
              dedup_key, live_key, max_attempts, lease_seconds, meta, item)
    cross join lateral (
        select case
            when pg_column_size(i.input) > 1048576 then array['input', 'at most 1 MiB']
            when pg_column_size(i.meta) > 1048576 then array['meta', 'at most 1 MiB']
            when jsonb_typeof(i.meta) <> 'object' then array['meta', 'a JSON object']
            when i.queue !~ '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$' then
                array['queue', '1 to 128 of A-Z a-z 0-9 . _ / : @ -, a letter or digit first']
            when i.priority not between 0 and 9 then array['priority', 'from 0 (first) to 9']
            when i.run_at is not null and i.delay is not null then array['delay', 'not together with run_at']
            when not isfinite(i.run_at) then array['run_at', 'a finite time']
            when i.delay not between 0 and 315360000 then array['delay', 'seconds from 0 to 315360000']
            when i.expires_at is not null and i.expires_in is not null then
                array['expires_in', 'not together with expires_at']
            when not isfinite(i.expires_at) then array['expires_at', 'a finite time']
            when i.expires_in <= 0 or i.expires_in > 315360000 then
                array['expires_in', 'seconds above 0, up to 315360000']
            when i.dedup_key is not null and i.live_key is not null then
                array['live_key', 'not together with dedup_key']
            when length(i.dedup_key) not between 1 and 500 then array['dedup_key', '1 to 500 characters']
            when length(i.live_key) not between 1 and 500 then array['live_key', '1 to 500 characters']
            when i.max_attempts not between 1 and 1000 then array['max_attempts', 'from 1 to 1000']
            when i.lease_seconds not between 0.1 and 86400 then array['lease_seconds', 'from 0.1 to 86400']
        end) c (broken)
    cross join lateral (values (c.broken[1], c.broken[2], i.item)) r (field, rule, item)
    where c.broken is not null
    order by r.item limit 1;
end;
$$;
