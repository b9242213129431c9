#!/usr/bin/env bash
# Installs what the tests judge us by: other people's readers of disk images, and a local S3 server.
# Does nothing, quickly, when everything is there. Exits non-zero when anything is missing in the end.
set -euo pipefail
shopt -s inherit_errexit

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

packages=(
  qemu-utils                   # qemu-img: reads and checks all formats
  nbdkit libnbd-bin            # readers of raw disks, partitions and file systems; serves images to qemu-img as bytes
  libvhdi-utils                # vhdiinfo, vhdiexport
  libvmdk-utils                # vmdkinfo, vmdkexport
  libqcow-utils                # qcowinfo, qcowexport
  p7zip-full e2fsprogs         # 7z and debugfs look inside the images
  strace                       # which files a conversion opens, and which hosts it asks
  fdisk dosfstools xfsprogs btrfs-progs ntfs-3g cryptsetup-bin # partitions and file systems to be recognised
  zstd xz-utils procps curl bsdutils libxml2-utils
  redis-server                 # the queue of a fleet
  chromium-headless-shell      # looks at the console page
  zsh fish man-db              # what completion and the manual page are made for
  python3-swift libisal2       # the S3 server and its CRC32C
)

# The server's code is taken from a later Debian than this one may be: Swift verifies x-amz-checksum-* only since 2.35.
# It is pure Python and runs on the packages of Debian 12.
swift_suite=trixie
swift_release=2.35
swift_dir=$repo/.cache/swift-$swift_release

say() { printf 'install-tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# retry COMMAND…: mirrors drop connections; three tries, further and further apart.
retry() {
  local pause
  for pause in 5 15 0; do
    "$@" && return 0
    ((pause)) || break
    say "failed, trying again in $pause s: $*"
    sleep "$pause"
  done
  say "failed: $*"
  return 1
}

missing_packages() {
  local name
  for name in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || printf '%s\n' "$name"
  done
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" >&2
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    say 'packages are missing; install them as root, then start this again:'
    die "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  retry apt-get update -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 >&2
  retry apt_install "${missing[@]}"
}

# The mirror that this machine itself uses for its own suite, whichever that is.
debian_mirror() {
  local suite
  suite=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  apt-get update --print-uris | sed -nE "s#^'([^']+)/dists/($suite|stable|oldstable|testing|sid)/InRelease' .*#\1#p" | sed -n 1p
}

# Everything apt writes goes to a private folder: the machine's own lists and sources stay as they are.
private_apt() {
  apt-get -q -o Dir::Etc::SourceList="$tmp/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State="$tmp/state" -o Dir::State::Lists="$tmp/lists" -o Dir::State::status="$tmp/status" \
    -o Dir::Cache="$tmp/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any \
    -o Acquire::Languages=none -o Acquire::Retries=3 "$@" >&2
}

download_swift() {
  (cd "$tmp/deb" && private_apt download python3-swift) && compgen -G "$tmp/deb/python3-swift_*.deb" >/dev/null
}

install_swift() {
  [[ -f $swift_dir/usr/lib/python3/dist-packages/swift/__init__.py ]] && return 0
  local mirror keyring version
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -r $keyring ]] || die "no $keyring: install debian-archive-keyring"
  mirror=$(debian_mirror)
  [[ -n $mirror ]] || die "cannot tell which Debian mirror this machine uses (apt-get update --print-uris)"

  mkdir -p "$repo/.cache"
  tmp=$(mktemp -d "$repo/.cache/install-tools.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mkdir -p "$tmp"/{state,lists/partial,cache/archives/partial,deb,tree}
  : >"$tmp/status"
  echo "deb [signed-by=$keyring] $mirror $swift_suite main" >"$tmp/sources.list"

  say "fetching Swift $swift_release from $swift_suite"
  retry private_apt update || die "no package lists of $swift_suite: Swift $swift_release cannot be installed"
  retry download_swift || die "$swift_suite has no python3-swift: Swift $swift_release cannot be installed"
  version=$(dpkg-deb -f "$tmp"/deb/python3-swift_*.deb Version)
  [[ $version == "$swift_release".* ]] || die "expected Swift $swift_release in $swift_suite, found $version"
  dpkg-deb -x "$tmp"/deb/python3-swift_*.deb "$tmp/tree"
  rm -rf "$swift_dir"
  mv -T "$tmp/tree" "$swift_dir" # last, and at once: a folder that is there is whole
  say "Swift $version is in ${swift_dir#"$repo"/}"
}

install_packages
install_swift
