// SPDX-License-Identifier: MIT
/*
 * Runs the suites in a process, on a machine made of options:
 *
 *	--ram=SIZE[@BASE][:NODE],...	640K@0,255M@1M,256M@4G:1
 *	--backend=enforced|preload|flat
 *	--cpus=N			for task_start(); 4
 *	--filter=GLOBS			suite or suite.case, separated by commas
 *	--quick				no slow cases
 *	--list				names only
 *	--die=SUITE.CASE		one case that must end in a panic
 *
 * Prints KTAP, last line `N passed, N failed`. Cases that must die run in a
 * process each: this program again, with --die.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <kunit/run.h>

#include "lib/fmt.h"
#include "tests/host/host_test.h"

#define RAM_DEFAULT "640K@0,255M@1M,256M@3G"
#define SPARE_SPACE (1ULL << 30) /* above the RAM: for tests of the port itself */
#define DEATHS_MAX 64
#define DEATH_TIMEOUT 120

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_CASE = 3 };

struct death {
	char name[160], text[160];
};

static struct {
	const char *ram, *filter, *die;
	enum host_backend backend;
	unsigned cpus;
	bool quick, list;
} option = { .ram = RAM_DEFAULT, .backend = HOST_ENFORCED, .cpus = 4 };

static struct death death[DEATHS_MAX];
static unsigned ndeaths;
static struct sigaction previous_segv, previous_bus;

/* Sanitizers look for these; leaks of a test program do not matter. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0:allow_user_segv_handler=1";
}

const char *__tsan_default_options(void)
{
	return "second_deadlock_stack=1";
}

void kunit_out(const char *line)
{
	struct iovec part[] = { { (void *)line, strlen(line) }, { "\n", 1 } };

	if (ndeaths < DEATHS_MAX &&
	    sscanf(line, "# dies: %159s\t%159[^\n]", death[ndeaths].name, death[ndeaths].text) == 2)
		ndeaths++;
	if (writev(STDOUT_FILENO, part, 2) < 0)
		_exit(EXIT_FAILED);
}

const void *kunit_current(void)
{
	return port_context() == MM_TASK ? &host_self : NULL;
}

/* Say what the kernel's panic says, then let the former handler have it. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	bool write_access = uc->uc_mcontext.gregs[REG_ERR] & 2;
	bool present = uc->uc_mcontext.gregs[REG_ERR] & 1;
	char why[96];

	fmt_print(why, sizeof(why), "panic: page fault at 0x%lx (%s, %s)\n",
		  (unsigned long)info->si_addr, write_access ? "write" : "read",
		  present ? "protection" : "not present");
	if (write(STDERR_FILENO, why, strlen(why)) < 0)
		_exit(EXIT_FAILED);
	sigaction(sig, sig == SIGSEGV ? &previous_segv : &previous_bus, NULL);
}

static void catch_faults(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaction(SIGSEGV, &sa, &previous_segv);
	sigaction(SIGBUS, &sa, &previous_bus);
}

static void add_ram(phys_addr_t base, uint64_t size, int node)
{
	if (memblock_add(base, size, node))
		port_panic("memblock_add() failed");
}

static void start_machine(void)
{
	uint64_t end = host_ram_parse(option.ram, NULL);
	int err = end ? host_ram_init(end + SPARE_SPACE, option.backend) : -1;

	if (err) {
		fprintf(stderr, "no RAM: --ram=%s: %s\n", option.ram,
			end ? strerror(-err) : "not understood");
		exit(EXIT_USAGE);
	}
	host_use_signals();
	catch_faults();
	host_ram_parse(option.ram, add_ram);
	memblock_reserve(0, FRAME_SIZE);
	err = mm_init();
	if (!err)
		err = host_start_cpus(option.cpus);
	if (err) {
		fprintf(stderr, "start-up failed: %s\n", strerror(-err));
		exit(EXIT_FAILED);
	}
}

/* In the child. */
static void exec_death(const struct death *d, int out)
{
	char die[200], backend[40], ram[300], cpus[40];
	char *argv[] = { "spanheap-test", die, backend, ram, cpus, NULL };

	snprintf(die, sizeof(die), "--die=%s", d->name);
	snprintf(backend, sizeof(backend), "--backend=%s", host_backend_name(option.backend));
	snprintf(ram, sizeof(ram), "--ram=%s", option.ram);
	snprintf(cpus, sizeof(cpus), "--cpus=%u", option.cpus);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	alarm(DEATH_TIMEOUT);
	execv("/proc/self/exe", argv);
	_exit(127);
}

static bool run_death(const struct death *d)
{
	static char report[1 << 16];
	size_t len = 0;
	ssize_t got;
	int fd[2], status;
	pid_t pid;
	bool good;

	if (pipe(fd) || (pid = fork()) < 0) {
		perror(d->name);
		return false;
	}
	if (!pid)
		exec_death(d, fd[1]);
	close(fd[1]);
	while ((got = read(fd[0], report + len, sizeof(report) - 1 - len)) > 0)
		len += (size_t)got;
	report[len] = 0;
	close(fd[0]);
	waitpid(pid, &status, 0);
	good = status && strstr(report, d->text);
	printf("%s %s # dies: %s\n", good ? "ok" : "not ok", d->name, d->text);
	if (!good)
		printf("# status 0x%x, report:\n%s\n", status, report);
	return good;
}

static int run_suites(void)
{
	struct kunit_options o = { .filter = option.die ?: option.filter,
				   .dies = option.die != NULL,
				   .quick = option.quick };
	struct kunit_results r;

	kunit_run(&o, &r);
	if (option.die)
		return 0;
	for (unsigned i = 0; i < ndeaths; i++) {
		bool good = run_death(&death[i]);

		r.skipped--;
		r.passed += good;
		r.failed += !good;
	}
	printf("# %s, %u CPUs, RAM %s: %u skipped\n", host_backend_name(option.backend),
	       option.cpus, option.ram, r.skipped);
	printf("%u passed, %u failed\n", r.passed, r.failed);
	if (!(r.passed + r.failed + r.skipped))
		return EXIT_NO_CASE;
	return r.failed ? EXIT_FAILED : 0;
}

static bool parse_backend(const char *name)
{
	for (int b = 0; b < HOST_NR_BACKENDS; b++) {
		option.backend = (enum host_backend)b;
		if (!strcmp(name, host_backend_name(option.backend)))
			return true;
	}
	return false;
}

static bool parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "ram", 1, 0, 'r' },	{ "backend", 1, 0, 'b' },
		{ "cpus", 1, 0, 'c' },	{ "filter", 1, 0, 'f' },
		{ "quick", 0, 0, 'q' }, { "list", 0, 0, 'l' },
		{ "die", 1, 0, 'd' },	{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'r':
			option.ram = optarg;
			break;
		case 'b':
			if (!parse_backend(optarg))
				return false;
			break;
		case 'c':
			option.cpus = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'f':
			option.filter = optarg;
			break;
		case 'q':
			option.quick = true;
			break;
		case 'l':
			option.list = true;
			break;
		case 'd':
			option.die = optarg;
			break;
		default:
			return false;
		}
	}
	return optind == argc && option.cpus >= 1 && option.cpus <= PORT_MAX_CPUS;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!parse_options(argc, argv)) {
		fprintf(stderr,
			"usage: %s [--ram=SIZE[@BASE][:NODE],...] "
			"[--backend=enforced|preload|flat] [--cpus=N] [--filter=GLOBS] "
			"[--quick] [--list]\n",
			argv[0]);
		return EXIT_USAGE;
	}
	if (option.list) {
		kunit_list(option.filter);
		return 0;
	}
	start_machine();
	return run_suites();
}
