#!/usr/bin/env bash
# A Ceph object gateway on this machine: as root, with mmdebstrap. Its packages are Debian unstable's, in a folder of
# their own (0.7 GB, once); what it stores lies in memory. Runs until it is interrupted, and says what to set:
#
#   scripts/ceph-rgw.sh [PORT]
#   TEST_S3=http://tester:testing@127.0.0.1:7480 npx vitest run --no-file-parallelism test/s3-*.test.ts
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$repo/.cache/ceph-rgw
port=${1:-7480}
monitor=$((port + 1))

if [[ ! -x $root/usr/bin/radosgw ]]; then
  mkdir -p "$repo/.cache"
  rm -rf "$root"
  # A mirror may be late: what it signed holds for a week only.
  mmdebstrap --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=radosgw,ceph-mon,ceph-osd sid "$root" >&2
fi
for folder in proc dev; do mountpoint -q "$root/$folder" || mount --bind "/$folder" "$root/$folder"; done

folder=$(mktemp -d "$root/tmp/rgw-XXXXXX")
inside=${folder#"$root"}
uuid() { cat /proc/sys/kernel/random/uuid; }
ceph() { chroot "$root" env CEPH_CONF="$inside/ceph.conf" "$@" >&2; }
finish() {
  trap - EXIT INT TERM
  kill $(jobs -p) 2>/dev/null || true
  wait
  umount "$root/proc" "$root/dev"
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

cluster=$(uuid)
cat > "$folder/ceph.conf" <<CONF
[global]
fsid = $cluster
mon host = v2:127.0.0.1:$monitor
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $inside/keyring
run dir = $inside
admin socket =
log file = $inside/\$name.log
mon data = $inside/mon
mon allow pool size one = true
osd data = $inside/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw data = $inside/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw thread pool size = 16
CONF
mkdir "$folder/mon" "$folder/osd" "$folder/rgw"

ceph ceph-authtool --create-keyring "$inside/keyring" --gen-key -n mon. --cap mon 'allow *'
ceph ceph-authtool "$inside/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
ceph monmaptool --create --addv a "[v2:127.0.0.1:$monitor]" --fsid "$cluster" "$inside/monmap"
ceph ceph-mon --mkfs -i a --monmap "$inside/monmap" --keyring "$inside/keyring"
ceph ceph-mon -i a -f &
disk=$(uuid)
ceph timeout 60 ceph osd new "$disk"
ceph ceph auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' -o "$inside/osd.keyring"
cat "$folder/osd.keyring" >> "$folder/keyring"
ceph ceph-osd -i 0 --mkfs --osd-uuid "$disk"
ceph ceph-osd -i 0 -f &
ceph radosgw-admin user create --uid tester --display-name tester --access-key tester --secret testing
ceph radosgw -n client.admin -f --keyring "$inside/keyring" &
until curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$port"; do sleep 0.5; done
echo "TEST_S3=http://tester:testing@127.0.0.1:$port"
wait
