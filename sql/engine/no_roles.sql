-- The schema for an install without roles: the installing role owns everything and is its only user.
create schema if not exists jobengine;
