# shellcheck shell=bash disable=SC2034,SC2154  # the scripts that source this use what it sets, and set what it uses
# A private server of this checkout, whatever it serves: where its instances live, as whom they run, whether a process
# runs, who has a port. Sourced, never run, by the instance.sh of a server, which sets:
#
#   server         the name of its folder, and of the data's
#   thing          what it is, in a sentence
#   otherwise      what a user can do who cannot have a private one
#   package_user   the user that its package makes
#   pid_name       where it writes its process id, below the instance's folder
#   mark           the variable in its environment that names this folder
#   subfolders     what is made below this folder

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
instance=main

say() { printf '%s: %s\n' "$server" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# The folder name carries the instance's name; the main one has none.
folder_name() { if [[ $instance == main ]]; then echo "$server"; else echo "$server-$instance"; fi; }

# The command that a user types for this instance: command_line up|down
command_line() {
  if [[ $instance == main ]]; then echo "$server/$1"; else echo "$server/$1 --instance $instance"; fi
}

check_instance_name() {
  [[ $instance =~ ^[a-z][a-z0-9-]{0,30}$ ]] ||
    die "the instance name '$instance' must be lower-case letters, digits and hyphens, such as 'test'"
}

set_paths() {
  link=$repo/.homing/$(folder_name)
  # Used when the server's user cannot work inside the repository.
  elsewhere_parent=/var/tmp/homing-$(printf '%s' "$repo" | sha256sum | cut -c1-12)
  elsewhere=$elsewhere_parent/$(folder_name)
  folder=$link
  if [[ -L $link && $(readlink -- "$link") == "$elsewhere" ]]; then folder=$elsewhere; fi
  pid_file=$folder/$pid_name
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
  flock -w 120 9 || die "another run for this instance has been busy for two minutes; look for it with: ps aux | grep $server/"
}

require_linux() {
  [[ -r /proc/self/cmdline ]] || die "a private $thing needs Linux; $otherwise"
  local tool
  for tool in flock setsid setpriv timeout sha256sum od find; do
    command -v "$tool" >/dev/null ||
      die "the program '$tool' is missing; install coreutils, util-linux and findutils, or $otherwise"
  done
}

# A private server never runs as root: as root everything of it goes through the user who owns its folder, which is the
# package's own user where root made that folder.
set_user() {
  as_user=()
  run_user=$(id -un)
  ((EUID == 0)) || return 0
  run_user=$package_user
  if [[ -d $folder && $(stat -c %u -- "$folder") != 0 ]]; then run_user=$(stat -c %U -- "$folder"); fi
  id -u "$run_user" >/dev/null 2>&1 ||
    die "there is no user '$run_user' to run the $thing as; run this as another user than root, or $otherwise"
  as_user=(setpriv --reuid="$run_user" --regid="$(id -g "$run_user")" --init-groups --)
}

# install_package PACKAGE OTHERWISE: with apt-get; OTHERWISE says what else the user can do.
install_package() {
  local sudo=() log=$repo/.homing/install.log
  command -v apt-get >/dev/null ||
    die "$1 is not installed, and there is no apt-get to install it with; $2"
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "$1 is not installed, and installing it needs root or sudo; ask for: apt-get install $1, or $2"
    sudo=(sudo)
    if [[ ! -t 2 ]]; then sudo=(sudo -n); fi
  fi
  say "installing $1 with apt-get, about half a minute …"
  if ! {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get update &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "$1"
  } </dev/null >"$log" 2>&1 9>&-; then
    tail -n 8 "$log" | sed 's/^/    /' >&2
    die "apt-get could not install $1 (all of its output: $log)"
  fi
}

usable_by_server() {
  # Erlang splits arguments at blanks, and so do our own scripts: a folder with one in its name is as good as unusable.
  [[ $1 =~ ^[A-Za-z0-9_./@+,=-]+$ ]] && "${as_user[@]}" test -w "$1" -a -x "$1"
}

make_folder() {
  if [[ -L $link && $folder == "$link" ]]; then
    rm -- "$link" # It points at another checkout's folder: this one was copied or moved.
  fi
  if [[ $folder == "$link" ]]; then
    mkdir -p "$folder"
    if ((EUID == 0)); then chown "$run_user": "$folder"; fi
    if ! usable_by_server "$folder"; then
      if ! rmdir -- "$folder" 2>/dev/null; then
        not_usable
      fi
      ln -s -- "$elsewhere" "$link"
      set_paths
      say "the user $run_user cannot work in $repo, so the $thing's data is in $folder"
    fi
  fi
  if [[ $folder == "$elsewhere" ]]; then make_folder_elsewhere; fi
  "${as_user[@]}" mkdir -p "${subfolders[@]/#/$folder/}" ||
    not_usable
}

not_usable() {
  die "$folder belongs to $(stat -c %U -- "$folder") and is not usable for $run_user; run this as $(stat -c %U -- "$folder") or as root, or delete it as root with $(command_line down) --delete-data"
}

# /var/tmp is open to everybody: what is not certainly ours is not used.
make_folder_elsewhere() {
  mkdir -m 755 -- "$elsewhere_parent" 2>/dev/null || true
  if [[ -L $elsewhere_parent || ! -d $elsewhere_parent || $(stat -c %u -- "$elsewhere_parent") != "$EUID" ]]; then
    die "$elsewhere_parent exists and belongs to another user; remove it, or move this checkout to a folder that $run_user can enter"
  fi
  mkdir -p -- "$folder"
  if ((EUID == 0)); then chown "$run_user": "$folder"; fi
}

# put FILE: writes stdin, as the server's user, so that no link planted in its folder leads anywhere.
# shellcheck disable=SC2016
put() { "${as_user[@]}" sh -c 'rm -f -- "$1" && cat >"$1"' sh "$1"; }

next_free_port() {
  local candidate=$1 last=$(($1 + 200))
  while tcp_open 127.0.0.1 "$candidate"; do
    candidate=$((candidate + 1))
    if ((candidate > last)); then die "no free port from $1 to $last"; fi
  done
  echo "$candidate"
}

# Ports that are free now are bound only later, at the end of a server's start: one checkout at a time chooses and starts.
reserve_ports() {
  local lock=/tmp/homing-$server-ports.lock
  (umask 022 && : >>"$lock") 2>/dev/null || true
  if { exec 8<"$lock"; } 2>/dev/null; then
    flock -w 100 8 || say "another checkout has been starting a $thing for over a minute; going on without waiting for it"
  fi
}

# launch COMMAND…: as the server's user, in a session of its own, so that Ctrl-C here does not reach it.
launch() {
  # shellcheck disable=SC2016
  setsid "${as_user[@]}" env -i "${server_environment[@]}" \
    sh -c 'cd "$1" && shift && exec "$@" >>log/start.log 2>&1' sh "$folder" "$@" \
    </dev/null >/dev/null 2>&1 8<&- 9>&- &
  launched=$!
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
    tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -Fxq "$mark=$folder"
  else
    # Another user's process: its command line is all that can be read. It names a folder of the instance.
    tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -Fxq -e "$folder" -e "$pid_file" -e "$folder/data"
  fi
}

# The server itself, if it runs.
running_server() {
  local pid
  pid=$(pid_in "$pid_file") || return 1
  is_ours "$pid" || return 1
  echo "$pid"
}

# send SIGNAL PID: the process is looked at again right before the signal, by now its number may belong to another.
send() {
  is_ours "$2" || return 0
  kill "-$1" "$2" 2>/dev/null || ! alive "$2" ||
    die "pid $2 belongs to the user $(stat -c %U "/proc/$2"); run $(command_line down) as that user or as root"
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
