# shellcheck shell=bash disable=SC2034  # the scripts that source this use what it sets
# What `up` and `down` share: where an instance lives, whether its processes run, whether an address speaks AMQP.
# Sourced, never run.

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
instance=main

say() { printf 'rabbitmq: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# The folder name carries the instance's name; the main one has none.
folder_name() { if [[ $instance == main ]]; then echo rabbitmq; else echo "rabbitmq-$instance"; fi; }
node_name() { if [[ $instance == main ]]; then echo homing@localhost; else echo "homing-$instance@localhost"; fi; }

# The command that a person types for this instance: command_line up|down
command_line() {
  if [[ $instance == main ]]; then echo "rabbitmq/$1"; else echo "rabbitmq/$1 --instance $instance"; fi
}

check_instance_name() {
  [[ $instance =~ ^[a-z][a-z0-9-]{0,30}$ ]] ||
    die "the instance name '$instance' must be lower-case letters, digits and hyphens, such as 'test'"
}

set_paths() {
  link=$repo/.homing/$(folder_name)
  # Used when the broker's user cannot work inside the repository.
  elsewhere_parent=/var/tmp/homing-$(printf '%s' "$repo" | sha256sum | cut -c1-12)
  elsewhere=$elsewhere_parent/$(folder_name)
  folder=$link
  if [[ -L $link && $(readlink -- "$link") == "$elsewhere" ]]; then folder=$elsewhere; fi
  pid_file=$folder/pid
}

# Two runs at once for one instance take turns. The lock is closed in everything that is left running.
take_turn() {
  local lock
  lock=$repo/.homing/$(folder_name).lock
  if mkdir "$repo/.homing" 2>/dev/null && ((EUID == 0)); then
    chown --reference="$repo" "$repo/.homing"
  fi
  if [[ ! -e $lock ]]; then
    (umask 022 && : >>"$lock") 2>/dev/null ||
      die "$repo/.homing is not writable for $(id -un); run this as $(stat -c %U "$repo/.homing" 2>/dev/null || echo root)"
  fi
  exec 9<"$lock"
  flock -w 120 9 || die "another run for this instance has been busy for two minutes; look for it with: ps aux | grep rabbitmq/"
}

require_linux() {
  [[ -r /proc/self/cmdline ]] || die "a private broker needs Linux; set HOMING__BROKER__URL, or start Docker"
  local tool
  for tool in flock setsid setpriv timeout sha256sum od find; do
    command -v "$tool" >/dev/null ||
      die "the program '$tool' is missing; install coreutils, util-linux and findutils, or set HOMING__BROKER__URL"
  done
}

# A private broker never runs as root: as root everything of it goes through the user who owns its folder, which is the
# package's own user where root made that folder.
set_user() {
  as_user=()
  run_user=$(id -un)
  ((EUID == 0)) || return 0
  run_user=rabbitmq
  if [[ -d $folder && $(stat -c %u -- "$folder") != 0 ]]; then run_user=$(stat -c %U -- "$folder"); fi
  id -u "$run_user" >/dev/null 2>&1 ||
    die "there is no user '$run_user' to run the broker as; run this as another user than root, or set HOMING__BROKER__URL"
  as_user=(setpriv --reuid="$run_user" --regid="$(id -g "$run_user")" --init-groups --)
}

# Debian's /usr/sbin/rabbitmq-server is a wrapper that changes user and uses the system's folders; the real one is in lib.
find_programs() {
  local candidate
  bin=
  for candidate in "${HOMING_RABBITMQ_BIN:-}" /usr/lib/rabbitmq/bin \
    "$(dirname -- "$(command -v rabbitmq-server || echo /nowhere/x)")"; do
    if [[ -n $candidate && -x $candidate/rabbitmq-server && -x $candidate/rabbitmqctl ]]; then
      bin=$candidate
      return 0
    fi
  done
  return 1
}

read_ports() {
  amqp_port='' epmd_port='' dist_port=''
  [[ -r $folder/ports ]] || return 0
  local key value
  while IFS='=' read -r key value; do
    [[ $value =~ ^[0-9]{1,5}$ ]] || continue
    case $key in
    amqp) amqp_port=$value ;;
    epmd) epmd_port=$value ;;
    dist) dist_port=$value ;;
    esac
  done <"$folder/ports"
}

private_url() { echo "amqp://guest:guest@127.0.0.1:$amqp_port"; }

# The environment of the node and of its command line tools; nothing of the caller's gets in.
set_node_environment() {
  local erl_folder
  erl_folder=$(dirname -- "$(command -v erl || echo /usr/bin/erl)")
  node_environment=(
    HOME="$folder" PATH="$bin:$erl_folder:/usr/local/bin:/usr/bin:/bin" LANG=C.UTF-8
    HOMING_BROKER_FOLDER="$folder"
    ERL_CRASH_DUMP_SECONDS=0
    ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1
    RABBITMQ_NODENAME="$(node_name)"
    RABBITMQ_BASE="$folder" RABBITMQ_MNESIA_BASE="$folder/data" RABBITMQ_LOG_BASE="$folder/log"
    RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf" RABBITMQ_CONFIG_FILES="$folder/conf.d"
    RABBITMQ_ADVANCED_CONFIG_FILE="$folder/advanced.config"
    RABBITMQ_CONF_ENV_FILE=/dev/null
    RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins"
    RABBITMQ_GENERATED_CONFIG_DIR="$folder/generated" RABBITMQ_SCHEMA_DIR="$folder/schema"
    RABBITMQ_PID_FILE="$pid_file"
    RABBITMQ_DIST_PORT="$dist_port"
    RABBITMQ_CTL_DIST_PORT_MIN="$((dist_port + 2000))" RABBITMQ_CTL_DIST_PORT_MAX="$((dist_port + 2010))"
    RABBITMQ_CTL_ERL_ARGS="-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
    # Two schedulers: a private broker shares the machine with builds and tests.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}"
  )
}

pid_in() {
  local pid=
  if [[ -r $1 ]]; then read -r pid <"$1" || true; fi
  [[ $pid =~ ^[0-9]+$ ]] && echo "$pid"
}

alive() {
  local state
  [[ -r /proc/$1/stat ]] || return 1
  state=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  state=${state##*) }
  [[ ${state%% *} != Z ]]
}

# Whether process $1 was started for this instance: a number in a file proves nothing, it may have been given away since.
is_ours() {
  alive "$1" || return 1
  if [[ -r /proc/$1/environ ]]; then
    tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -Fxq "HOMING_BROKER_FOLDER=$folder"
  else
    # Another user's process: its command line is all that can be read. Erlang puts the home folder there.
    tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -Fxq -e "$folder" -e "$folder/pid"
  fi
}

running_node() {
  local pid
  pid=$(pid_in "$pid_file") || return 1
  is_ours "$pid" || return 1
  echo "$pid"
}

# The port mapper is looked for by its mark: the broker replaces one that has died, and nobody writes that one's number down.
running_epmd() {
  local comm name pid
  for comm in /proc/[0-9]*/comm; do
    { read -r name <"$comm"; } 2>/dev/null || continue
    [[ $name == epmd ]] || continue
    pid=${comm//[^0-9]/}
    if is_ours "$pid"; then
      echo "$pid"
      return 0
    fi
  done
  return 1
}

# wait_gone PID SECONDS
wait_gone() {
  local end=$((SECONDS + $2))
  while alive "$1"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# shellcheck disable=SC2016
tcp_open() { timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; }

# A real handshake: the AMQP 0-9-1 header is sent, and the frame that comes back must be connection.start.
speaks_amqp() {
  local answer
  # shellcheck disable=SC2016
  answer=$(timeout 5 bash -c '
    exec 3<>"/dev/tcp/$0/$1" || exit 1
    printf "AMQP\x00\x00\x09\x01" >&3
    head -c 11 <&3 | od -An -v -tx1 | tr -d " \n"' "$1" "$2" 2>/dev/null) || return 1
  [[ $answer =~ ^010000........000a000a$ ]]
}

# Names who listens on a local port, as well as this user may know it.
occupant() {
  local hex inodes inode found pid
  hex=$(printf '%04X' "$1")
  inodes=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v p=":$hex\$" '$4 == "0A" && $2 ~ p { print $10 }')
  for inode in $inodes; do
    found=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1) || true
    pid=${found#/proc/}
    pid=${pid%%/*}
    [[ -n $pid ]] || continue
    echo "$(cat "/proc/$pid/comm" 2>/dev/null || echo 'a process') (pid $pid, user $(stat -c %U "/proc/$pid" 2>/dev/null || echo '?'))"
    return 0
  done
  echo "a process of another user"
}
