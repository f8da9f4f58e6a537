/*
 * A C function for a page: each number becomes the mean of itself and its neighbours.
 *
 *   emcc smooth.c -O2 -std=c99 --no-entry -o smooth.wasm
 */
#include <emscripten.h>

#define MOST 1000
#define REACH 5

static float before[MOST], after[MOST];

/* Where the page puts its numbers, and where it finds the answer. */
EMSCRIPTEN_KEEPALIVE float *input(void) { return before; }
EMSCRIPTEN_KEEPALIVE float *output(void) { return after; }

/* Smooths `n` numbers, at most 1000. */
EMSCRIPTEN_KEEPALIVE void smooth(int n)
{
    for (int i = 0; i < n && i < MOST; i++) {
        float sum = 0;
        int count = 0;
        for (int j = i - REACH; j <= i + REACH; j++) {
            if (j < 0 || j >= n || j >= MOST)
                continue;
            sum += before[j];
            count++;
        }
        after[i] = sum / (float)count;
    }
}
