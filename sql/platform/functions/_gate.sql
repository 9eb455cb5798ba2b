-- public._gate: whether an order that opens a position may go.
-- Returns: null, or the code of the refusal.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._gate(
    p_user_id uuid, p_symbol text, p_volume numeric, p_loss_limit_pct numeric
) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case when p_volume > u.max_volume then 'volume_out_of_range' end
    from public.user_settings u where u.user_id = p_user_id
$$;
