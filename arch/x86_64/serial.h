/* SPDX-License-Identifier: MIT */
/* The serial port, without any locking; console.c is what others use. */
#ifndef ARCH_X86_64_SERIAL_H
#define ARCH_X86_64_SERIAL_H

/** serial_put() - send a character; gives up if the port does not take it. */
void serial_put(char c);

/** serial_get() - a character that has arrived, or -1. */
int serial_get(void);

#endif
