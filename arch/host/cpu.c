// SPDX-License-Identifier: MIT
/*
 * Threads as CPUs, and requests between them.
 *
 *	slot[cpu]   online, next/serving (the line of threads that want it),
 *	            holder (the thread that is this CPU now), queue[context]
 *
 * A thread is a CPU from host_cpu_attach() to host_cpu_detach(). The hot path
 * of mm/ reads its thread-local host_self and nothing of this file.
 *
 * port_run_on() takes one of three ways:
 *	the own CPU		the function is called in place
 *	nobody attached		the caller is that CPU for the moment, and calls it
 *	a thread attached	the request is queued and the holder told; the
 *				caller waits, and serves its own queue meanwhile,
 *				so that two threads may ask each other
 *
 * The holder is told by host_self.pending, which it sees at port_irq_restore(),
 * port_unpin(), port_relax() and host_poll(), and after host_use_signals() by a
 * signal that interrupts whatever it does, a system call as well: then a thread
 * that sleeps keeps nobody waiting, and what runs in the handler has cut into
 * mm/ at a real machine instruction. A request of context
 *	MM_NMI	runs at once in the handler
 *	MM_IRQ	runs where interrupts are on and the context is MM_TASK
 *	MM_TASK	runs where in addition nothing is pinned: as if another task of
 *		this CPU had preempted it. Without CONFIG_PREEMPT pins are not
 *		known, and only host_poll() and a waiting port_run_on() do it.
 * A request that nobody can be made to honour in time (PATIENCE_NS) is
 * withdrawn, and the CPU counts as not running: -ENOENT.
 *
 * Requests are pushed under the slot's lock and only while somebody holds or
 * waits for the CPU. Who gets the CPU serves the queues; who leaves it serves
 * them until they are empty, so that none is left behind. The queues are taken
 * whole by an atomic exchange, without a lock, so that handlers can do it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <spanheap/pressure.h>

#include "arch/host/host.h"

/* How long a request waits before it is withdrawn, with and without signals. */
#define PATIENCE_NS 20000000000ULL
#define PATIENCE_UNSIGNALLED_NS 20000000ULL
#define NAP_MAX_NS 1000000L
#define RELAX_YIELD_EVERY 64
#define SIG_IRQ SIGURG
#define SIG_NMI SIGRTMAX

enum { REQUEST_QUEUED, REQUEST_DONE };

struct request {
	struct request *next;
	void (*fn)(void *);
	void *arg;
	int state;
};

struct slot {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool online;
	uint64_t next, serving; /* tickets; equal: nobody wants the CPU */
	pthread_t thread;
	struct host_self *holder;
	struct request *queue[MM_NR_CONTEXTS];
};

static struct slot slot[PORT_MAX_CPUS] = {
	[0 ... PORT_MAX_CPUS - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER,
				      .moved = PTHREAD_COND_INITIALIZER },
};
static pthread_mutex_t numbers = PTHREAD_MUTEX_INITIALIZER;
static bool signals;

__thread struct host_self host_self __attribute__((tls_model("initial-exec"))) = {
	.cpu = HOST_NO_CPU,
};

static void push(struct request **queue, struct request *rq)
{
	rq->next = __atomic_load_n(queue, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(queue, &rq->next, rq, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

/* All requests, oldest first. */
static struct request *take_all(struct request **queue)
{
	struct request *rq = NULL, *taken, *next;

	if (!__atomic_load_n(queue, __ATOMIC_RELAXED))
		return NULL;
	for (taken = __atomic_exchange_n(queue, NULL, __ATOMIC_ACQUIRE); taken; taken = next) {
		next = taken->next;
		taken->next = rq;
		rq = taken;
	}
	return rq;
}

static bool is_idle(const struct slot *s)
{
	for (int c = 0; c < MM_NR_CONTEXTS; c++)
		if (__atomic_load_n(&s->queue[c], __ATOMIC_RELAXED))
			return false;
	return true;
}

/* Call fn as the calling thread's CPU, in @context. */
static void call_in(enum mm_context context, void (*fn)(void *), void *arg)
{
	uint8_t was_context = host_self.context, was_off = host_self.irq_off;

	host_self.pins++;
	host_self.context = (uint8_t)context;
	host_self.irq_off = context != MM_TASK;
	host_signal_fence();
	fn(arg);
	host_signal_fence();
	host_self.irq_off = was_off;
	host_self.context = was_context;
	host_self.pins--;
}

/* The request lies on its owner's stack: not to be touched once it is done. */
static bool serve_queue(enum mm_context context)
{
	struct request *rq = take_all(&slot[host_self.cpu].queue[context]), *next;
	bool found = rq != NULL;

	for (; rq; rq = next) {
		next = rq->next;
		call_in(context, rq->fn, rq->arg);
		__atomic_store_n(&rq->state, REQUEST_DONE, __ATOMIC_RELEASE);
	}
	return found;
}

static bool serve_once(bool in_task)
{
	bool found = false;

	if (host_self.context != MM_NMI)
		found |= serve_queue(MM_NMI);
	if (host_self.context == MM_TASK && !host_self.irq_off) {
		found |= serve_queue(MM_IRQ);
		if (in_task && !host_self.pins) {
			found |= serve_queue(MM_TASK);
			mm_give_back();
		}
	}
	return found;
}

/*
 * Until nothing is left that may run here: a signal that came while one of the
 * functions ran with interrupts off had to leave its request, and the thread
 * may go to sleep after this. The exchange orders the flag against the queues:
 * a request that is not seen sets it again.
 */
static void serve(bool in_task)
{
	if (host_self.cpu == HOST_NO_CPU)
		return;
	do
		__atomic_exchange_n(&host_self.pending, 0, __ATOMIC_SEQ_CST);
	while (serve_once(in_task));
	if (!is_idle(&slot[host_self.cpu]))
		__atomic_store_n(&host_self.pending, 1, __ATOMIC_RELAXED);
}

/* From port_irq_restore(), port_unpin() and the signal handler. */
void host_serve(void)
{
#ifdef CONFIG_PREEMPT
	serve(true);
#else
	serve(false);
#endif
}

void host_poll(void)
{
	if (host_is_pending())
		serve(true);
}

/* Where there are more CPUs than processors, the one that is waited for must get on. */
void host_relax(void)
{
	if (host_is_pending())
		host_serve();
	if (++host_self.relaxed % RELAX_YIELD_EVERY == 0)
		sched_yield();
	else
		__builtin_ia32_pause();
}

static void on_signal(int sig)
{
	int saved = errno;

	if (sig == SIG_IRQ)
		host_serve();
	else if (host_self.cpu != HOST_NO_CPU && host_self.context != MM_NMI)
		serve_queue(MM_NMI);
	errno = saved;
}

/*
 * ThreadSanitizer puts a signal off until the call that it interrupted returns,
 * so that a call that is restarted would never let it through.
 */
void host_use_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

#ifndef HOST_TSAN
	sa.sa_flags = SA_RESTART;
#endif
	sigemptyset(&sa.sa_mask);
	sigaction(SIG_IRQ, &sa, NULL);
	sigaddset(&sa.sa_mask, SIG_IRQ);
	sigaction(SIG_NMI, &sa, NULL);
	signals = true;
}

/* Under the slot's lock, so that the holder does not end meanwhile. */
static void kick(struct slot *s, enum mm_context context)
{
	if (!s->holder)
		return;
	__atomic_store_n(&s->holder->pending, 1, __ATOMIC_RELEASE);
	if (signals)
		pthread_kill(s->thread, context == MM_NMI ? SIG_NMI : SIG_IRQ);
}

/* Under the slot's lock. */
static void become(struct slot *s)
{
	s->thread = pthread_self();
	s->holder = &host_self;
}

int host_cpu_add(unsigned cpu)
{
	int err = -EINVAL;

	if (cpu >= PORT_MAX_CPUS)
		return err;
	pthread_mutex_lock(&slot[cpu].lock);
	err = slot[cpu].online ? -EBUSY : 0;
	slot[cpu].online = true;
	pthread_mutex_unlock(&slot[cpu].lock);
	return err;
}

int host_cpu_line_up(unsigned cpu, uint64_t *ticket)
{
	struct slot *s = &slot[cpu];
	int err = -ENOENT;

	if (cpu >= PORT_MAX_CPUS)
		return err;
	pthread_mutex_lock(&s->lock);
	if (s->online) {
		*ticket = s->next++;
		err = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void host_cpu_take(unsigned cpu, uint64_t ticket)
{
	struct slot *s = &slot[cpu];

	if (host_self.cpu != HOST_NO_CPU)
		port_panic("host_cpu_take: the thread is a CPU already");
	pthread_mutex_lock(&s->lock);
	while (s->serving != ticket)
		pthread_cond_wait(&s->moved, &s->lock);
	become(s);
	pthread_mutex_unlock(&s->lock);
	host_self.cpu = cpu;
	serve(true);
}

int host_cpu_attach(unsigned cpu)
{
	uint64_t ticket;
	int err = host_cpu_line_up(cpu, &ticket);

	if (!err)
		host_cpu_take(cpu, ticket);
	return err;
}

/* Give the CPU up; @back is what the thread is from now on. */
static void leave(unsigned back, bool offline)
{
	struct slot *s = &slot[host_self.cpu];

	for (;;) {
		pthread_mutex_lock(&s->lock);
		if (is_idle(s))
			break;
		pthread_mutex_unlock(&s->lock);
		serve(true);
	}
	host_self.cpu = back;
	s->holder = NULL;
	s->serving++;
	if (offline)
		s->online = false;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

static void check_idle(const char *why)
{
	if (host_self.context != MM_TASK || host_self.irq_off || host_self.pins)
		port_panic(why);
}

void host_cpu_detach(void)
{
	check_idle("host_cpu_detach: not in a task with interrupts on, unpinned");
	leave(HOST_NO_CPU, false);
}

void host_cpu_yield(void)
{
	unsigned cpu = host_self.cpu;
	struct slot *s = &slot[cpu];
	bool wanted;

	host_poll();
	pthread_mutex_lock(&s->lock);
	wanted = s->next - s->serving > 1;
	pthread_mutex_unlock(&s->lock);
	if (!wanted) {
		sched_yield();
		return;
	}
	host_cpu_detach();
	host_cpu_attach(cpu);
}

int host_cpu_enter(void)
{
	int err = -ENOSPC;
	unsigned cpu;

	pthread_mutex_lock(&numbers);
	for (cpu = 0; cpu < PORT_MAX_CPUS && err; cpu++)
		err = host_cpu_add(cpu);
	pthread_mutex_unlock(&numbers);
	if (err)
		return -ENOSPC;
	return host_cpu_attach(cpu - 1);
}

void host_cpu_leave(void)
{
	check_idle("host_cpu_leave: not in a task with interrupts on, unpinned");
	leave(HOST_NO_CPU, true);
}

/* Be the idle CPU @cpu for one call; the own CPU's requests wait so long. */
static int stand_in(unsigned cpu, enum mm_context context, void (*fn)(void *), void *arg)
{
	unsigned own = host_self.cpu;

	host_self.cpu = cpu;
	call_in(context, fn, arg);
	mm_give_back();
	leave(own, false);
	__atomic_store_n(&host_self.pending, 1, __ATOMIC_RELAXED);
	serve(true);
	return 0;
}

/* Return: true if the request was still queued and is not any more. */
static bool withdraw(struct slot *s, enum mm_context context, struct request *mine)
{
	struct request *rq, *next;
	bool found = false;

	pthread_mutex_lock(&s->lock);
	for (rq = take_all(&s->queue[context]); rq; rq = next) {
		next = rq->next;
		found |= rq == mine;
		if (rq != mine)
			push(&s->queue[context], rq);
	}
	kick(s, context);
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* A signal that came right before a system call may wait for the call's end (under TSan). */
static void kick_again(struct slot *s, enum mm_context context)
{
	pthread_mutex_lock(&s->lock);
	kick(s, context);
	pthread_mutex_unlock(&s->lock);
}

static int wait_for(struct slot *s, enum mm_context context, struct request *rq)
{
	struct timespec nap = { .tv_nsec = 20000 };
	uint64_t patience = signals ? PATIENCE_NS : PATIENCE_UNSIGNALLED_NS;
	uint64_t start = port_clock();

	for (unsigned round = 0; __atomic_load_n(&rq->state, __ATOMIC_ACQUIRE) != REQUEST_DONE;
	     round++) {
		host_poll();
		if (round < 200)
			host_relax();
		else
			nanosleep(&nap, NULL);
		if (round % 512 == 511) {
			kick_again(s, context);
			if (nap.tv_nsec < NAP_MAX_NS)
				nap.tv_nsec *= 2;
		}
		if (port_clock() - start < patience)
			continue;
		if (withdraw(s, context, rq))
			return -ENOENT;
		start = port_clock();
	}
	return 0;
}

static int run_on_own(enum mm_context context, void (*fn)(void *), void *arg)
{
	call_in(context, fn, arg);
	host_poll();
	return 0;
}

int port_run_on(unsigned cpu, enum mm_context context, void (*fn)(void *), void *arg)
{
	struct request rq = { .fn = fn, .arg = arg };
	struct slot *s = &slot[cpu];
	int err = -ENOENT;

	check_idle("port_run_on: not in a task with interrupts on, unpinned");
	if (cpu >= PORT_MAX_CPUS)
		return -ENOENT;
	if (cpu == host_self.cpu)
		return run_on_own(context, fn, arg);
	pthread_mutex_lock(&s->lock);
	if (s->online && s->next == s->serving) {
		s->next++;
		become(s);
		pthread_mutex_unlock(&s->lock);
		return stand_in(cpu, context, fn, arg);
	}
	if (s->online) {
		push(&s->queue[context], &rq);
		kick(s, context);
		err = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return err ? err : wait_for(s, context, &rq);
}

enum mm_context host_set_context(enum mm_context context)
{
	enum mm_context was = port_context();

	host_self.context = (uint8_t)context;
	host_signal_fence();
	if (context == MM_TASK && host_is_pending())
		host_serve();
	return was;
}
