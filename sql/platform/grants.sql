-- Who may do what. Every function and every table of ours has its row, and what it does not say is taken away:
-- PostgreSQL lets everybody execute new functions, Supabase gives its three roles every new function and table.
-- `anon` has nothing. No role needs BYPASSRLS: each table has a policy for service_role.
do $$
declare
    v_grant record;
begin
    for v_grant in
        select p.oid::regprocedure as signature, g.roles
        from (values
            ('agent_pair',               'authenticated'),
            ('agent_rotate_key',         'authenticated'),
            ('agent_revoke',             'authenticated'),
            ('agent_list',               'authenticated'),
            ('agent_status',             'authenticated, service_role'),
            ('agent_credentials',        'service_role'),
            ('agent_of_key',             'service_role'),
            ('strategy_by_secret',       'service_role'),
            ('strategy_create',          'authenticated'),
            ('strategy_update',          'authenticated'),
            ('strategy_delete',          'authenticated'),
            ('strategy_rotate_secret',   'authenticated'),
            ('strategy_list',            'authenticated'),
            ('strategy_get',             'authenticated'),
            ('strategy_test',            'authenticated'),
            ('strategy_secrets',         'service_role'),
            ('signal_receive',           'service_role'),
            ('signal_list',              'authenticated'),
            ('signal_count',             'authenticated'),
            ('signal_get',               'authenticated'),
            ('kill_switch',              'authenticated'),
            ('agent_set_digest',         'service_role'),
            ('agent_heartbeat',          'service_role'),
            ('agent_seen',               'service_role'),
            ('agent_queues',             'service_role'),
            ('users_waiting',            'service_role'),
            ('claim_next_job',           'service_role'),
            ('job_get',                  'authenticated'),
            ('job_list',                 'authenticated'),
            ('job_cancel',               'authenticated'),
            ('job_create',               'authenticated, service_role'),
            ('broker_connection_list',   'authenticated'),
            ('broker_connection_create', 'authenticated'),
            ('broker_connection_update', 'authenticated'),
            ('broker_connection_delete', 'authenticated'),
            ('settings_get',             'authenticated'),
            ('settings_update',          'authenticated'),
            ('onboarding_complete',      'authenticated'),
            ('user_add',                 'service_role'),
            ('user_find',                'service_role'),
            ('order_create',             'authenticated'),
            ('position_close',           'authenticated'),
            ('read_create',              'authenticated'),
            ('trading_agent',            'authenticated'),
            ('order_get',                'authenticated'),
            ('order_list',               'authenticated'),
            ('order_events',             'authenticated'),
            ('deals_report',             'service_role'),
            ('agent_claim',              'service_role'),
            ('agent_start',              'service_role'),
            ('audit',                    'service_role'),
            -- called with the rights of whoever reads a view or calls a function above
            ('_now',                     'authenticated, service_role'),
            ('_uuid',                    'authenticated, service_role'),
            ('_refuse',                  'authenticated, service_role'),
            ('_number',                  'authenticated, service_role'),
            ('_money',                   'authenticated, service_role'),
            ('_integer',                 'authenticated, service_role'),
            ('_order_status',            'authenticated, service_role'),
            ('_order_page',              'authenticated'),
            ('_job_page',                'authenticated'),
            ('_reason',                  'authenticated, service_role'),
            ('_signal_amounts',          'authenticated, service_role'),
            ('_milliseconds',            'authenticated, service_role'),
            -- called by the engine when jobs end; see below
            ('settle_compile',           null),
            ('settle_deployment',        null),
            ('settle_trade',             null),
            ('settle_close_position',    null),
            -- called by the functions above, with their owner's rights, and by triggers
            ('_alert_act',               null),
            ('_alert_close',             null),
            ('_alert_decide',            null),
            ('_alert_insert',            null),
            ('_alert_keep',              null),
            ('_alert_refusal',           null),
            ('_alert_symbol',            null),
            ('_alert_trade',             null),
            ('_append_only',             null),
            ('_broker_error',            null),
            ('_caller',                  null),
            ('_cancel_orders',           null),
            ('_cancel_queue',            null),
            ('_changes',                 null),
            ('_check_connection',        null),
            ('_check_deals',             null),
            ('_check_gate',              null),
            ('_check_key',               null),
            ('_check_onboarded',         null),
            ('_check_order',             null),
            ('_check_parent',            null),
            ('_check_secret',            null),
            ('_check_settings',          null),
            ('_check_strategy',          null),
            ('_close_positions',         null),
            ('_correct_signals',         null),
            ('_day',                     null),
            ('_deal_counted',            null),
            ('_deals',                   null),
            ('_fence_trades',            null),
            ('_frozen_version',          null),
            ('_gate',                    null),
            ('_in_flight',               null),
            ('_job_created',             null),
            ('_job_of_comment',          null),
            ('_job_target',              null),
            ('_loss_gate',               null),
            ('_note_account',            null),
            ('_note_broker',             null),
            ('_note_deals',              null),
            ('_open_positions',          null),
            ('_order_ends',              null),
            ('_order_events',            null),
            ('_order_key',               null),
            ('_order_put',               null),
            ('_order_step',              null),
            ('_own_agent',               null),
            ('_own_users',               null),
            ('_replayed_order',          null),
            ('_resolve_orders',          null),
            ('_settle_closing',          null),
            ('_strategy_of',             null),
            ('_strategy_secret',         null),
            ('_strategy_set',            null),
            ('_time',                    null),
            ('_told_twice',              null),
            ('_touch',                   null),
            ('_trading_account',         null),
            ('_trading_target',          null),
            ('_undefault',               null),
            ('_user',                    null),
            ('_user_created',            null),
            ('_user_deleted',            null)
        ) g (function, roles)
        join pg_catalog.pg_proc p on p.proname = g.function and p.pronamespace = 'public'::pg_catalog.regnamespace
    loop
        execute pg_catalog.format(
            'revoke all on function %s from public, anon, authenticated, service_role', v_grant.signature);
        if v_grant.roles is not null then
            execute pg_catalog.format('grant execute on function %s to %s', v_grant.signature, v_grant.roles);
        end if;
    end loop;
end;
$$;

-- The engine's owner calls the settle functions.
do $$
declare
    v_owner text;
    v_function text;
begin
    select n.nspowner::regrole into v_owner from pg_catalog.pg_namespace n where n.nspname = 'jobengine';
    foreach v_function in array array[
        'settle_compile', 'settle_deployment', 'settle_trade', 'settle_close_position'
    ] loop
        execute pg_catalog.format(
            'grant execute on function public.%I(jobengine.settled_job[]) to %s', v_function, v_owner);
    end loop;
end;
$$;

-- Tables: a policy of the owner (by the column that holds the user's id) and one of the service.
do $$
declare
    v_table record;
begin
    for v_table in
        select t.name, t.owner
        from (values
            ('profiles', 'id'),
            ('user_settings', 'user_id'),
            ('broker_connections', 'user_id'),
            ('mt5_agents', 'user_id'),
            ('ea_projects', 'user_id'),
            ('ea_versions', 'user_id'),
            ('ea_artifacts', 'user_id'),
            ('ea_deployments', 'user_id'),
            ('tv_strategies', null),         -- these two have the policies that T03 names
            ('tv_signals', null),
            ('trade_events', 'user_id'),
            ('account_snapshots', 'user_id'),
            ('daily_pnl', 'user_id'),
            ('idempotency_key', null),       -- the service's alone
            ('order_end', null),
            ('audit_log', 'user_id')
        ) t (name, owner)
    loop
        execute pg_catalog.format(
            'revoke all on public.%I from public, anon, authenticated, service_role', v_table.name);
        if v_table.owner is not null and not exists (
                select from pg_catalog.pg_policies
                where schemaname = 'public' and tablename = v_table.name and policyname = 'Users have their own') then
            execute pg_catalog.format(
                'create policy "Users have their own" on public.%I for all to authenticated '
                'using ((select auth.uid()) = %I)', v_table.name, v_table.owner);
        end if;
        if not exists (
                select from pg_catalog.pg_policies
                where schemaname = 'public' and tablename = v_table.name and policyname = 'Service') then
            execute pg_catalog.format(
                'create policy "Service" on public.%I for all to service_role using (true)', v_table.name);
        end if;
    end loop;
end;
$$;

revoke all on public.jobs, public.orders, public.agents, public.connections, public.settings, public.strategies,
    public.signals
    from public, anon, authenticated, service_role;
grant select on public.jobs, public.orders, public.agents, public.connections, public.settings, public.strategies,
    public.signals
    to authenticated, service_role;

-- A user changes rows by functions, except where the source documents let the row-level security be the rule.
grant select on public.profiles, public.user_settings, public.broker_connections, public.ea_projects,
    public.ea_versions, public.ea_artifacts, public.ea_deployments, public.tv_strategies, public.tv_signals,
    public.trade_events, public.account_snapshots, public.daily_pnl, public.audit_log to authenticated;
grant select (
    id, user_id, broker_connection_id, name, mt5_login, mt5_server, is_connected, last_heartbeat, last_seen_at, status,
    metrics, agent_version, capabilities, platform, config, config_version, pairing_key_prefix, key_rotated_at,
    revoked_at, created_at, updated_at) on public.mt5_agents to authenticated;    -- no key, no password
grant insert (user_id, name, description, symbol, timeframe), update (name, description, symbol, timeframe,
    current_version_id, archived_at), delete on public.ea_projects to authenticated;
grant insert (project_id, user_id, version_number, source_code, source, prompt), update (source_code), delete
    on public.ea_versions to authenticated;
grant insert (user_id, broker_connection_id, name, webhook_secret, risk_override_pct, allowed_pairs, is_enabled,
    default_volume, expires_in, dedup_enabled, dedup_seconds, allowed_sources), update (broker_connection_id, name,
    webhook_secret, risk_override_pct, allowed_pairs, is_enabled, default_volume, expires_in, dedup_enabled,
    dedup_seconds, allowed_sources), delete on public.tv_strategies to authenticated;

grant select, insert, update, delete on public.profiles, public.user_settings, public.broker_connections,
    public.mt5_agents, public.ea_projects, public.ea_versions, public.ea_artifacts, public.ea_deployments,
    public.tv_strategies, public.tv_signals, public.account_snapshots, public.daily_pnl, public.idempotency_key,
    public.order_end to service_role;
grant select, insert on public.trade_events, public.audit_log to service_role;

-- What the view public.jobs reads of the engine; a user sees the user's jobs.
grant usage on schema jobengine to authenticated, service_role;
grant select on jobengine.jobs, jobengine.job, jobengine.ready, jobengine.lease, jobengine.ended
    to authenticated, service_role;
do $$
declare
    v_table text;
begin
    foreach v_table in array array['job', 'ready', 'lease', 'ended'] loop
        if not exists (select from pg_catalog.pg_policies
                       where schemaname = 'jobengine' and tablename = v_table and policyname = 'tenant_reads') then
            execute pg_catalog.format(
                'create policy tenant_reads on jobengine.%I for select to authenticated '
                'using (tenant_id = (select auth.uid()))', v_table);
            execute pg_catalog.format(
                'create policy service_reads on jobengine.%I for select to service_role using (true)', v_table);
        end if;
    end loop;
end;
$$;
