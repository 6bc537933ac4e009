#!/bin/sh
# Healthy: Redis responds, has loaded its data, and its last write reached the disk.
set -eu
REDISCLI_AUTH=$(cat /run/secrets/redis_password)
export REDISCLI_AUTH
info=$(valkey-cli info persistence)
case $info in *loading:0*) ;; *) echo "loading its data, or not responding: $info"; exit 1 ;; esac
case $info in *aof_last_write_status:ok*) ;; *) echo "cannot write its append-only file"; exit 1 ;; esac
