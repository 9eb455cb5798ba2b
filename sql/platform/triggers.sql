-- What happens to rows by itself. Supabase lets the owner of a project put triggers on auth.users.
create or replace trigger jobengine_platform_user_created after insert on auth.users
    for each row execute function public._user_created();
create or replace trigger jobengine_platform_user_deleted before delete on auth.users
    for each row execute function public._user_deleted();

create or replace trigger append_only before update or delete on public.trade_events
    for each row execute function public._append_only();
create or replace trigger append_only_truncate before truncate on public.trade_events
    for each statement execute function public._append_only();
create or replace trigger append_only before update or delete on public.audit_log
    for each row execute function public._append_only();
create or replace trigger append_only_truncate before truncate on public.audit_log
    for each statement execute function public._append_only();

create or replace trigger strategy_secret before insert or update of webhook_secret, secret_digest
    on public.tv_strategies
    for each row execute function public._strategy_secret();

-- A deal is noted once, so it is counted once.
create or replace trigger deal_counted after insert on public.trade_events
    for each row when (new.deal_id is not null) execute function public._deal_counted();

create or replace trigger frozen_version before update on public.ea_versions
    for each row execute function public._frozen_version();

do $$
declare
    v_table text;
begin
    foreach v_table in array array[
        'profiles', 'user_settings', 'broker_connections', 'mt5_agents', 'ea_projects', 'ea_versions', 'ea_artifacts',
        'ea_deployments', 'tv_strategies', 'daily_pnl'
    ] loop
        execute pg_catalog.format(
            'create or replace trigger touch before update on public.%I for each row execute function public._touch()',
            v_table);
    end loop;
end;
$$;
