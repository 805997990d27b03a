#!/bin/sh
# Starts Redis with the users of users.acl. A password that is not there yet is made; to change one, delete its file and
# start Redis again: whoever needs it reads the file for each new connection.
set -eu
umask 077
here=$(dirname "$0")
secrets=${SECRETS:-/secrets}
state=${STATE:-/state}
run=${RUN:-/run/headrace}

hash_of() {
  if [ ! -s "$1" ]; then
    mkdir -p "$(dirname "$1")"
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$1.new"
    mv "$1.new" "$1"
  fi
  password=$(cat "$1")
  [ -n "$password" ] || { echo "$1 holds no password" >&2; exit 1; }
  printf %s "$password" | sha256sum | cut -d ' ' -f 1
}

# Each on a line of its own, so that the first that fails ends this.
gateway=$(hash_of "$secrets/gateway/password")
worker=$(hash_of "$secrets/worker/password")
admin=$(hash_of "$state/admin/password")

# A client library says its name by this, and goes on where it may not; Redis 7.0 refuses a list that names it.
unknown=$(redis-server --version | grep -q 'v=7\.0\.' && echo '+client|setinfo ' || true)
sed -e "s/${unknown:-^$}//" -e "s/@gateway@/$gateway/" -e "s/@worker@/$worker/" -e "s/@admin@/$admin/" \
  "$here/users.acl" > "$run/users.acl"

# In a container with a limit it is full before the kernel ends it: a rewrite of its file may take as much again.
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true)
case $limit in
  '' | max | ????????????????*) ;;
  *) set -- --maxmemory $((limit / 10 * 6)) "$@" ;;
esac
exec redis-server "$here/redis.conf" --dir "$state" --aclfile "$run/users.acl" "$@"
