/* plantwatch/detectors/memory.py in C; the reasons for what is done are told there. */
#include "memory.h"

#include <math.h>
#include <string.h>

#define WINSOR_DEVIATIONS 30.0
#define WINSOR_AFTER 32
#define THIN_SHARE 0.3

double pw_memory_winsorised(const pw_memory *self, double value, int64_t reading) {
    if (reading < WINSOR_AFTER || self->variance <= 0.0) return value;
    double reach = WINSOR_DEVIATIONS * sqrt(self->variance);
    return pw_min(pw_max(value, self->mean - reach), self->mean + reach);
}

/* Python's bisect_left. */
static int32_t place_of(const pw_memory *self, double value) {
    const float *begin = self->values;
    int32_t left = self->count;
    while (left > 1) {
        int32_t half = left / 2;
        begin += begin[half - 1] < value ? half : 0; /* without a branch that nobody can foretell */
        left -= half;
    }
    return (int32_t)(begin - self->values) + (left == 1 && *begin < value);
}

static double gap_at(const pw_memory *self, double value, int32_t place) {
    double gap = place < self->count ? self->values[place] - value : INFINITY;
    if (place && value - self->values[place - 1] < gap) gap = value - self->values[place - 1];
    return gap;
}

/* The `rank`th smallest of some numbers, by Hoare's selection; their order is lost. */
static double smallest(double *numbers, int32_t count, int32_t rank) {
    int32_t low = 0, high = count - 1;
    while (low < high) {
        double pivot = numbers[rank];
        int32_t i = low, j = high;
        while (i <= j) {
            while (numbers[i] < pivot) i++;
            while (pivot < numbers[j]) j--;
            if (i > j) break;
            double swapped = numbers[i];
            numbers[i++] = numbers[j];
            numbers[j--] = swapped;
        }
        if (j < rank) low = i;
        if (rank < i) high = j;
    }
    return numbers[rank];
}

static void thin(pw_memory *self) {
    double gaps[PW_ROOM + 1];
    float *values = self->values;
    int32_t gap_count = self->count - 1, kept = 1;
    if (gap_count < 1) return;
    for (int32_t i = 0; i < gap_count; i++) gaps[i] = (double)values[i + 1] - (double)values[i];
    self->resolution = pw_max(self->resolution, smallest(gaps, gap_count, (int32_t)(THIN_SHARE * gap_count)));
    for (int32_t i = 1; i < gap_count; i++) {
        if ((double)values[i] - (double)values[kept - 1] > self->resolution) values[kept++] = values[i];
    }
    values[kept++] = values[gap_count];
    /* Only a broken state keeps so many. */
    self->count = kept > PW_ROOM ? PW_ROOM : kept;
}

static void note_latest(pw_memory *self, float value, int64_t reading) {
    while (self->latest_count && (reading - self->latest_ages[self->latest_first] >= PW_UNDO_READINGS ||
                                  self->latest_count >= PW_UNDO_READINGS)) {
        self->latest_first = (self->latest_first + 1) % PW_UNDO_READINGS;
        self->latest_count--;
    }
    int32_t place = (self->latest_first + self->latest_count++) % PW_UNDO_READINGS;
    self->latest[place] = value;
    self->latest_ages[place] = reading;
}

static void insert(pw_memory *self, int32_t place, float value, int64_t reading) {
    memmove(self->values + place + 1, self->values + place, sizeof(float) * (size_t)(self->count - place));
    self->values[place] = value;
    if (++self->count >= self->size_max) thin(self);
    note_latest(self, value, reading);
}

double pw_memory_novelty(pw_memory *self, double value, int64_t reading, double weight, int learn, int remember) {
    double deviation = value - self->mean;
    if (deviation * deviation > PW_WINSOR_VARIANCES * self->variance)
        deviation = pw_memory_winsorised(self, value, reading) - self->mean;
    double moved = weight * deviation;
    double variance = (1.0 - weight) * (self->variance + moved * deviation);
    int32_t place = place_of(self, value);
    double gap = gap_at(self, value, place), met = self->resolution;
    if (learn) {
        self->mean += moved;
        self->variance = variance;
    }
    if (remember && gap > met) insert(self, place, (float)value, reading);
    return met < gap && gap < INFINITY && variance > 0.0 ? gap / sqrt(variance) : 0.0;
}

void pw_memory_remember(pw_memory *self, double value, int64_t reading) {
    int32_t place = place_of(self, value);
    if (gap_at(self, value, place) > self->resolution) insert(self, place, (float)value, reading);
}
