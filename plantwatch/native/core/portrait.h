/* plantwatch/detectors/portrait.py in C. */
#ifndef PLANTWATCH_PORTRAIT_H
#define PLANTWATCH_PORTRAIT_H

#include "tail.h"

#define PW_LAG 10
#define PW_PAIRS 100
#define PW_PAIR_DELAY 40

/* Laid out as plantwatch/native/series.py reads and writes it. */
typedef struct {
    double resolution, mean, variance;
    pw_tail tail;
    pw_tail_rule rule;
    int64_t readings, count;
    float values[PW_PAIRS], earlier[PW_PAIRS];
    float recent[PW_LAG], pending[2 * PW_PAIR_DELAY];
} pw_portrait;

double pw_portrait_step(pw_portrait *self, double position);

#endif
