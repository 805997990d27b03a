#!/bin/sh
# Starts Redis with the users of users.acl. A password that is not there yet is made; to change one, delete its file and
# start Redis again: whoever needs it reads the file for each new connection.
set -eu
umask 077
here=$(dirname "$0")
secrets=${SECRETS:-/secrets}
run=${RUN:-/run/headrace}

hash_of() {
  file="$secrets/$1/password"
  if [ ! -s "$file" ]; then
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$file.new"
    mv "$file.new" "$file"
  fi
  printf %s "$(cat "$file")" | sha256sum | cut -d ' ' -f 1
}

# A client library says its name by this, and goes on where it may not; Redis 7.0 refuses a list that names it.
unknown=$(redis-server --version | grep -q 'v=7\.0\.' && echo '+client|setinfo ' || true)

sed -e "s/${unknown:-^$}//" -e "s/@gateway@/$(hash_of gateway)/" -e "s/@worker@/$(hash_of worker)/" "$here/users.acl" > "$run/users.acl"
exec redis-server "$here/redis.conf" --dir "${STATE:-/state}" --aclfile "$run/users.acl" "$@"
