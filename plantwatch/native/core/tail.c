/* plantwatch/detectors/tail.py in C; the reasons for what is done are told there. */
#include "tail.h"

#include <math.h>

#define EXCESS_MIN 1e-3
#define EXCESS_LEARNT_MAX 6.0
#define YOUNG_WEIGHT 0.2
#define QUANTILE_STEPS 3.0

double pw_tail_surprise(const pw_tail *self, const pw_tail_rule *rule, double novelty) {
    double beyond = novelty - self->quantile;
    if (beyond > 0.0) return rule->floor + beyond / self->excess / PW_LN10;
    return rule->floor * novelty / self->quantile;
}

void pw_tail_learn(pw_tail *self, const pw_tail_rule *rule, double novelty, int64_t reading, double weight) {
    double beyond = novelty - self->quantile;
    self->step += weight * (fabs(beyond) - self->step);
    double share = beyond > 0.0 ? rule->share : rule->share - 1.0;
    double quantile = self->quantile + QUANTILE_STEPS * weight * self->step * share;
    self->quantile = quantile = quantile > 0.0 ? quantile : 0.0;
    beyond = novelty - quantile;
    if (beyond <= 0.0) return;
    if ((double)reading > rule->warm_up) {
        beyond = pw_min(beyond, EXCESS_LEARNT_MAX * self->excess);
        weight = rule->excess_weight;
    } else {
        weight = YOUNG_WEIGHT;
    }
    self->excess = pw_max(EXCESS_MIN, self->excess + weight * (beyond - self->excess));
}
