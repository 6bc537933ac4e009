#!/bin/sh
# Healthy: answers, has read its data, and its last write reached the disk.
set -eu
REDISCLI_AUTH=$(cat /run/secrets/redis_password)
export REDISCLI_AUTH
info=$(valkey-cli info persistence)
case $info in *loading:0*) ;; *) echo "it reads its data, or does not answer: $info"; exit 1 ;; esac
case $info in *aof_last_write_status:ok*) ;; *) echo "it can't write its file"; exit 1 ;; esac
