-- Who may call what. Functions without a row here are internal: nobody but the owner may call them.
-- Left out by `install --no-roles`.
grant usage on schema jobengine to jobengine_client, jobengine_worker, jobengine_operator;

do $$
declare
    v_grant record;
begin
    for v_grant in
        select p.oid::regprocedure as signature, g.roles
        from (values
            ('enqueue',           'jobengine_client, jobengine_worker, jobengine_operator'),
            ('cancel',            'jobengine_client, jobengine_operator'),
            ('get',               'jobengine_client, jobengine_worker, jobengine_operator'),
            ('list',              'jobengine_client, jobengine_operator'),
            ('count',             'jobengine_client, jobengine_operator'),
            ('stats',             'jobengine_client, jobengine_worker, jobengine_operator'),
            ('claim',             'jobengine_worker, jobengine_operator'),
            ('start',             'jobengine_worker, jobengine_operator'),
            ('extend',            'jobengine_worker, jobengine_operator'),
            ('finish',            'jobengine_worker, jobengine_operator'),
            ('release',           'jobengine_worker, jobengine_operator'),
            ('sweep',             'jobengine_worker, jobengine_operator'),
            ('prune',             'jobengine_worker, jobengine_operator'),
            ('retry',             'jobengine_operator'),
            ('register_job_type', 'jobengine_operator'),
            ('_doze',             'jobengine_worker, jobengine_operator'),
            ('_rouse',            'jobengine_worker, jobengine_operator'),
            ('_tenants',          'jobengine_worker, jobengine_operator'),
            ('_next_due',         'jobengine_worker, jobengine_operator')
        ) g (function, roles)
        join pg_catalog.pg_proc p on p.proname = g.function and p.pronamespace = 'jobengine'::pg_catalog.regnamespace
    loop
        execute pg_catalog.format('grant execute on function %s to %s', v_grant.signature, v_grant.roles);
    end loop;
end;
$$;

grant select on jobengine.jobs, jobengine.job, jobengine.ready, jobengine.lease, jobengine.ended,
    jobengine.failure, jobengine.job_type to jobengine_operator;

do $$
declare
    v_table text;
begin
    foreach v_table in array array['job', 'ready', 'lease', 'ended', 'failure', 'job_type'] loop
        if not exists (select from pg_catalog.pg_policies
                       where schemaname = 'jobengine' and tablename = v_table and policyname = 'operator_reads') then
            execute pg_catalog.format(
                'create policy operator_reads on jobengine.%I for select to jobengine_operator using (true)', v_table);
        end if;
    end loop;
end;
$$;
