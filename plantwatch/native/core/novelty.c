/* plantwatch/detectors/novelty.py in C; the reasons for what is done are told there. */
#include <math.h>
#include <string.h>

#include "core.h"

#define CELLS 1024
#define FIRST_RANGE_CELLS 128.0
#define START_READINGS 32
#define DEVIATION_CELLS_MIN 2.0
#define EXCESS_LEARNT_MAX 4.0
#define SIGHTS 8
#define SIGHTS_YOUNG 2
#define INVERSE_MIN 1e-290
#define POSITION_MAX 1e15

enum { UNMET, NEW, WAITING, MET };
static const uint8_t AGE[] = {UNMET, WAITING, MET, MET};
static const uint8_t FORGET_LATEST[] = {UNMET, UNMET, UNMET, MET};

typedef struct {
    double variance, count, excess, new_count, new_excess;
} pw_tail;

/* Laid out as plantwatch/native/novelty.py reads and writes it; what every reading needs comes first. */
typedef struct {
    double low, inverse, slow_position, centre, mean_weight, first_low, first_high, weight;
    pw_tail tails[2];
    int64_t readings, block, block_left, beyond, frozen;
    int64_t warm_up, block_max, memory, tail_memory;
    double near, prior_run, prior_excess, prior_weight;
    uint8_t cells[2][CELLS + 1];
} pw_novelty;

enum { RAW, SLOW };

PW_EXPORT int32_t pw_novelty_bytes(void) { return (int32_t)sizeof(pw_novelty); }

static double within(double position) { return pw_min(pw_max(position, 0.0), (double)CELLS); }

/* The cell of a position within the grid. No state, however broken, leads out of it. */
static int32_t cell_of(double position) {
    if (!(position > 0.0)) return 0;
    return position < (double)CELLS ? (int32_t)position : CELLS;
}

static int warming_up(const pw_novelty *self) { return self->low == INFINITY || self->readings < self->warm_up; }

static double gap(const uint8_t *cells, double position) {
    position = pw_min(pw_max(position, -POSITION_MAX), POSITION_MAX);
    int32_t cell = cell_of(within(position)), below = cell, above = cell;
    while (below >= 0 && cells[below] != MET) below--;
    while (above <= CELLS && cells[above] != MET) above++;
    double down = below >= 0 ? position - below - 1.0 : INFINITY;
    double up = above <= CELLS ? above - position : INFINITY;
    return pw_max(0.0, pw_min(down, up));
}

static double view_surprise(pw_novelty *self, int view, double position, int learn) {
    uint8_t *cells = self->cells[view];
    pw_tail *tail = &self->tails[view];
    double distance = gap(cells, position);
    if (learn && position >= 0.0 && position < CELLS && cells[cell_of(position)] == UNMET)
        cells[cell_of(position)] = NEW;
    if (distance == 0.0 || distance == INFINITY) return 0.0;
    double beyond = distance / pw_max(sqrt(tail->variance), DEVIATION_CELLS_MIN) - self->near;
    if (beyond <= 0.0) return 0.0;
    double rate = (tail->count + self->prior_run) / (self->weight + self->prior_run);
    double excess = (tail->excess + self->prior_weight * self->prior_excess) / (tail->count + self->prior_weight);
    if (learn) {
        tail->new_count += 1.0;
        tail->new_excess += pw_min(beyond, EXCESS_LEARNT_MAX * excess);
    }
    return (beyond / excess - log(rate)) / PW_LN10;
}

static double both_surprises(pw_novelty *self, double position, double slow_position, int learn) {
    double raw = view_surprise(self, RAW, position, learn);
    double surprise = pw_max(raw, view_surprise(self, SLOW, slow_position, learn));
    if (self->readings < self->warm_up) return 0.0;
    return pw_min(pw_max(surprise - PW_LOG10_2, 0.0), PW_SURPRISE_MAX);
}

static void translate(uint8_t *cells, const uint8_t *table) {
    for (int32_t i = 0; i <= CELLS; i++) cells[i] = table[cells[i] & 3];
}

static void end_block(pw_novelty *self) {
    int64_t block = self->block, memory = self->readings / 2;
    if (self->tail_memory < memory) memory = self->tail_memory;
    double keep = 1.0 - (double)block / (double)(memory > block ? memory : block);
    for (int view = RAW; view <= SLOW; view++) {
        pw_tail *tail = &self->tails[view];
        translate(self->cells[view], AGE);
        tail->count = keep * (tail->count + tail->new_count);
        tail->excess = keep * (tail->excess + tail->new_excess);
        tail->new_count = tail->new_excess = 0.0;
    }
    self->weight = keep * (self->weight + (double)block);
    self->beyond >>= 1;
    block = self->readings / 8;
    if (self->block_max < block) block = self->block_max;
    self->block = self->block_left = block > START_READINGS ? block : START_READINGS;
}

static void learn_moments(pw_novelty *self, double position, double slow_position) {
    int64_t readings = ++self->readings;
    double weight = 1.0 / (double)(self->memory < readings ? self->memory : readings);
    double deviation = position - self->centre, slow_deviation = slow_position - self->centre;
    pw_tail *raw = &self->tails[RAW], *slow = &self->tails[SLOW];
    self->centre += weight * deviation;
    raw->variance += weight * (deviation * deviation - raw->variance);
    slow->variance += weight * (slow_deviation * slow_deviation - slow->variance);
    if (PW_RARE(--self->block_left == 0)) end_block(self);
}

static void start(pw_novelty *self, double value) {
    double low = self->first_low = pw_min(self->first_low, value);
    double high = self->first_high = pw_max(self->first_high, value);
    self->readings++;
    if (self->readings < START_READINGS || !(high > low)) return;
    double inverse = FIRST_RANGE_CELLS / (high - low);
    if (!(inverse >= INVERSE_MIN && inverse < INFINITY)) return;
    self->inverse = inverse;
    self->low = (low / 2.0 + high / 2.0) - CELLS / 2.0 / inverse;
    self->slow_position = self->centre = (value - self->low) * inverse;
    self->tails[RAW].variance = self->tails[SLOW].variance = FIRST_RANGE_CELLS * FIRST_RANGE_CELLS / 12.0;
    self->readings = 0;
}

static void widen(pw_novelty *self, int view, int upwards) {
    uint8_t *cells = self->cells[view], half[CELLS / 2];
    for (int32_t i = 0; i < CELLS / 2; i++) {
        uint8_t left = cells[2 * i], right = cells[2 * i + 1];
        half[i] = left > right ? left : right;
    }
    memset(cells, UNMET, CELLS + 1);
    memcpy(upwards ? cells : cells + CELLS / 2, half, sizeof half);
    self->tails[view].variance /= 4.0;
}

static void believe(pw_novelty *self, int upwards) {
    self->beyond++;
    if (self->beyond < (warming_up(self) ? SIGHTS_YOUNG : SIGHTS) || self->inverse < INVERSE_MIN) return;
    double below = upwards ? 0.0 : CELLS / 2.0;
    self->slow_position = self->slow_position / 2.0 + below;
    self->centre = self->centre / 2.0 + below;
    widen(self, RAW, upwards);
    widen(self, SLOW, upwards);
    if (!upwards) self->low -= CELLS / self->inverse;
    self->inverse /= 2.0;
}

static double step_outside(pw_novelty *self, double value) {
    if (!isfinite(value)) return NAN;
    if (self->low == INFINITY) {
        start(self, value);
        return 0.0;
    }
    double position = (value - self->low) * self->inverse, inside = within(position);
    double slow_position = self->slow_position + self->mean_weight * (inside - self->slow_position);
    self->slow_position = slow_position;
    double surprise = both_surprises(self, position, slow_position, !self->frozen);
    if (!self->frozen) {
        learn_moments(self, inside, slow_position);
        believe(self, position > 0.0);
    }
    return surprise;
}

/* The surprise of a value that has come, which is then learnt; NaN, and nothing has changed, where it is not finite. */
PW_EXPORT double pw_novelty_step(pw_novelty *self, double value) {
    double position = (value - self->low) * self->inverse;
    if (PW_RARE(!(position >= 0.0 && position < CELLS))) return step_outside(self, value);
    double slow_position = self->slow_position + self->mean_weight * (position - self->slow_position), surprise = 0.0;
    self->slow_position = slow_position;
    if (self->cells[RAW][cell_of(position)] != MET || self->cells[SLOW][cell_of(slow_position)] != MET) {
        surprise = both_surprises(self, position, slow_position, !self->frozen);
        if (self->frozen) return surprise;
    }
    learn_moments(self, position, slow_position);
    return surprise;
}

/* The surprise of a value if it came now; NaN where it is not finite. */
PW_EXPORT double pw_novelty_score(pw_novelty *self, double value) {
    double position = (value - self->low) * self->inverse;
    if (!(position >= 0.0 && position < CELLS)) {
        if (!isfinite(value)) return NAN;
        if (self->low == INFINITY) return 0.0;
    }
    double slow_position = self->slow_position + self->mean_weight * (within(position) - self->slow_position);
    return both_surprises(self, position, slow_position, 0);
}

PW_EXPORT void pw_novelty_freeze(pw_novelty *self, int32_t frozen) {
    self->frozen = frozen;
    if (!frozen) return;
    for (int view = RAW; view <= SLOW; view++) {
        translate(self->cells[view], FORGET_LATEST);
        self->tails[view].new_count = self->tails[view].new_excess = 0.0;
    }
}

/* One reading of `count` signals: addresses of their states, then their values, which become surprises. How many of
 * these are above 0; -1 where a value was not finite, and it is the first that is NaN now. */
PW_EXPORT int32_t pw_novelty_step_all(uint64_t *addresses_and_values, int32_t count) {
    double *values = (double *)(addresses_and_values + count);
    int32_t surprising = 0;
    for (int32_t i = 0; i < count; i++) {
        values[i] = pw_novelty_step((pw_novelty *)(uintptr_t)addresses_and_values[i], values[i]);
        if (values[i] > 0.0) surprising++;
        else if (values[i] != 0.0) return -1;
    }
    return surprising;
}
