-- The roles of Supabase, only where they are missing, and the right of the installing role to become them, where it
-- can be given. Roles belong to the cluster, so another database's install may create them at the same time.
do $$
declare
    v_role text;
    -- The service takes a role on purpose (set local role); it does not have its rights otherwise.
    v_how text := case when current_setting('server_version_num')::integer >= 160000
                       then ' with inherit false, set true' else '' end;
    -- Since PostgreSQL 16 whoever creates a role administers it, which is not yet the right to become it.
    v_may text := case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute pg_catalog.format('create role %I nologin noinherit', v_role);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        if not pg_catalog.pg_has_role(current_user, v_role, v_may) then
            begin
                execute pg_catalog.format('grant %I to current_user', v_role) || v_how;
            exception when insufficient_privilege then
                raise notice 'role % is not given to %: whoever serves must be a member', v_role, current_user;
            end;
        end if;
    end loop;
end;
$$;
