#!/bin/busybox sh
# First program in the guest: load the modules, make the host's files the root, run the task, switch off.
# /dev/video10 is the virtual camera as our own set-up line makes it; /dev/video20 is vivid, the kernel's
# test webcam, whose cable can be pulled by a control.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
results=$(sed -n 's/.*\bresults=\([^ ]*\).*/\1/p' /proc/cmdline)

for module in /modules/*; do
  case $module in
    *v4l2loopback*) set -- devices=1 video_nr=10 exclusive_caps=1 card_label=lia-live ;;
    *vivid*) set -- n_devs=1 vid_cap_nr=20 node_types=0x1 num_inputs=1 input_types=0x0 no_error_inj=0 ;;
    *) set -- ;;
  esac
  insmod "$module" "$@" || echo "guest: $module did not load"
done

transport=trans=virtio,version=9p2000.L,msize=524288
mount -t 9p -o "ro,cache=loose,$transport" hostroot /below || exec sh
mount -t tmpfs scratch /above
mkdir -p /above/upper /above/work
mount -t overlay -o lowerdir=/below,upperdir=/above/upper,workdir=/above/work root /root
mkdir -p "/root$results"
mount -t 9p -o "rw,$transport" results "/root$results"
for place in dev proc sys; do mount --move /$place /root/$place; done
mkdir -p /root/dev/shm
mount -t tmpfs shared /root/dev/shm
mount -t tmpfs scratch /root/tmp
ifconfig lo 127.0.0.1 up
chroot /root /bin/bash "$results/task.sh"
sync
poweroff -f
