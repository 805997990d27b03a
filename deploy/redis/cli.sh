#!/bin/sh
# redis-cli as the one who may do all, for whoever may enter Redis' container: sh /etc/headrace/cli.sh slowlog get
set -eu
REDISCLI_AUTH=$(cat "${STATE:-/state}/admin/password")
export REDISCLI_AUTH
exec redis-cli --user admin "$@"
