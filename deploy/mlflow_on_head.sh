#!/usr/bin/env bash
# MLflow's server on the head of a cluster: PostgreSQL below it, loopback alone, a password of its own for every client.
#   bash deploy/mlflow_on_head.sh          (apt-get install postgresql before; a second call changes nothing)
# Trainers do not talk to MLflow: the driver does, and a submitted job's driver runs on the head. So nothing listens beyond
# 127.0.0.1. The password is made once; MLflow's clients of this user read it from ~/.mlflow/credentials.
set -euo pipefail
umask 077
port=${MLFLOW_PORT:-5000} place=${MLFLOW_PLACE:-$HOME/.d2lora-mlflow} credentials=$HOME/.mlflow/credentials
store=${MLFLOW_STORE:-}
mkdir -p "$place" "$(dirname "$credentials")"

secret() { python -c 'import secrets; print(secrets.token_urlsafe(32))'; }
[ -s "$place/secret_key" ] || secret >"$place/secret_key"
if [ ! -s "$place/auth.ini" ]; then
  password=$(secret) # for the clients first: auth.ini says that both are there
  printf '%s\n' '[mlflow]' 'mlflow_tracking_username = d2lora' "mlflow_tracking_password = $password" >"$credentials"
  printf '%s\n' '[mlflow]' 'default_permission = NO_PERMISSIONS' "database_uri = sqlite:///$place/auth.db" \
    'admin_username = d2lora' "admin_password = $password" \
    'authorization_function = mlflow.server.auth:authenticate_request_basic_auth' >"$place/auth.new"
  mv "$place/auth.new" "$place/auth.ini"
fi

if [ -z "$store" ]; then # the database of this machine, over a socket, by the name of the user: it has no password
  sudo systemctl start postgresql
  user=$(id -un)
  sudo -u postgres psql -qtAc "select 1 from pg_roles where rolname = '$user'" | grep -q 1 || sudo -u postgres createuser "$user"
  sudo -u postgres psql -qtAc "select 1 from pg_database where datname = 'mlflow'" | grep -q 1 || sudo -u postgres createdb -O "$user" mlflow
  store="postgresql+psycopg2:///mlflow?host=/var/run/postgresql"
fi

up() { curl -fsS -o "$place/health" "http://127.0.0.1:$port/health" 2>/dev/null; }
if up; then exit 0; fi
export MLFLOW_AUTH_CONFIG_PATH=$place/auth.ini MLFLOW_DISABLE_TELEMETRY=true
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$place/secret_key")
export MLFLOW_FLASK_SERVER_SECRET_KEY
nohup mlflow server --host 127.0.0.1 --port "$port" --workers 2 --app-name basic-auth --backend-store-uri "$store" \
  --artifacts-destination "$place/artifacts" >>"$place/server.log" 2>&1 </dev/null &
echo $! >"$place/pid"
for _ in $(seq 120); do
  if up; then exit 0; fi
  kill -0 "$(cat "$place/pid")" 2>/dev/null || break
  sleep 1
done
echo "MLflow's server did not start; its log: $place/server.log" >&2
tail -n 20 "$place/server.log" >&2
exit 1
