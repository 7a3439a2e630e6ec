/* plantwatch/detectors/twofold.py in C. */
#ifndef PLANTWATCH_TWOFOLD_H
#define PLANTWATCH_TWOFOLD_H

#include "memory.h"
#include "tail.h"

#define PW_VIEWS 3
/* The longest delay, in readings, after which a view may remember. */
#define PW_DELAY 40

typedef struct {
    double baseline;
    pw_tail tail;
    int64_t delay;
    float pending[2 * PW_DELAY];
    pw_memory by_value, by_deviation;
} pw_view;

typedef struct {
    double mean, activity, baseline, spread, tail;
} pw_weights;

/* Laid out as plantwatch/native/series.py reads and writes it. */
typedef struct {
    double origin, unit, last, mean, change, usual_change, activity_discount;
    pw_weights weights;
    pw_tail_rule rule;
    int64_t readings, frozen, grown_up;
    pw_view views[PW_VIEWS];
} pw_twofold;

int pw_twofold_warming_up(const pw_twofold *self);
/* Of a finite value: its position, its unrest, and its surprise, with which it has come and is learnt. */
double pw_twofold_position(const pw_twofold *self, double value);
double pw_twofold_unrest(const pw_twofold *self, double value);
double pw_twofold_step(pw_twofold *self, double value);

#endif
