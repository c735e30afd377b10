#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Unpack Debian's kernel, its headers, busybox and cpio below a directory.
# Nothing is installed, and no package script runs.
#
#	fetch.sh DIR
#	  DIR/debs	the packages
#	  DIR/tree	what was unpacked of them
#	  DIR/vmlinuz, DIR/headers	links to the kernel and its build directory
#	  DIR/version	the kernel package's version
set -eu

dir=$1
mkdir -p "$dir/debs"
dir=$(cd "$dir" && pwd)

# The one dependency of package $1 whose name matches $2.
dependency()
{
	apt-cache depends "$1" | sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1
}

image=$(dependency linux-image-amd64 'linux-image-[0-9].*')
headers=$(dependency linux-headers-amd64 'linux-headers-[0-9].*')
if [ -z "$image" ] || [ -z "$headers" ]; then
	echo "fetch.sh: apt knows no linux-image-amd64; run apt-get update" >&2
	exit 1
fi
common=$(dependency "$headers" 'linux-headers-.*-common')
kbuild=$(dependency "$headers" 'linux-kbuild-.*')

rm -rf "$dir/tree"
mkdir "$dir/tree"
cd "$dir/debs"
rm -f ./*.deb
apt-get -qq -o APT::Sandbox::User=root download \
	"$image" "$headers" "$common" "$kbuild" busybox-static cpio
for deb in ./*.deb; do
	case $deb in
	# half a gigabyte of modules that nobody loads
	./linux-image-*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/tree" ./boot ;;
	*) dpkg-deb -x "$deb" "$dir/tree" ;;
	esac
done

# The headers' makefile names its common part by the path it would be installed at.
sed -i "s|/usr/src/|$dir/tree/usr/src/|" "$dir/tree/usr/src/$headers/Makefile"
ln -sfn "tree/usr/src/$headers" "$dir/headers"
ln -sfn "tree/boot/vmlinuz-${image#linux-image-}" "$dir/vmlinuz"
dpkg-deb -f ./"$image"_*.deb Version > "$dir/version"
