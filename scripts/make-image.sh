#!/usr/bin/env bash
# Makes a real Debian root file system as a disk image for the benchmarks: .cache/bench/NAME.raw, sparse, on a disk of 8 GiB.
# usage: scripts/make-image.sh server|workstation      as root
# The same packages give the same files, UUIDs and mtimes; the file system's own ctimes and the order of its blocks vary.
set -euo pipefail
shopt -s inherit_errexit

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=${1:?server or workstation}
out=$repo/.cache/bench/$name.raw
size=8G

export SOURCE_DATE_EPOCH=1700000000 E2FSPROGS_FAKE_TIME=1700000000
uuid=d15cf377-0000-4000-8000-000000000001
hash_seed=d15cf377-0000-4000-8000-000000000002
# What a small server holds: a kernel with its modules, interpreters, services, documentation.
server=linux-image-amd64,systemd-sysv,openssh-server,python3,git,vim,nginx-light,man-db,locales
# The same, and what people build and write with: several times the data.
tools=build-essential,clang,default-jdk-headless,golang-go,rustc,nodejs,r-base-core,postgresql,qemu-system-x86
documents=libreoffice-core,libreoffice-writer,texlive-latex-recommended,gimp,inkscape
case $name in
  server) include=$server least_mib=620 ;;
  workstation) include=$server,$tools,$documents least_mib=2500 ;;
  *) echo "make-image: there is no image $name" >&2; exit 2 ;;
esac

say() { printf 'make-image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

need() {
  command -v "$1" >/dev/null && return 0
  say "installing $2"
  apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$2" >&2
}

# Sources of the running suite, from the mirrors that this machine uses: one line each for base, updates and security.
own_sources() {
  local suite=$1 mirror dist
  apt-get update --print-uris | sed -nE "s#^'([^']+)/dists/(${suite}[^/]*)/InRelease' .*#\1 \2#p" | sort -u |
    while read -r mirror dist; do
      echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $dist main"
    done
}

if [[ -s $out ]]; then
  say "$out is there already"
  exit 0
fi
((EUID == 0)) || die 'needs root: mmdebstrap sets owners and device nodes'
need mmdebstrap mmdebstrap
need mke2fs e2fsprogs

suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
sources=$(own_sources "$suite")
[[ -n $sources ]] || die "cannot tell which Debian mirror this machine uses (apt-get update --print-uris)"

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/make-image.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

say "installing $suite"
mmdebstrap --quiet --variant=minbase --include="$include" "$suite" "$work/root" <<<"$sources"
rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/*
find "$work/root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mib=$(du -sm "$work/root" | cut -f1)
((mib >= least_mib)) || die "$mib MiB of files, wanted $least_mib: add packages to this script"

say "writing $mib MiB of files to an ext4 of $size"
truncate -s "$size" "$work/raw"
mke2fs -q -t ext4 -L debian -U "$uuid" -E "hash_seed=$hash_seed" -d "$work/root" "$work/raw"
e2fsck -fn "$work/raw" >"$work/fsck" 2>&1 || die "e2fsck found faults: $(cat "$work/fsck")"
mv "$work/raw" "$out"
du -h "$out"
