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
declare
    v_many text;
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    if cardinality(p_outcomes) is distinct from cardinality(p_job_ids) then
        perform jobengine._invalid('outcomes', 'one per job id');
    end if;
    v_many := case
        when cardinality(p_outputs) > cardinality(p_job_ids) then 'outputs'
        when cardinality(p_error_codes) > cardinality(p_job_ids) then 'error_codes'
        when cardinality(p_error_messages) > cardinality(p_job_ids) then 'error_messages'
        when cardinality(p_delays) > cardinality(p_job_ids) then 'delays'
    end;
    if v_many is not null then
        perform jobengine._invalid(v_many, 'at most as many elements as job_ids');
    end if;
    -- Most calls: all completed, and small. Nothing of what follows can be broken then.
    if p_error_codes is null and p_error_messages is null and p_delays is null
       and coalesce(pg_column_size(p_outputs), 0) <= 1048576
       and p_outcomes = array_fill('completed'::text, array[cardinality(p_outcomes)]) then
        return;
    end if;
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
