/* plantwatch/detectors/twofold.py in C; the reasons for what is done are told there. */
#include "twofold.h"

#include <float.h>
#include <math.h>

#define START_READINGS 30
#define POSITION_MAX 1e30
#define STILL_SHARE 0.02

enum { READING, SLOW, ACTIVITY };

int pw_twofold_warming_up(const pw_twofold *self) { return (double)self->readings <= self->rule.warm_up; }

static void remember_later(pw_view *view, float value, float deviation, int64_t reading) {
    int64_t place = 2 * (reading % view->delay);
    if (reading >= view->delay) {
        pw_memory_remember(&view->by_value, view->pending[place], reading);
        pw_memory_remember(&view->by_deviation, view->pending[place + 1], reading);
    }
    view->pending[place] = value;
    view->pending[place + 1] = deviation;
}

static double view_surprise(pw_view *view, double number, int64_t reading, const pw_weights *weights,
                            const pw_tail_rule *rule, int learn) {
    double usual = number, out = number - view->by_value.mean;
    if (out * out > PW_WINSOR_VARIANCES * view->by_value.variance)
        usual = pw_memory_winsorised(&view->by_value, number, reading);
    double baseline = view->baseline + weights->baseline * (usual - view->baseline);
    float value = (float)number, deviation = (float)(number - baseline);
    int at_once = learn && !view->delay;
    double novelty = pw_memory_novelty(&view->by_value, value, reading, weights->spread, learn, at_once);
    novelty *= pw_memory_novelty(&view->by_deviation, deviation, reading, weights->spread, learn, at_once);
    if (learn && !at_once) remember_later(view, value, deviation, reading);
    double surprise = 0.0;
    if (reading <= START_READINGS) {
        novelty = 0.0;
    } else if (novelty > 0.0) {
        novelty = log1p(sqrt(novelty));
        surprise = (double)reading > rule->warm_up ? pw_tail_surprise(&view->tail, rule, novelty) : 0.0;
    }
    if (learn) {
        view->baseline = baseline;
        pw_tail_learn(&view->tail, rule, novelty, reading, weights->tail);
    }
    return surprise;
}

double pw_twofold_position(const pw_twofold *self, double value) {
    if (self->unit == 0.0) return 0.0;
    return pw_min(pw_max((value - self->origin) / self->unit, -POSITION_MAX), POSITION_MAX);
}

double pw_twofold_unrest(const pw_twofold *self, double value) {
    if (self->usual_change <= 0.0) return 0.0;
    return pw_min(fabs(pw_twofold_position(self, value) - self->mean) / self->usual_change, 1e6);
}

static pw_weights weights_at(const pw_twofold *self, int64_t reading) {
    pw_weights own = self->weights;
    if (reading >= self->grown_up) return own;
    double least = 1.0 / (double)(reading + 1);
    return (pw_weights){pw_max(own.mean, least), pw_max(own.activity, least), pw_max(own.baseline, least),
                        pw_max(own.spread, least), pw_max(own.tail, least)};
}

double pw_twofold_step(pw_twofold *self, double value) {
    if (self->unit == 0.0) {
        if (!self->readings) self->origin = value;
        self->unit = pw_min(fabs(value - self->origin), DBL_MAX);
    }
    double position = pw_twofold_position(self, value);
    int64_t reading = self->readings;
    int learn = !self->frozen;
    pw_view *views = self->views;
    double usual = pw_memory_winsorised(&views[READING].by_value, position, reading);
    pw_weights weights = weights_at(self, reading);
    double mean = self->mean + weights.mean * (usual - self->mean);
    double change = fabs(usual - self->last);
    double activity = self->change + weights.activity * (change - self->change);
    double usual_change = self->usual_change + weights.spread * (change - self->usual_change);
    double moving = activity + STILL_SHARE * usual_change, active = moving > 0.0 ? log(moving) : 0.0;
    double surprise = view_surprise(&views[READING], position, reading, &weights, &self->rule, learn);
    surprise = pw_max(surprise, view_surprise(&views[SLOW], mean, reading, &weights, &self->rule, learn));
    double strange = view_surprise(&views[ACTIVITY], active, reading, &weights, &self->rule, learn);
    surprise = pw_max(surprise, strange - self->activity_discount);
    self->last = usual;
    self->mean = mean;
    self->change = activity;
    if (learn) {
        self->usual_change = usual_change;
        self->readings++;
    }
    return pw_min(pw_max(surprise, 0.0), PW_SURPRISE_MAX);
}
