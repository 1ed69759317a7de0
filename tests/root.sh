# shellcheck shell=bash
# A clean Debian in a folder, of the release that this machine has: for tests of what is installed on one. Sourced by
# tests/packages and tests/newcomer. Needs root. Its processes see the network of this machine, and end with the script.

roots=/var/tmp/homing-roots

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# quietly COMMAND…: here or, behind `inside`, in $root; output is shown only when the command fails.
quietly() {
  local log=$roots/$$.log where=()
  if [[ $1 == inside ]]; then
    where=(inside)
    shift
  fi
  if "${where[@]}" timeout 900 "$@" </dev/null >"$log" 2>&1; then return 0; fi
  tail -n 15 "$log" | sed 's/^/    /' >&2
  die "this failed or took longer than 15 minutes: $*"
}

# mirror RELEASE: where this machine has that release of Debian from.
mirror() {
  # shellcheck disable=SC2016  # apt-get fills it in
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null |
    awk -v release="$1" '$1 == release && !found { found = 1; print $2 }'
}

# Makes $root, a clean Debian with the lists of its packages; from what an earlier run of the last day fetched, if there is
# one.
make_root() {
  local release base
  ((EUID == 0)) || die "a clean Debian needs root; run this as root"
  release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  base=$roots/$release.tar
  mkdir -p "$roots"
  command -v debootstrap >/dev/null || quietly \
    sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap'
  root=$(mktemp -d "$roots/XXXXXX")
  chmod 755 "$root"
  if [[ -z $(find "$base" -mmin -1440 2>/dev/null) ]]; then
    say "fetching Debian $release …"
    quietly debootstrap --variant=minbase --include=ca-certificates "$release" "$root" "$(mirror "$release")"
    # As on this machine: how packages are fetched, and by whose certificates.
    cp -- /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/90machine"
    quietly chroot "$root" apt-get update
    tar --create --file "$base.$$" --directory "$root" . && mv -- "$base.$$" "$base"
  else
    tar --extract --file "$base" --directory "$root"
  fi
  cp -- /etc/resolv.conf /etc/hosts "$root/etc/"
  # A package that is installed starts no server: it would be one of this machine.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
}

# Folders of this machine that processes inside see, as SOURCE:PLACE.
mounts=()

# inside COMMAND…: in $root, with nothing of the caller's environment but what is given as NAME=VALUE before the command.
# What is mounted for it is gone when it ends.
inside() {
  # shellcheck disable=SC2016  # the inner shell expands it
  unshare --mount --propagation private -- bash -ec '
    root=$1 count=$2; shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for ((; count > 0; count--)); do
      mount --bind "${1%%:*}" "$root${1#*:}"
      shift
    done
    exec chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"' - "$root" "${#mounts[@]}" "${mounts[@]}" "$@"
}

# Deletes $root. Nothing is mounted there: mounts are of the processes inside.
remove_root() {
  if [[ -n ${root:-} && $root == "$roots"/* ]]; then rm -rf --one-file-system -- "$root"; fi
  rm -f -- "$roots/$$.log"
}

# free_port: one on loopback that nothing uses now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# eventually SECONDS WHAT COMMAND…: until the command succeeds.
eventually() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then die "not in time: $what"; fi
    sleep 0.2
  done
}
