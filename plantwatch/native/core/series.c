/* plantwatch/detectors/twofold_series.py, calibration.py, holdoff.py and evidence.py in C; the reasons are told there. */
#include <math.h>

#include "portrait.h"
#include "twofold.h"

#define UNREST_BINS 64
#define BINS_PER_DECADE 8.0
#define BINS (UNREST_BINS + 12 * 8 + 1)
#define UNREST_MIDDLE 1.6
#define FORGET_READINGS 1500.0
#define PRIOR_FREQUENCY 3.0
#define SHARE_MIN 1e-12
#define WEIGHT_MAX 1e9

#define PLAIN_UP_TO 2.0
#define FIRST_SIGN 2.3
#define FIRST_SIGN_STEP 0.5
#define ROOM (FIRST_SIGN - PLAIN_UP_TO - 0.01)

typedef struct {
    double total, weight, prior;
    double counts[BINS];
} pw_calibration;

/* `last_surprising` is negative before there was any. */
typedef struct {
    double peak, habit;
    int64_t begins, last_surprising, last_begun;
    double threshold, escalation, hold, hold_share, habit_step, habit_free, habit_memory;
} pw_event;

typedef struct {
    double amount;
    int64_t is_open, calm;
    double allowance, open_at, most, clear_after, youth, youth_decades;
} pw_evidence;

/* Laid out as plantwatch/native/series.py reads and writes it. */
typedef struct {
    int64_t readings, train_rows_left;
    pw_event event;
    pw_evidence evidence;
    pw_portrait portrait;
    pw_twofold novelty;
    pw_calibration calibration;
} pw_series;

PW_EXPORT int32_t pw_series_bytes(void) { return (int32_t)sizeof(pw_series); }

static int32_t bin_of(double surprise, double unrest) {
    double bin = surprise > 0.0 ? UNREST_BINS + floor(surprise * BINS_PER_DECADE)
                                : (UNREST_BINS - 1) * unrest / (unrest + UNREST_MIDDLE);
    return bin > 0.0 && bin < BINS ? (int32_t)bin : 0;
}

static void rescale(pw_calibration *self) {
    for (int32_t i = 0; i < BINS; i++) self->counts[i] /= self->weight;
    self->total /= self->weight;
    self->prior /= self->weight;
    self->weight = 1.0;
}

static double calibrated(pw_calibration *self, double surprise, double unrest) {
    int32_t place = bin_of(surprise, unrest);
    double as_rare = 0.0;
    for (int32_t i = place; i < BINS; i++) as_rare += self->counts[i];
    as_rare -= 0.5 * self->counts[place];
    double believed = surprise > 0.0 ? pw_min(1.0, PRIOR_FREQUENCY * pow(10.0, -surprise)) : 1.0;
    double share = (as_rare + self->prior * believed) / (self->total + self->prior);
    self->counts[place] += self->weight;
    self->total += self->weight;
    self->weight *= 1.0 + 1.0 / FORGET_READINGS;
    if (self->weight > WEIGHT_MAX) rescale(self);
    return place && share < 1.0 ? -log10(pw_max(share, SHARE_MIN)) : 0.0;
}

static void follow(pw_event *self, double surprise, int64_t now) {
    self->begins = 0;
    if (surprise < self->threshold) return;
    double hold = pw_min(self->hold_share * (double)now, self->hold);
    int same_event = self->last_surprising >= 0 && (double)(now - self->last_surprising) <= hold;
    if (same_event && surprise < self->peak + self->escalation) {
        self->last_surprising = now;
        return;
    }
    double habit = self->habit * exp((double)(self->last_begun - now) / self->habit_memory);
    double times = pw_max(1.0, (1.0 + habit) / self->habit_free);
    if (surprise < self->threshold + self->habit_step * log10(times)) return;
    self->begins = 1;
    self->last_surprising = self->last_begun = now;
    self->peak = surprise;
    self->habit = habit + 1.0;
}

static void weigh(pw_evidence *self, double surprise, int64_t now) {
    if (surprise <= 0.0 && !self->is_open && self->amount <= 0.0) return;
    if ((double)(now + 1) < self->youth)
        surprise -= self->youth_decades * log10(self->youth / (double)(now + 1));
    double amount = pw_min(pw_max(self->amount + surprise - self->allowance, 0.0), self->most);
    self->amount = amount;
    if (!self->is_open) {
        self->is_open = amount >= self->open_at;
        self->calm = 0;
        return;
    }
    self->calm = amount <= 0.0 ? self->calm + 1 : 0;
    if ((double)self->calm < self->clear_after) return;
    self->amount = 0.0;
    self->is_open = self->calm = 0;
}

static double published(double calibrated_surprise) {
    double beyond = calibrated_surprise - PLAIN_UP_TO;
    return beyond > 0.0 ? PLAIN_UP_TO + ROOM * -expm1(-beyond) : calibrated_surprise;
}

/* Python's round(number, 6) of a number in [0, 1]: to the nearest, and from the middle to the even one. */
static double rounded(double number) {
    double millionths = number * 1e6, off = fma(number, 1e6, -millionths), whole = floor(millionths);
    /* Exact: `millionths` - `whole` - 0.5 is, and `off` is what the product lost. */
    double beyond = (millionths - whole - 0.5) + off;
    if (beyond > 0.0 || (beyond == 0.0 && fmod(whole, 2.0) != 0.0)) whole += 1.0;
    return whole / 1e6;
}

static double score_of(double surprise) { return surprise > 0.0 ? rounded(1.0 - pow(10.0, -surprise)) : 0.0; }

static double verdict(const pw_series *self, double score) { return self->evidence.is_open ? -score : score; }

/* The score of a row's value, negative (-0.0, too) in alarm. NaN where it is not finite. */
PW_EXPORT double pw_series_step(pw_series *self, double value) {
    int training = self->train_rows_left > 0;
    self->train_rows_left -= training;
    if (!isfinite(value)) return NAN;
    double unrest = pw_twofold_unrest(&self->novelty, value);
    int young = pw_twofold_warming_up(&self->novelty);
    double surprise = pw_twofold_step(&self->novelty, value);
    double remarkable = pw_portrait_step(&self->portrait, pw_twofold_position(&self->novelty, value));
    remarkable = pw_max(surprise, remarkable);
    double rare = young ? 0.0 : calibrated(&self->calibration, remarkable, unrest);
    follow(&self->event, training ? 0.0 : surprise, self->readings);
    weigh(&self->evidence, training ? 0.0 : remarkable, self->readings);
    self->readings++;
    if (!self->event.begins) return verdict(self, score_of(published(rare)));
    double steps = floor((surprise - self->event.threshold) / FIRST_SIGN_STEP);
    return verdict(self, score_of(pw_min(FIRST_SIGN + FIRST_SIGN_STEP * steps, PW_SURPRISE_MAX)));
}

/* A row without a value; the answer is as above. */
PW_EXPORT double pw_series_miss(pw_series *self) {
    self->train_rows_left -= self->train_rows_left > 0;
    return verdict(self, 0.0);
}

/* `count` rows in order: a value each, NaN where it is missing, becomes what `pw_series_step` or `pw_series_miss` says
 * of it. How many were done: it ends before the first that is infinite. */
PW_EXPORT int32_t pw_series_steps(pw_series *self, double *values, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        if (isinf(values[i])) return i;
        values[i] = isnan(values[i]) ? pw_series_miss(self) : pw_series_step(self, values[i]);
    }
    return count;
}
