/*
 * Under iscsi-test-cu by LD_PRELOAD. Many of its tests leave early with
 * CU_PASS("... Skipping test") and print nothing, or simply return; CUnit
 * reports both as "passed". This prints a line of its own
 *
 *   [CU_PASS] file:line condition      for each CU_PASS
 *   [CU_ASSERT]                        at the first real assertion of a test
 *
 * from which the runner tells a skip from a pass.
 *
 *   cc -shared -fPIC -o cu_pass.so cu_pass.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef int (*assertion)(int value, unsigned int line, const char *condition,
			 const char *file, const char *function, int fatal);
typedef void *(*current_test)(void);

/* CUnit's macros all end here: CU_PASS with a condition that says CU_PASS. */
int CU_assertImplementation(int value, unsigned int line, const char *condition,
			    const char *file, const char *function, int fatal)
{
	static assertion real;
	static current_test current;
	static void *asserted_in;
	void *test;

	if (!real) {
		real = (assertion)dlsym(RTLD_NEXT, "CU_assertImplementation");
		current = (current_test)dlsym(RTLD_DEFAULT, "CU_get_current_test");
	}
	if (condition && strncmp(condition, "CU_PASS(", 8) == 0) {
		const char *base = file ? strrchr(file, '/') : NULL;

		printf("\n[CU_PASS] %s:%u %s\n", base ? base + 1 : file ? file : "?",
		       line, condition);
	} else if (current && (test = current()) != NULL && test != asserted_in) {
		asserted_in = test;
		printf("\n[CU_ASSERT]\n");
	}
	return real ? real(value, line, condition, file, function, fatal) : value;
}
