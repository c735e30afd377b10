#!/bin/sh
# SPDX-License-Identifier: MIT
# make.sh RECORDER: records the traces of this folder anew; started in the root.
set -eu
recorder=$1
export LC_ALL=C PERL_HASH_SEED=0 PYTHONHASHSEED=0 PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1

# $1 name; the rest: what to run
record() {
	name=$1
	shift
	rm -f "tests/traces/$name.trace"
	SPANHEAP_TRACE="tests/traces/$name.trace" LD_PRELOAD="$recorder" "$@" > /dev/null
	stat --format='%n: %s bytes' "tests/traces/$name.trace"
}

record sqlite3 sqlite3 :memory: '.read tests/traces/shop.sql'
record perl perl bench/malloc/programs/work.pl 1 700
record python3 /usr/bin/python3 -S tests/traces/text.py
