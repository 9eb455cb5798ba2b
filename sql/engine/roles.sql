-- The engine's four roles, and the schema of the one that owns everything. `install --no-roles` runs no_roles.sql
-- instead. Roles belong to the cluster, so another database's install may create them at the same time.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['jobengine_owner', 'jobengine_client', 'jobengine_worker', 'jobengine_operator'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute pg_catalog.format('create role %I nologin', v_role);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        if not pg_catalog.pg_has_role(current_user, v_role, 'usage') then
            execute pg_catalog.format('grant %I to current_user', v_role);
        end if;
    end loop;
end;
$$;

create schema if not exists jobengine authorization jobengine_owner;
