-- public.settings_update: changes the settings of the user who calls.
-- Returns: profile and settings.
-- Writes: profiles, user_settings
-- Locks: the user's rows.
-- Calls: _user, _check_settings, settings_get, audit
-- Raises: FX404, FX422
-- Notes: A field that p_changes does not name stays; null clears it.
create or replace function public.settings_update(p_changes jsonb) returns setof public.settings
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    perform public._check_settings(p_changes);
    perform public.audit('settings_update', p_changes);
    update public.profiles p
    set display_name = case when p_changes ? 'display_name' then p_changes ->> 'display_name' else p.display_name end,
        timezone = coalesce(p_changes ->> 'timezone', p.timezone)
    where p.id = v_user_id;
    update public.user_settings s
    set trading_state = coalesce(n.trading_state, s.trading_state),
        daily_loss_limit_pct = case when p_changes ? 'daily_loss_limit_pct'
            then n.daily_loss_limit_pct else s.daily_loss_limit_pct end,
        risk_per_trade_pct = case when p_changes ? 'risk_per_trade_pct'
            then n.risk_per_trade_pct else s.risk_per_trade_pct end,
        max_volume = case when p_changes ? 'max_volume' then n.max_volume else s.max_volume end,
        default_volume = case when p_changes ? 'default_volume' then n.default_volume else s.default_volume end,
        max_open_positions = case when p_changes ? 'max_open_positions'
            then n.max_open_positions else s.max_open_positions end,
        max_orders_per_minute = case when p_changes ? 'max_orders_per_minute'
            then n.max_orders_per_minute else s.max_orders_per_minute end
    from jsonb_to_record(p_changes) n (
        trading_state text, daily_loss_limit_pct numeric, risk_per_trade_pct numeric, max_volume numeric,
        default_volume numeric, max_open_positions integer, max_orders_per_minute integer)
    where s.user_id = v_user_id;
    return query select s.* from public.settings_get() s;
end;
$$;
