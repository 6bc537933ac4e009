#!/bin/sh
# Creates the secrets of docker-compose.yml: passwords, a first API key and its hash. Idempotent.
#
# Containers run as another user, so all users may read the files, but not enter their directory.
set -eu
cd "$(dirname "$0")/.."

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
hash_of() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

mkdir -p secrets
chmod 700 secrets
mkdir -p secrets/api
for name in redis_password metrics_key grafana_password; do
    [ -s "secrets/$name" ] || random > "secrets/$name"
done
if [ ! -s secrets/api/keys ]; then
    key="f5-$(random)"
    printf 'first:%s:read,submit,admin\n' "$(hash_of "$key")" > secrets/api/keys
    echo "the API key named 'first' (only its hash is stored): $key"
fi
if ! grep -q '^prometheus:' secrets/api/keys; then
    printf 'prometheus:%s:read,admin\n' "$(hash_of "$(cat secrets/metrics_key)")" >> secrets/api/keys
fi
chmod 755 secrets/api
chmod 644 secrets/redis_password secrets/metrics_key secrets/grafana_password secrets/api/keys
# Created here, because directories that the engine creates belong to root.
mkdir -p data models
if [ ! -e .env ]; then
    cp .env.example .env
    echo "wrote the settings to .env"
fi
