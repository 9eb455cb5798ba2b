-- Functions are executable by everybody unless this is taken away; grants.sql then gives them to roles by name.
revoke all on all functions in schema jobengine from public;
