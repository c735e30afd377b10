#!/bin/sh
# SPDX-License-Identifier: MIT
# mkesp.sh IMAGE BOOTX64.EFI [KERNEL [CMDLINE]]: a FAT file system that UEFI boots from.
# The same input gives the same bytes: times and serial number are fixed.
set -eu

image=$1 loader=$2 kernel=${3-} cmdline=${4-}
export SOURCE_DATE_EPOCH=315532800 TZ=UTC MTOOLS_SKIP_CHECK=1

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp "$loader" "$stage/BOOTX64.EFI"
[ -z "$kernel" ] || cp "$kernel" "$stage/kernel.elf"
[ -z "$cmdline" ] || echo "$cmdline" > "$stage/cmdline.txt"
touch -d @$SOURCE_DATE_EPOCH "$stage"/*

# A track is 1 MiB; one more than the files need, and enough for a FAT12.
mib=$(du -cm --apparent-size "$stage"/* | tail -n 1 | cut -f 1)
rm -f "$image"
truncate -s $((mib + 2))M "$image"
mformat -i "$image" -h 64 -s 32 -t $((mib + 2)) -N 12345678 ::
mmd -i "$image" ::/EFI ::/EFI/BOOT
mcopy -m -i "$image" "$stage/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
for file in kernel.elf cmdline.txt; do
	[ ! -e "$stage/$file" ] || mcopy -m -i "$image" "$stage/$file" "::/$file"
done
