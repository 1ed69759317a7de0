# shellcheck shell=bash disable=SC2034  # the scripts that source this use what it sets
# What `up` and `down` share: where the programs of PostgreSQL are, and how an instance is reached. Sourced, never run.

server=postgres
thing=database
otherwise="set HOMING_TEST_POSTGRES_URL to a database server of your own"
package_user=postgres
pid_name=data/postmaster.pid
mark=HOMING_POSTGRES_FOLDER
subfolders=(log)

# shellcheck source=servers/private.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../servers/private.sh"

# Debian keeps the programs of several versions side by side, and none of them in the PATH: the newest is taken, or the
# one that made the instance's data, which no other can read.
find_programs() {
  local candidate version=
  if [[ -r $folder/data/PG_VERSION ]]; then read -r version <"$folder/data/PG_VERSION"; fi
  bin=
  for candidate in "${HOMING_POSTGRES_BIN:-}" $(compgen -G "/usr/lib/postgresql/${version:-*}/bin" | sort -Vr) \
    "$(dirname -- "$(command -v postgres || echo /nowhere/x)")"; do
    if [[ -n $candidate && -x $candidate/postgres && -x $candidate/initdb && -x $candidate/psql ]]; then
      bin=$candidate
      return 0
    fi
  done
  return 1
}

# The environment of the server and of its command line tools; nothing of the caller's gets in.
set_server_environment() {
  server_environment=(HOME="$folder" PATH="$bin:/usr/local/bin:/usr/bin:/bin" LANG=C.UTF-8 HOMING_POSTGRES_FOLDER="$folder")
}

read_port() {
  port=
  if [[ -r $folder/port ]]; then read -r port <"$folder/port" || true; fi
  [[ $port =~ ^[0-9]{4,5}$ ]] || port=
}

private_url() { echo "postgres://homing:$(<"$folder/password")@127.0.0.1:$port/homing"; }
