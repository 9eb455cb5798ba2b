-- public._check_gate: refuses an order of a user that breaks a rule of the gate.
-- Returns: nothing.
-- Writes: nothing
-- Locks: what _gate locks.
-- Calls: _gate, _refuse
-- Raises: FX422, FX503
-- Notes: FX503 is for what passes by itself.
create or replace function public._check_gate(
    p_user_id uuid, p_symbol text, p_volume numeric, p_broker_connection_id uuid
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_code text := public._gate(p_user_id, p_symbol, p_volume, null, p_broker_connection_id);
begin
    if v_code is not null then
        perform public._refuse(case v_code when 'broker_errors' then 'FX503' else 'FX422' end, v_code);
    end if;
end;
$$;
