#!/bin/bash
# The virtual camera for real, where this machine has none: a VM with v4l2loopback, and lia-live in it.
#
#   tests/virtualcam/run.sh                     the whole check (check.py), a few minutes
#   tests/virtualcam/run.sh check.py sink       only some parts of it
#   tests/virtualcam/run.sh COMMAND [ARG...]    any other command in the same guest
#
# A stock Debian kernel boots in qemu (software emulation: function, not speed). The guest's root is this
# machine's own file system, read-only under a scratch layer, so the project's .venv works there as it is.
# Only $VM_RESULTS goes back. Nothing is installed or loaded on this machine's own kernel.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
cache=${VM_CACHE:-$project/.cache/virtualcam}
results=${VM_RESULTS:-$cache/results}
limit_s=${VM_TIMEOUT:-1500}

packages=(qemu-system-x86 busybox-static cpio kmod v4l-utils ffmpeg linux-headers-amd64 v4l2loopback-dkms)

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# 1. The tools, through the package manager where that is allowed; else one line that names them.
command -v dpkg-query >/dev/null || { echo "test-virtualcam: this check needs a Debian-like machine" >&2; exit 2; }
mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    log=$(mktemp)
    echo "installing ${missing[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || tail -5 "$log" >&2
    rm -f "$log"
  fi
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] || { echo "test-virtualcam needs: sudo apt-get install ${missing[*]}" >&2; exit 2; }
fi

# 2. A kernel and a first file system that knows 9p, overlay and the two camera modules. Made once.
kernel=$(find /usr/src -maxdepth 1 -name 'linux-headers-*-amd64' ! -name '*cloud*' -printf '%f\n' | sort -V | tail -1)
kernel=${kernel#linux-headers-}
mkdir -p "$cache" "$results"
tree=$cache/kernel-$kernel
initrd=$cache/initrd-$kernel.gz

build_initrd() {
  local stage=$cache/stage module path number=10
  rm -rf "$tree" "$stage"
  mkdir -p "$tree" "$stage"/{bin,dev,proc,sys,modules,below,above,root}
  (cd "$cache" && apt-get download -q "linux-image-$kernel" >/dev/null 2>&1) ||
    { echo "test-virtualcam: the kernel package linux-image-$kernel cannot be downloaded" >&2; exit 2; }
  dpkg -x "$cache/linux-image-$kernel"_*.deb "$tree"
  rm -f "$cache/linux-image-$kernel"_*.deb
  path=$(find "/lib/modules/$kernel" /var/lib/dkms -name 'v4l2loopback.ko*' -print -quit)
  [ -n "$path" ] || { echo "test-virtualcam: v4l2loopback was not built for $kernel: see dkms status" >&2; exit 2; }
  mkdir -p "$tree/lib/modules/$kernel/extra"
  cp "$path" "$tree/lib/modules/$kernel/extra/"
  depmod -b "$tree" "$kernel"
  for module in virtio_pci 9p 9pnet_virtio overlay v4l2loopback vivid; do
    modprobe -d "$tree" -S "$kernel" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++' >"$cache/modules"
  while read -r path; do # numbered: they are loaded in this order
    cp "$path" "$stage/modules/$number-$(basename "$path")"
    number=$((number + 1))
  done <"$cache/modules"
  cp /bin/busybox "$stage/bin/"
  cp "$here/guest_init.sh" "$stage/init"
  chmod +x "$stage/init"
  (cd "$stage" && find . | cpio --quiet -o -H newc | gzip -1) >"$initrd.part"
  mv "$initrd.part" "$initrd"
  rm -rf "$stage"
}
if [ ! -s "$initrd" ] || [ "$here/guest_init.sh" -nt "$initrd" ]; then build_initrd; fi

# 3. What the guest is to do.
case "${1:-check.py}" in
  check.py) # the parts named after it, or all
    shift $(($# ? 1 : 0))
    PYTHONPATH=$project VM_RESULTS=$results "$project/.venv/bin/python" "$here/check.py" prepare
    set -- "$project/.venv/bin/python" "$here/check.py" "$@"
    ;;
esac
rm -f "$results/exit_code"
{
  echo "export HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8"
  echo "export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(printf %q "$project") VM_RESULTS=$(printf %q "$results")"
  echo "cd $(printf %q "$project")"
  printf '%q ' "$@"
  printf '\necho $? >%q\nsync\n' "$results/exit_code"
} >"$results/task.sh"

# 4. Boot, run, switch off.
nice -n 10 timeout "$limit_s" qemu-system-x86_64 \
  -accel tcg,thread=multi -cpu max -smp 2 -m "${VM_MEMORY_MB:-3072}" \
  -nographic -no-reboot -nic none \
  -kernel "$tree/boot/vmlinuz-$kernel" -initrd "$initrd" \
  -append "console=ttyS0 quiet panic=-1 results=$results" \
  -fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap" \
  -device virtio-9p-pci,fsdev=root,mount_tag=hostroot \
  -fsdev "local,id=results,path=$results,security_model=none" \
  -device virtio-9p-pci,fsdev=results,mount_tag=results </dev/null || true
[ -s "$results/exit_code" ] || { echo "test-virtualcam: the guest did not finish within $limit_s s" >&2; exit 1; }
exit "$(cat "$results/exit_code")"
