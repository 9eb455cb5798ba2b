-- public.settle_close_position: notes in trade_events what became of close_position jobs.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _order_events
-- Raises: nothing
create or replace function public.settle_close_position(p_jobs jobengine.settled_job[]) returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select public._order_events(p_jobs)
$$;
