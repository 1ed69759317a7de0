# shellcheck shell=bash disable=SC2034  # the scripts that source this use what it sets
# What `up` and `down` share: where the programs of RabbitMQ are, whether its processes run, whether an address speaks
# AMQP. Sourced, never run.

server=rabbitmq
thing=broker
otherwise="set HOMING__BROKER__URL, or start Docker"
package_user=rabbitmq
pid_name=pid
mark=HOMING_BROKER_FOLDER
subfolders=(data log conf.d generated schema)

# shellcheck source=servers/private.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../servers/private.sh"

node_name() { if [[ $instance == main ]]; then echo homing@localhost; else echo "homing-$instance@localhost"; fi; }

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
set_server_environment() {
  local erl_folder
  erl_folder=$(dirname -- "$(command -v erl || echo /usr/bin/erl)")
  server_environment=(
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
  # A new node enables only these: as a cluster that was upgraded has them.
  if [[ -n ${HOMING_BROKER_FEATURE_FLAGS:-} ]]; then
    server_environment+=(RABBITMQ_FEATURE_FLAGS="$HOMING_BROKER_FEATURE_FLAGS")
  fi
}

# The port mapper is looked for by its mark: the broker replaces one that has died, and no file has that one's number.
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
