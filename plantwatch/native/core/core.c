/* What a loader asks a library before it trusts it. */
#include <math.h>

#include "core.h"

#ifndef PW_DIGEST
#error "the builder defines PW_DIGEST: the digest of the sources that this is built from"
#endif

PW_EXPORT const char *pw_digest(void) { return PW_DIGEST; }

/* The elementary functions as this library finds them, to be compared with Python's. */
PW_EXPORT double pw_elementary(int32_t function, double x) {
    switch (function) {
        case 0: return log(x);
        case 1: return log1p(x);
        case 2: return log10(x);
        case 3: return exp(x);
        case 4: return expm1(x);
        case 5: return pow(10.0, x);
        default: return NAN;
    }
}
