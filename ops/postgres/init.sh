#!/usr/bin/env bash
# Creates or updates the database, its schemas and its roles. Safe to repeat.
#
# Runs as the PostgreSQL superuser wherever psql's own variables (PGHOST, PGPORT, PGUSER, PGPASSWORD) lead:
# from the native runtime, by hand, or in the postgres image's /docker-entrypoint-initdb.d.
# Passwords come from MIGRATIONS_DATABASE_PASSWORD and <SERVICE>_DATABASE_PASSWORD, or from the files that
# the same names with _FILE at the end point to. They reach psql through the environment: `ps` shows none.
set -euo pipefail

SERVICES=(auth organization user patient device influx inference alert notification media audit)
export PGUSER=${PGUSER:-${POSTGRES_USER:-postgres}}
export DATABASE_NAME=${DATABASE_NAME:-heartguard}

require_password() {
    local variable=$1 file="${1}_FILE"
    if [[ -z ${!variable:-} && -n ${!file:-} ]]; then
        export "$variable=$(<"${!file}")"
    fi
    if [[ -z ${!variable:-} ]]; then
        echo "init.sh: $variable is missing" >&2
        exit 78
    fi
}

run_psql() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set "database=$DATABASE_NAME" "$@"
}

# Makes the role :role with the password of variable $1; it owns nothing and bypasses nothing.
create_role() {
    cat <<SQL
\\getenv password $1
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
GRANT CONNECT ON DATABASE :"database" TO :"role";
SQL
}

require_password MIGRATIONS_DATABASE_PASSWORD
for service in "${SERVICES[@]}"; do
    require_password "${service^^}_DATABASE_PASSWORD"
done

run_psql --dbname postgres <<'SQL'
SELECT format('CREATE DATABASE %I ENCODING ''UTF8'' TEMPLATE template0', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SQL

{
    echo "SET client_min_messages = warning;"
    echo "BEGIN;"
    echo 'REVOKE ALL ON DATABASE :"database" FROM PUBLIC;'
    echo "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
    # Exclusion constraints over a uuid and a range (dated intervals without overlap) need it.
    echo "CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;"

    echo "\\set role heartguard_migrations"
    create_role MIGRATIONS_DATABASE_PASSWORD

    for service in "${SERVICES[@]}"; do
        echo "\\set role heartguard_$service"
        echo "\\set schema $service"
        create_role "${service^^}_DATABASE_PASSWORD"
        cat <<'SQL'
SELECT format('CREATE SCHEMA %I', :'schema') WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :'schema') \gexec
ALTER SCHEMA :"schema" OWNER TO heartguard_migrations;
REVOKE ALL ON SCHEMA :"schema" FROM PUBLIC;
GRANT USAGE ON SCHEMA :"schema" TO :"role";
ALTER DEFAULT PRIVILEGES FOR ROLE heartguard_migrations IN SCHEMA :"schema"
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"role";
ALTER DEFAULT PRIVILEGES FOR ROLE heartguard_migrations IN SCHEMA :"schema"
    GRANT USAGE ON SEQUENCES TO :"role";
ALTER ROLE :"role" SET search_path = :"schema";
ALTER ROLE :"role" SET statement_timeout = '2s';
ALTER ROLE :"role" SET lock_timeout = '1s';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '5s';
SQL
    done
    echo "COMMIT;"
} | run_psql --dbname "$DATABASE_NAME"
