-- jobengine._check_reports: checks the arguments of finish.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _check_items, _invalid
-- Raises: JE002
-- Concurrency: safe.
create or replace function jobengine._check_reports(
    p_job_ids uuid[], p_lease_epochs integer[], p_outcomes text[], p_outputs jsonb[],
    p_error_codes text[], p_error_messages text[], p_delays double precision[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    perform jobengine._invalid('outcomes', 'one per job id')
    where cardinality(p_outcomes) is distinct from cardinality(p_job_ids);
    perform jobengine._invalid(f.field, 'at most as many elements as job_ids')
    from (values ('outputs', cardinality(p_outputs)), ('error_codes', cardinality(p_error_codes)),
                 ('error_messages', cardinality(p_error_messages)), ('delays', cardinality(p_delays)))
        f (field, elements)
    where f.elements > cardinality(p_job_ids);
    perform jobengine._invalid(c.broken[1], c.broken[2], i.item::integer)
    from unnest(p_outcomes, p_outputs, p_error_codes, p_error_messages, p_delays) with ordinality
        as i (outcome, output, error_code, error_message, delay, item)
    cross join lateral (
        select case
            when i.outcome is null
                or i.outcome not in ('completed', 'failed', 'rejected', 'snooze', 'cancelled', 'unknown') then
                array['outcome', 'completed, failed, rejected, snooze, cancelled or unknown']
            when pg_column_size(i.output) > 1048576 then array['output', 'at most 1 MiB']
            when length(i.error_code) > 200 then array['error_code', 'at most 200 characters']
            when length(i.error_message) > 10000 then array['error_message', 'at most 10000 characters']
            when i.delay not between 0 and 315360000 then array['delay', 'seconds from 0 to 315360000']
        end) c (broken)
    where c.broken is not null
    order by i.item
    limit 1;
end;
$$;
