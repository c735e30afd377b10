/* SPDX-License-Identifier: MIT */
/* Lines for the log and the last line of a machine that cannot go on. */
#ifndef MM_LOG_H
#define MM_LOG_H

#define MM_LOG_LINE 160

/** mm_log() - one line through port_log(). Any context. */
__attribute__((format(printf, 1, 2))) void mm_log(const char *fmt, ...);

/** mm_panic() - one line through port_panic(). Any context. */
__attribute__((noreturn, format(printf, 1, 2))) void mm_panic(const char *fmt, ...);

#endif
