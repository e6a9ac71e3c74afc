#!/usr/bin/env bash
# What `make test-containers` needs on a bare Debian 12: podman, Apptainer, and something to build images from. Only what
# is missing is installed, as root. Prints the image to start from; nothing if the pinned one can be had.
set -euo pipefail

say() { echo "test-containers: $*" >&2; }

install() {
  [ "$(id -u)" = 0 ] || { say "install these as root: $*"; exit 2; }
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >&2
}

# Debian 12 has no Apptainer. The next release's would bring its C library and half the system with it: its own libraries
# go into a folder of their own, and its programs are told to look there.
install_apptainer() {
  if apt-cache policy apptainer 2>/dev/null | grep -q "Candidate: [0-9]"; then
    install apptainer
    return
  fi
  install patchelf squashfs-tools squashfuse uidmap
  local work libraries=/usr/local/lib/apptainer-libraries program
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main" \
    >"$work/sid.list"
  local options=(-qq -o "Dir::Etc::SourceList=$work/sid.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update >&2
  (cd "$work" && apt-get "${options[@]}" download apptainer libc6 libseccomp2 libsqlite3-0 >&2)
  for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/tree"; done
  mkdir -p "$libraries" /usr/lib/x86_64-linux-gnu/apptainer /etc/apptainer /var/lib/apptainer/mnt/session
  cp -a "$work"/tree/usr/lib/x86_64-linux-gnu/*.so* "$libraries"
  cp -a "$work/tree/usr/lib/x86_64-linux-gnu/apptainer/." /usr/lib/x86_64-linux-gnu/apptainer/
  cp -a "$work/tree/etc/apptainer/." /etc/apptainer/
  # Apptainer looks for its configuration by where its program lies.
  command install --mode 755 "$work/tree/usr/bin/apptainer" /usr/bin/apptainer
  for program in /usr/bin/apptainer /usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
    patchelf --force-rpath --set-interpreter "$libraries/ld-linux-x86-64.so.2" --set-rpath "$libraries" "$program"
  done
  sed -i 's/^allow setuid = .*/allow setuid = no/' /etc/apptainer/apptainer.conf
  chmod 666 /dev/fuse
  rm -rf "$work"
}

# A minimal Debian stands in for the pinned image where no registry answers.
stand_in() {
  local image=localhost/stand-in:bookworm folder
  if ! podman image exists "$image"; then
    command -v debootstrap >/dev/null || install debootstrap
    folder=$(mktemp -d)
    say "no registry answers: making a stand-in for the base image"
    debootstrap --variant=minbase bookworm "$folder" http://deb.debian.org/debian >&2
    tar --directory "$folder" --create . | podman import --quiet - "$image" >&2
    rm -rf "$folder"
  fi
  echo "$image"
}

command -v podman >/dev/null || install podman runc buildah uidmap fuse-overlayfs
command -v apptainer >/dev/null || install_apptainer
pinned=$(sed -n 's/^ARG BASE_IMAGE=//p' "$(dirname "$0")/../containers/base/Dockerfile")
if [ -n "${BASE_IMAGE:-}" ]; then
  echo "$BASE_IMAGE"
elif ! timeout 120 podman pull --quiet "$pinned" >/dev/null 2>&1; then
  stand_in
fi
