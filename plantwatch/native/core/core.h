/* What all parts of the native core share.
 *
 * Each function equals its pure Python version to the last bit: the same operations in the same order, compiled
 * (`flags`) without contraction, without fast-math and without exchanging an elementary function for another (exp10(x)
 * for pow(10, x), say); these come from the libm that Python itself uses. All memory belongs to the caller; nothing is allocated, no state is global, no Python API is used.
 */
#ifndef PLANTWATCH_CORE_H
#define PLANTWATCH_CORE_H

#include <stdint.h>

#define PW_EXPORT __attribute__((visibility("default")))
#define PW_RARE(condition) __builtin_expect(!!(condition), 0)

#define PW_SURPRISE_MAX 12.0
/* Python's math.log(10.0) and math.log10(2.0). */
#define PW_LN10 0x1.26bb1bbb55516p+1
#define PW_LOG10_2 0x1.34413509f79ffp-2

/* Python's min(a, b) and max(a, b): the first of two that compare equal, and of two that do not compare. */
static inline double pw_min(double a, double b) { return b < a ? b : a; }
static inline double pw_max(double a, double b) { return b > a ? b : a; }

#endif
