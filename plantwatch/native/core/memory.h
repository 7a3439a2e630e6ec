/* plantwatch/detectors/memory.py in C. */
#ifndef PLANTWATCH_MEMORY_H
#define PLANTWATCH_MEMORY_H

#include "core.h"

/* The most values that a memory has room for; a detector that asks for more stays a pure one. */
#define PW_ROOM 240
#define PW_UNDO_READINGS 64
#define PW_WINSOR_VARIANCES 900.0

/* Laid out as plantwatch/native/series.py reads and writes it. `latest` is a ring that begins at `latest_first`. */
typedef struct {
    double resolution, mean, variance;
    int32_t count, size_max, latest_first, latest_count;
    /* One more than it ever holds, and one that aligns what follows. */
    float values[PW_ROOM + 2];
    float latest[PW_UNDO_READINGS];
    int64_t latest_ages[PW_UNDO_READINGS];
} pw_memory;

double pw_memory_winsorised(const pw_memory *self, double value, int64_t reading);
double pw_memory_novelty(pw_memory *self, double value, int64_t reading, double weight, int learn, int remember);
void pw_memory_remember(pw_memory *self, double value, int64_t reading);

#endif
