/* SPDX-License-Identifier: MIT */
/* What the rest of mm/ asks of the object pools, all of them. */
#ifndef MM_OBJPOOL_H
#define MM_OBJPOOL_H

#include <spanheap/objpool.h>

/** objpool_empty_all() - unmake whatever is in any pool. Task context. */
void objpool_empty_all(void);

#endif
