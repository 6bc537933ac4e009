#!/bin/sh
# Passes the password by standard input, because argument lists are visible to all users.
set -eu
password=$(cat /run/secrets/redis_password)
exec valkey-server - <<CONF
$(cat /etc/valkey/valkey.conf)
requirepass "$password"
CONF
