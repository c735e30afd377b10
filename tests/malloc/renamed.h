/* SPDX-License-Identifier: MIT */
/* Force-included where a sanitizer has the real names: see test.h. */
#ifndef TESTS_MALLOC_RENAMED_H
#define TESTS_MALLOC_RENAMED_H

#define malloc sh_malloc
#define free sh_free
#define calloc sh_calloc
#define realloc sh_realloc
#define reallocarray sh_reallocarray
#define aligned_alloc sh_aligned_alloc
#define memalign sh_memalign
#define posix_memalign sh_posix_memalign
#define valloc sh_valloc
#define pvalloc sh_pvalloc
#define malloc_usable_size sh_malloc_usable_size
#define free_sized sh_free_sized
#define free_aligned_sized sh_free_aligned_sized
#define malloc_trim sh_malloc_trim
#define malloc_stats sh_malloc_stats
#define mallopt sh_mallopt
#define mallinfo(...) sh_mallinfo(__VA_ARGS__)
#define mallinfo2(...) sh_mallinfo2(__VA_ARGS__)

#endif
