/* plantwatch/detectors/portrait.py in C; the reasons for what is done are told there. */
#include "portrait.h"

#include <math.h>
#include <string.h>

#define SPREAD_MEMORY 5000.0
#define TAIL_MEMORY 3000.0
#define START_READINGS (30 + PW_PAIR_DELAY)
#define WINSOR_AFTER 32
#define WINSOR_DEVIATIONS 30.0
#define FIRST_RESOLUTION 0.02
#define COARSER 1.25
/* Resolutions until a double has none coarser: only a broken state would go on. */
#define THINNINGS_MAX 4000

static double learn_spread(pw_portrait *self, double position, int64_t reading) {
    double deviation = position - self->mean;
    if (reading > WINSOR_AFTER) {
        double reach = WINSOR_DEVIATIONS * sqrt(self->variance);
        deviation = reach > 0.0 ? pw_min(pw_max(deviation, -reach), reach) : deviation;
    }
    double usual = self->mean + deviation;
    double weight = pw_max(1.0 / SPREAD_MEMORY, 1.0 / (double)(reading + 1));
    double moved = weight * deviation;
    self->mean += moved;
    self->variance = (1.0 - weight) * (self->variance + moved * deviation);
    return usual;
}

static double met_within(const pw_portrait *self) { return self->resolution * self->resolution * self->variance; }

static int32_t place_of(const pw_portrait *self, double value) {
    int32_t low = 0, high = (int32_t)self->count;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (self->values[middle] < value) low = middle + 1;
        else high = middle;
    }
    return low;
}

static double nearest(const pw_portrait *self, double value, double earlier, double enough) {
    int32_t middle = place_of(self, value), count = (int32_t)self->count;
    double best = INFINITY;
    for (int32_t place = middle; place < count && !(best <= enough); place++) {
        double apart = self->values[place] - value;
        apart *= apart;
        if (apart >= best) break;
        double other = self->earlier[place] - earlier;
        apart += other * other;
        if (apart < best) best = apart;
    }
    for (int32_t place = middle - 1; place >= 0 && !(best <= enough); place--) {
        double apart = self->values[place] - value;
        apart *= apart;
        if (apart >= best) break;
        double other = self->earlier[place] - earlier;
        apart += other * other;
        if (apart < best) best = apart;
    }
    return best;
}

static void thin(pw_portrait *self) {
    self->resolution = pw_max(FIRST_RESOLUTION, COARSER * self->resolution);
    double met = met_within(self);
    int64_t count = self->count;
    self->count = 0;
    for (int64_t i = 0; i < count; i++) {
        float value = self->values[i], earlier = self->earlier[i];
        if (!(nearest(self, value, earlier, met) > met)) continue;
        self->values[self->count] = value;
        self->earlier[self->count++] = earlier;
    }
}

static void remember(pw_portrait *self, float value, float earlier) {
    double met = met_within(self);
    if (nearest(self, value, earlier, met) <= met) return;
    int32_t place = place_of(self, value);
    size_t behind = sizeof(float) * (size_t)(self->count - place);
    memmove(self->values + place + 1, self->values + place, behind);
    memmove(self->earlier + place + 1, self->earlier + place, behind);
    self->values[place] = value;
    self->earlier[place] = earlier;
    self->count++;
    for (int turn = 0; self->count >= PW_PAIRS; turn++) {
        if (turn < THINNINGS_MAX) thin(self);
        else self->count = 0;
    }
}

static void remember_later(pw_portrait *self, float value, float earlier, int64_t reading) {
    int64_t place = 2 * (reading % PW_PAIR_DELAY);
    if (reading >= PW_PAIR_DELAY) remember(self, self->pending[place], self->pending[place + 1]);
    self->pending[place] = value;
    self->pending[place + 1] = earlier;
}

static double novelty_of(const pw_portrait *self, double value, double earlier) {
    double met = met_within(self), distance = nearest(self, value, earlier, met);
    if (distance <= met || distance == INFINITY || self->variance <= 0.0) return 0.0;
    return log1p(sqrt(distance / self->variance));
}

double pw_portrait_step(pw_portrait *self, double position) {
    int64_t reading = self->readings++, place = reading % PW_LAG;
    double usual = learn_spread(self, position, reading);
    float value = (float)position, earlier = reading >= PW_LAG ? self->recent[place] : (float)usual;
    self->recent[place] = (float)usual;
    double novelty = reading > START_READINGS ? novelty_of(self, value, earlier) : 0.0, surprise = 0.0;
    if (novelty > 0.0 && (double)reading > self->rule.warm_up)
        surprise = pw_tail_surprise(&self->tail, &self->rule, novelty);
    double weight = pw_max(1.0 / TAIL_MEMORY, 1.0 / (double)(reading + 1));
    pw_tail_learn(&self->tail, &self->rule, novelty, reading, weight);
    remember_later(self, value, earlier, reading);
    return pw_min(surprise, PW_SURPRISE_MAX);
}
