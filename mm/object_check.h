/* SPDX-License-Identifier: MIT */
/* The part of mm_validate() that looks at objects. */
#ifndef MM_OBJECT_CHECK_H
#define MM_OBJECT_CHECK_H

/** object_check() - walk spans, lists, windows, inboxes. Return: how much is wrong, each logged. */
unsigned object_check(void);

#endif
