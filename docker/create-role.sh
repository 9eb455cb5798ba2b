#!/bin/sh
# Runs once, when the image makes a new cluster. The application's role owns its database and may
# make the engine's roles; it is no superuser, because a superuser passes by row level security.
set -eu
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --set=password="$JOBENGINE_PASSWORD" \
    --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
create role jobengine login createrole password :'password';
create database jobengine owner jobengine;
SQL
