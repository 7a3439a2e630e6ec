/* plantwatch/detectors/tail.py in C. */
#ifndef PLANTWATCH_TAIL_H
#define PLANTWATCH_TAIL_H

#include "core.h"

typedef struct {
    double quantile, excess, step;
} pw_tail;

/* What is chosen about a tail; `floor` is the surprise of the quantile itself. */
typedef struct {
    double share, floor, excess_weight, warm_up;
} pw_tail_rule;

double pw_tail_surprise(const pw_tail *self, const pw_tail_rule *rule, double novelty);
void pw_tail_learn(pw_tail *self, const pw_tail_rule *rule, double novelty, int64_t reading, double weight);

#endif
