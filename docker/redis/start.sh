#!/bin/sh
# The password goes in by standard input: an argument list is for all to see.
set -eu
password=$(cat /run/secrets/redis_password)
exec valkey-server - <<CONF
$(cat /etc/valkey/valkey.conf)
requirepass "$password"
CONF
