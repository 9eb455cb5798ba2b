-- jobengine.sweep: takes back run-out leases, ends what has expired and settles again what failed to settle.
-- Transition: pending → expired; claimed → pending | failed | expired;
--   running → pending | failed | cancelled | unknown | expired
-- Returns: one row of counts: returned to wait, ended, settled; and `more`: a limit was met, call again.
-- Writes: waiting
-- Locks: a transaction-level try-lock: one sweep at a time, another answers zeros at once; row locks by _sweep_*.
-- Calls: _now, _sweep_leases, _sweep_ready, _sweep_settles, _invalid
-- Raises: JE002
-- Concurrency: any process may run it at any time; it skips rows that others hold, so it waits for nobody but a
--   parent, 2 s at most. p_limit bounds each of its three parts.
create or replace function jobengine.sweep(p_limit integer default 1000)
returns table (returned integer, ended integer, settled integer, more boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_leases record;
    v_expired integer;
    v_settles record;
begin
    perform jobengine._invalid('limit', 'from 1 to 100000') where p_limit is null or p_limit not between 1 and 100000;
    if not pg_try_advisory_xact_lock(hashtextextended('jobengine/sweep', 0)) then
        return query select 0, 0, 0, false;
        return;
    end if;
    v_now := jobengine._now();
    select * into v_leases from jobengine._sweep_leases(p_limit, v_now);
    v_expired := jobengine._sweep_ready(p_limit, v_now);
    select * into v_settles from jobengine._sweep_settles(p_limit, v_now);
    delete from jobengine.waiting w where w.until < v_now;
    return query
    select v_leases.returned, v_leases.ended + v_expired, v_settles.settled,
           v_leases.returned + v_leases.ended >= p_limit or v_expired >= p_limit or v_settles.tried >= p_limit;
end;
$$;
