-- jobengine._finish_verdict: what to say to a report that changes nothing.
-- Transition: none
-- Returns: verdict and the job's status: `duplicate`, `conflict`, `stale_lease` or `not_found`.
-- Writes: nothing
-- Locks: nothing
-- Calls: _strayed
-- Raises: nothing
-- Concurrency: safe. A repeated failure is known by the row its first report left, whatever came after: newer
--   leases, or an end in waiting. Only an unknown job that was resolved as completed says `conflict` to it.
create or replace function jobengine._finish_verdict(
    p_job_id uuid, p_lease_epoch integer, p_outcome text, out verdict text, out status text
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ended jobengine.ended;
    v_said text := case
        when p_outcome = 'rejected' then 'failed'
        when p_outcome = 'unknown' and exists (
            select from jobengine.job j where j.job_id = p_job_id and j.delivery = 'at_least_once') then 'failed'
        else p_outcome end;
begin
    select * into v_ended from jobengine.ended e where e.job_id = p_job_id;
    status := v_ended.status;
    if v_ended.lease_epoch = p_lease_epoch and v_ended.status = v_said then
        verdict := 'duplicate';
    elsif v_said = 'failed' and (v_ended.lease_epoch = p_lease_epoch and v_ended.status = 'completed') is not true
        and exists (
            select from jobengine.failure f
            where f.job_id = p_job_id and f.lease_epoch = p_lease_epoch and f.reported_by = 'holder') then
        verdict := 'duplicate';
    elsif v_ended.lease_epoch = p_lease_epoch then
        verdict := 'conflict';
    else
        verdict := jobengine._strayed(p_job_id);
    end if;
end;
$$;
