/* SPDX-License-Identifier: MIT */
/* Between the files of this folder. */
#ifndef TESTS_KUNIT_KUNIT_H
#define TESTS_KUNIT_KUNIT_H

#define KUNIT_LINE_SIZE 320

struct kunit;

/* One diagnostic line of the case, at the present depth. Any context. */
__attribute__((format(printf, 2, 3))) void kunit_diagnostic(const struct kunit *test,
							    const char *fmt, ...);

#endif
