// SPDX-License-Identifier: MIT
/*
 * The first serial port (16550), 115200 baud, 8 bits, no parity, polled.
 *
 * A machine without one runs silently: the loop-back test finds that out.
 */
#include <kernel/console.h>
#include "arch/x86_64/serial.h"
#include "arch/x86_64/x86.h"

#define COM1 0x3f8

enum uart_register {
	UART_DATA = COM1,
	UART_IRQ_ENABLE = COM1 + 1,
	UART_FIFO = COM1 + 2,
	UART_LINE = COM1 + 3,
	UART_MODEM = COM1 + 4,
	UART_STATUS = COM1 + 5,
	UART_DIVISOR_LOW = COM1,
	UART_DIVISOR_HIGH = COM1 + 1,
};

#define LINE_8N1 0x03
#define LINE_DIVISOR 0x80
#define FIFO_ON_CLEAR 0x07
#define MODEM_READY 0x03	/* DTR, RTS */
#define MODEM_LOOP 0x10
#define STATUS_RECEIVED 0x01
#define STATUS_CAN_SEND 0x20

#define PROBE_BYTE 0xae
/* Twelve bits at 115200 baud are 100 us, some hundred reads of a port. */
#define MAX_POLLS 100000

static bool present;

void serial_init(void)
{
	outb(UART_IRQ_ENABLE, 0);
	outb(UART_LINE, LINE_DIVISOR);
	outb(UART_DIVISOR_LOW, 1);
	outb(UART_DIVISOR_HIGH, 0);
	outb(UART_LINE, LINE_8N1);
	outb(UART_FIFO, FIFO_ON_CLEAR);
	outb(UART_MODEM, MODEM_READY | MODEM_LOOP);
	outb(UART_DATA, PROBE_BYTE);
	for (unsigned i = 0; i < MAX_POLLS && !(inb(UART_STATUS) & STATUS_RECEIVED); i++)
		;
	present = inb(UART_DATA) == PROBE_BYTE;
	outb(UART_MODEM, MODEM_READY);
}

void serial_put(char c)
{
	if (!present)
		return;
	for (unsigned i = 0; i < MAX_POLLS && !(inb(UART_STATUS) & STATUS_CAN_SEND); i++)
		;
	outb(UART_DATA, (uint8_t)c);
}

int serial_get(void)
{
	if (!present || !(inb(UART_STATUS) & STATUS_RECEIVED))
		return -1;
	return inb(UART_DATA);
}
