/* SPDX-License-Identifier: MIT */
/*
 * The integer types and error numbers of the public API.
 *
 * Every public call that can fail in more than one way returns 0 or one of
 * these numbers negated; a call that returns a pointer fails with NULL.
 */
#ifndef SPANHEAP_TYPES_H
#define SPANHEAP_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** phys_addr_t - a physical address, in bytes. */
typedef uint64_t phys_addr_t;

/** gfp_t - what an allocation may do and where it may look; see gfp.h. */
typedef unsigned int gfp_t;

/* The numbers are Linux's, so that logs read the same; a libc's own win. */
#ifndef EPERM
#define EPERM 1
#endif
#ifndef ENOENT
#define ENOENT 2
#endif
#ifndef EIO
#define EIO 5
#endif
#ifndef E2BIG
#define E2BIG 7
#endif
#ifndef EAGAIN
#define EAGAIN 11
#endif
#ifndef ENOMEM
#define ENOMEM 12
#endif
#ifndef EFAULT
#define EFAULT 14
#endif
#ifndef EBUSY
#define EBUSY 16
#endif
#ifndef EEXIST
#define EEXIST 17
#endif
#ifndef EINVAL
#define EINVAL 22
#endif
#ifndef ENOSPC
#define ENOSPC 28
#endif
#ifndef EOPNOTSUPP
#define EOPNOTSUPP 95
#endif

#define FRAME_SHIFT 12
#define FRAME_SIZE (1UL << FRAME_SHIFT)
#define CHUNK_SHIFT 21
#define CHUNK_SIZE (1UL << CHUNK_SHIFT)
#define CHUNK_FRAMES (CHUNK_SIZE / FRAME_SIZE)
#define ARENA_SHIFT 26
#define ARENA_SIZE (1UL << ARENA_SHIFT)
#define ARENA_CHUNKS (ARENA_SIZE / CHUNK_SIZE)

#endif
