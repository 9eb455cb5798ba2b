-- jobengine._check_items: refuses a list of leases that names no lease, too many, or half of one.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _invalid
-- Raises: JE002
-- Concurrency: safe.
create or replace function jobengine._check_items(p_job_ids uuid[], p_lease_epochs integer[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(cardinality(p_job_ids), 0) not between 1 and 10000 or array_position(p_job_ids, null) is not null then
        perform jobengine._invalid('job_ids', 'from 1 to 10000 ids, none null');
    elsif cardinality(p_lease_epochs) is distinct from cardinality(p_job_ids)
       or array_position(p_lease_epochs, null) is not null then
        perform jobengine._invalid('lease_epochs', 'one per job id, none null');
    end if;
end;
$$;
